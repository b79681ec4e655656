"""The l2 tier: a Redis or Valkey server. No Lua, no scans; the commands of one small ACL.

GET-less on purpose: MGET, SET, UNLINK, PEXPIRE, PUBLISH, SUBSCRIBE and PING are all it ever sends.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.settings import Clock, Settings
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.base import Answer
from cachewright.runtime.stores.connection import Command, Reply, SharedReads, Wire
from cachewright.runtime.tokens import Mint
from cachewright.spec.tags import NAMESPACE_TAG

#: The version of keys, frames and messages; processes of different versions never meet.
SCHEMA = 1
_TAGS_A_CHANGE = 512
_UNFILLED_MS = 120_000


def permanent(tag: str) -> bool:
    """Whether the token of `tag` has no end: namespace, targets, tables; a specification names all of them."""
    if tag == NAMESPACE_TAG or tag.startswith("target:"):
        return True
    return ":" not in tag and "(" not in tag


class RedisStore:
    """Entries, acceptances and tokens of one namespace on one server, for one event loop.

    `origin` names this process on the bus. Nothing is sent before the first call; the server may come
    later.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        settings: Settings,
        *,
        origin: bytes,
        clock: Clock,
        stats: Stats,
        mint: Mint,
    ) -> None:
        self._prefix = f"{namespace}:{SCHEMA}:"
        self.channel = f"{self._prefix}bus"
        self._lifetime = math.ceil(settings.token_lifetime * 1000)
        self._origin = origin
        self._mint = mint
        self._settings = settings
        self._wire = Wire(url, settings, clock=clock, stats=stats)
        self._reads = SharedReads(self._wire)

    @property
    def struggling(self) -> bool:
        """Whether the breaker is open."""
        return self._wire.breaker.is_open

    async def read(self, names: Sequence[str], tags: Sequence[str]) -> Answer:
        """One MGET, shared with whoever asks at the same moment."""
        places = [self._prefix + name for name in names]
        tokens = [f"{self._prefix}v:{tag}" for tag in tags]
        found = await self._reads.mget([*places, *tokens])
        return Answer(_named(names, places, found), _named(tags, tokens, found))

    async def mint(self, tags: Collection[str]) -> dict[str, bytes]:
        """`SET NX GET` for each tag. A tag that the server has no room for stays without a token.

        Whoever asks may be nobody: a token lives two minutes until a fill prolongs it.
        """
        fresh = {tag: self._mint() for tag in tags}
        lifetime = min(self._lifetime, _UNFILLED_MS)
        replies = await self._send(
            [self._set_token(tag, token, "NX", "GET", lifetime=lifetime) for tag, token in fresh.items()]
        )
        tokens: dict[str, bytes] = {}
        for (tag, token), reply in zip(fresh.items(), replies, strict=True):
            if not isinstance(reply, OutOfMemoryError):
                existing = _accept(reply)
                tokens[tag] = existing if isinstance(existing, bytes) else token
        return tokens

    async def fill(self, values: Mapping[str, tuple[bytes, float | None]], tags: Collection[str]) -> None:
        """Plain SETs, with the prolongation of the tokens; a late fill carries a dead token.

        PEXPIRE prolongs and cannot revive; a SET of the token would.
        """
        commands: list[Command] = []
        for name, (data, seconds) in values.items():
            lifetime = (
                self._lifetime if seconds is None else min(self._lifetime, max(1, math.ceil(seconds * 1000)))
            )
            commands.append(("SET", self._prefix + name, data, "PX", lifetime))
        commands.extend(
            ("PEXPIRE", f"{self._prefix}v:{tag}", self._lifetime) for tag in tags if not permanent(tag)
        )
        for reply in await self._send(commands):
            _accept(reply)

    async def change(self, tags: Collection[str]) -> int:
        """New tokens for the tags that have one, then word to every process; tried with the breaker open too.

        A tag without a token needs none: whoever reads it next makes one before its load begins. Where the
        server has no room (`noeviction`) the token is removed instead: absent is as invalid as changed.
        """
        wanted = list(dict.fromkeys(tags))
        count = 0
        for at in range(0, len(wanted), _TAGS_A_CHANGE):
            count += await self._change(wanted[at : at + _TAGS_A_CHANGE])
        return count

    async def _change(self, tags: list[str]) -> int:
        message = msgspec.msgpack.encode((self._origin, tags))
        publish: Command = ("PUBLISH", self.channel, message)
        commands = [self._set_token(tag, self._mint(), "XX") for tag in tags]
        *replies, published = await self._send([*commands, publish], insist=True)
        full = [tag for tag, reply in zip(tags, replies, strict=True) if isinstance(reply, OutOfMemoryError)]
        removed = 0
        if full:
            # Told again: whoever heard the first word may have read the old token since.
            unlink: Command = ("UNLINK", *(f"{self._prefix}v:{tag}" for tag in full))
            count, published = await self._send([unlink, publish], insist=True)
            removed = _accept(count) or 0
        _accept(published)
        return removed + sum(
            _accept(reply) is not None for reply in replies if not isinstance(reply, OutOfMemoryError)
        )

    def _set_token(self, tag: str, token: bytes, *conditions: str, lifetime: int | None = None) -> Command:
        end = () if permanent(tag) else ("PX", lifetime or self._lifetime)
        return ("SET", f"{self._prefix}v:{tag}", token, *conditions, *end)

    async def _send(self, commands: Sequence[Command], *, insist: bool = False) -> list[Reply]:
        if not commands:
            return []
        task = self._wire.tasks.spawn(self._wire.exchange(commands, insist=insist))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise StoreUnavailableError("the store was closed") from None
            raise

    def subscription(self) -> Subscription:
        """A connection of its own that listens on the bus."""
        return Subscription(self._wire, self.channel, self._settings)

    async def aclose(self) -> None:
        """End what is under way and close every connection."""
        await self._wire.aclose()
        self._reads.abandon()


def _named(names: Sequence[str], keys: Sequence[str], found: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: found[key] for name, key in zip(names, keys, strict=True) if key in found}


def _accept(reply: Reply) -> Any:
    if isinstance(reply, ResponseError):
        raise StoreUnavailableError(f"the store refused a command ({type(reply).__name__})") from reply
    return reply


class Subscription:
    """A subscribed connection. Methods raise `StoreUnavailableError`; afterwards it is of no more use."""

    def __init__(self, wire: Wire, channel: str, settings: Settings) -> None:
        self._connection = wire.connection()
        self._channel = channel
        self._timeout = settings.connect_timeout + settings.read_timeout

    async def open(self) -> None:
        """Connect and subscribe; returns once the server has confirmed."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._connection.connect()  # type: ignore[no-untyped-call] # redis-py
                await self._connection.send_command("SUBSCRIBE", self._channel, check_health=False)
                await self._connection.read_response()
        except (RedisError, OSError) as error:
            raise _lost(error) from error

    async def receive(self) -> bytes | None:
        """Wait for the next message; None for the answer to a `ping`."""
        try:
            match await self._connection.read_response(timeout=math.inf):
                case [b"message", _, bytes() as message]:
                    return message
                case _:
                    return None
        except (RedisError, OSError) as error:
            raise _lost(error) from error

    async def ping(self) -> None:
        """Ask for a sign of life."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._connection.send_command("PING", check_health=False)
        except (RedisError, OSError) as error:
            raise _lost(error) from error

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.disconnect(nowait=True)


def _lost(error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(f"the bus was lost ({type(error).__name__})")
