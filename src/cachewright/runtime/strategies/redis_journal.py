"""A journal of accepted writes in a Redis or Valkey that keeps what it is given: persistent, and evicting nothing.

A hash for each resource, shared by its processes: a field for each write, named by version and key, so that
removing what is done never removes something newer. Every process that starts repeats what it finds, also what
another is about to store: versions make that harmless.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cachewright.errors import StoreUnavailableError, SurroundingsError, WriteNotAcceptedError
from cachewright.runtime.strategies.records import Damage, Record, Write, pack, remaining, unpack

Send = Callable[[Sequence[tuple[str | bytes | int, ...]]], Awaitable[Sequence[Any]]]


class RedisJournal:
    """Accepted writes of one resource in the hash `place`; `send` exchanges commands with its server.

    Beyond the commands of the cache it needs INFO, HSET, HDEL and HGETALL.
    """

    def __init__(self, send: Send, place: str, *, close: Callable[[], Awaitable[None]] | None = None) -> None:
        self._send = send
        self._close = close
        self._place = place
        self._versions: defaultdict[str, list[int]] = defaultdict(list)
        self.damaged = 0

    async def open(self) -> Mapping[str, Write]:
        """See that the server keeps what it is given, and read what is there."""
        try:
            info, found = await self._send([("INFO",), ("HGETALL", self._place)])
        except StoreUnavailableError as error:
            raise SurroundingsError(
                "the Redis for accepted writes does not answer", hint="start it, or keep them in a directory"
            ) from error
        if not isinstance(info, bytes) or not isinstance(found, list):
            raise SurroundingsError(
                "the Redis for accepted writes refuses to say whether it keeps them",
                hint=f"allow INFO, and HGETALL, HSET and HDEL of {self._place}, to this user",
            )
        refuse_forgetful(info)
        left, damage = remaining(iter([self._read(data) for data in found[1::2]]))
        self.damaged = sum(each.size for each in damage)
        return left

    def _read(self, data: bytes) -> Record | Damage:
        record = unpack(data)
        if record is None:
            return Damage(len(data), tail=False)
        if isinstance(record, Write):
            self._versions[record.name].append(record.version)
        return record

    async def append(self, write: Write) -> None:
        """One HSET. Raises `WriteNotAcceptedError`."""
        # Noted first: a write whose answer was lost may be there.
        self._versions[write.name].append(write.version)
        try:
            (reply,) = await self._send(
                [("HSET", self._place, _field(write.name, write.version), pack(write))]
            )
        except StoreUnavailableError as error:
            raise WriteNotAcceptedError("the Redis for accepted writes does not answer") from error
        if isinstance(reply, Exception):
            raise WriteNotAcceptedError(
                f"the Redis for accepted writes refused one: {reply}",
                hint="the write is not stored; make room there and repeat it",
            ) from reply

    async def done(self, name: str, version: int) -> None:
        """One HDEL of this version and older ones."""
        known = self._versions.pop(name, [])
        later = [each for each in known if each > version]
        over = [each for each in known if each <= version]
        if later:
            self._versions[name] = later
        if over:
            try:
                await self._send([("HDEL", self._place, *(_field(name, each) for each in over))])
            except StoreUnavailableError:
                self._versions[name].extend(over)  # removed with the next one, or repeated at the next start

    async def aclose(self) -> None:
        """Close what it was given to close."""
        if self._close is not None:
            await self._close()


def _field(name: str, version: int) -> str:
    return f"{version}:{name}"


def refuse_forgetful(info: bytes) -> None:
    """Raise `SurroundingsError` unless a server that says this of itself keeps what it was given."""
    said = dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)
    wrong = []
    if said.get("aof_enabled") != "1":
        wrong.append("appendonly yes")
    if said.get("maxmemory_policy") != "noeviction":
        wrong.append("maxmemory-policy noeviction")
    if wrong:
        raise SurroundingsError(
            "this Redis may lose accepted writes: it "
            + " and ".join(
                "keeps nothing on disk" if each.startswith("appendonly") else "evicts keys" for each in wrong
            ),
            hint=f"set `{'` and `'.join(wrong)}` in its configuration (CONFIG SET, then CONFIG REWRITE), "
            "or keep accepted writes in a directory",
        )
    if said.get("role") not in {"master", None}:
        raise SurroundingsError(
            "the Redis for accepted writes is a replica", hint="name its primary, which takes writes"
        )
