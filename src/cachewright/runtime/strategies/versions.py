"""Which write of a key is the newest: numbers that only rise, known in this process or to all of them.

After its commit a writer may put its value into the cache only where nobody committed a later one. It registers
the key before it stores, raises the key's version after the commit, invalidates, asks for a token, and looks
again: a later writer has raised the version before it invalidated, so either the version shows it or the token
is dead. A version that was lost meanwhile (evicted, flushed, expired) is unknown, and unknown is not the newest.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from cachewright.errors import StoreUnavailableError, UsageError
from cachewright.runtime.settings import Clock

#: What a version can be where it comes from a column: a counter, or a time of last change.
Version = int | datetime
Send = Callable[[Sequence[tuple[str | bytes | int, ...]]], Awaitable[Sequence[Any]]]

_EXACT = 2**53
_KNOWN = 100_000
_LIFETIME_MS = 3_600_000
_MICROSECONDS = 1_000_000


def number(version: Version) -> int:
    """A version as a number; times in microseconds. Raises `UsageError` where it is none below 2**53."""
    if isinstance(version, datetime):
        return round(version.timestamp() * _MICROSECONDS)
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < _EXACT:
        raise UsageError(
            f"a version is an integer from 0 to 2**53 or a datetime, not {version!r}",
            hint="use a column that is counted up with every change, or the time of the last change",
        )
    return version


class Versions(Protocol):
    """The newest version of each name, as far as it is known. Methods may raise `StoreUnavailableError`."""

    async def register(self, name: str) -> None:
        """Make `name` known, before anything is stored."""

    async def next(self, name: str) -> int:
        """A version higher than all before it."""

    async def raised(self, name: str, version: int) -> bool:
        """Note a committed version; whether it is certain to be higher than all committed so far.

        False also where another writer committed the same one: then nobody knows which of them is newer.
        """

    async def latest(self, name: str) -> float | None:
        """The newest one, None where it is not known. Infinite where no version may be trusted for a while."""

    async def distrust(self, name: str) -> None:
        """No version of `name` says what is newest from here on, for an hour: its row was deleted."""

    def seen(self, version: int) -> None:
        """A version that an earlier process gave out: those to come are higher."""


class LocalVersions:
    """Versions of a single process; `wall` is in seconds since the epoch.

    Those of `next` follow the clock, so that they go on rising after a restart. Only `limit` names are known.
    """

    def __init__(self, wall: Clock, *, limit: int = _KNOWN) -> None:
        self._wall = wall
        self._limit = limit
        self._last = 0
        self._latest: OrderedDict[str, float] = OrderedDict()

    async def register(self, name: str) -> None:
        """Nothing is known of a new name but that it is there."""
        self._set(name, self._latest.get(name, 0))

    async def next(self, name: str) -> int:
        """The time in microseconds, or one more than the last version where that is higher."""
        self._last = max(self._last + 1, int(self._wall() * _MICROSECONDS))
        self._set(name, self._last)
        return self._last

    async def raised(self, name: str, version: int) -> bool:
        """Compare and set."""
        before = self._latest.get(name)
        if before is None or before > version:
            return False
        self._set(name, math.inf if before == version else version)
        return before < version

    async def latest(self, name: str) -> float | None:
        """What was set last."""
        return self._latest.get(name)

    async def distrust(self, name: str) -> None:
        """Infinite from here on."""
        self._set(name, math.inf)

    def seen(self, version: int) -> None:
        """Raise the counter."""
        self._last = max(self._last, version)

    def _set(self, name: str, version: float) -> None:
        self._latest[name] = version
        self._latest.move_to_end(name)
        if len(self._latest) > self._limit:
            self._latest.popitem(last=False)


class SharedVersions:
    """Versions of all processes, in sorted sets of one server: ZADD GT never lowers. No Lua.

    `send` exchanges commands with it, `prefix` begins the names of its keys. Beyond the commands of the cache
    it needs TIME, ZADD, ZINCRBY and ZSCORE. Counted versions follow the server's clock, so that they go on
    rising after everything was flushed.
    """

    def __init__(self, send: Send, prefix: str) -> None:
        self._send = send
        self._prefix = prefix

    async def register(self, name: str) -> None:
        """ZADD NX."""
        place = self._prefix + name
        await self._ask(("ZADD", place, "NX", 0, "seen"), ("PEXPIRE", place, _LIFETIME_MS))

    async def next(self, name: str) -> int:
        """At least the server's time, and one more than whatever was given out before."""
        place = self._prefix + name
        seconds, micros = (await self._ask(("TIME",)))[0]
        _, version, _ = await self._ask(
            ("ZADD", place, "GT", int(seconds) * _MICROSECONDS + int(micros), "given"),
            ("ZINCRBY", place, 1, "given"),
            ("PEXPIRE", place, _LIFETIME_MS),
        )
        return int(float(version))

    async def raised(self, name: str, version: int) -> bool:
        """ZADD XX GT: changed only where it was known, and lower."""
        place = self._prefix + name
        changed, score, _ = await self._ask(
            ("ZADD", place, "XX", "GT", "CH", version, "seen"),
            ("ZSCORE", place, "seen"),
            ("PEXPIRE", place, _LIFETIME_MS),
        )
        if not changed and score is not None and float(score) == version:
            await self.distrust(name)
        return bool(changed)

    async def latest(self, name: str) -> float | None:
        """The higher of what was seen and what was given out."""
        place = self._prefix + name
        scores = await self._ask(("ZSCORE", place, "seen"), ("ZSCORE", place, "given"))
        return max((float(score) for score in scores if score is not None), default=None)

    async def distrust(self, name: str) -> None:
        """Infinite until the name is forgotten."""
        place = self._prefix + name
        await self._ask(("ZADD", place, "inf", "seen"), ("PEXPIRE", place, _LIFETIME_MS))

    def seen(self, version: int) -> None:
        """The server knows."""

    async def _ask(self, *commands: tuple[str | bytes | int, ...]) -> Sequence[Any]:
        replies = await self._send(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise StoreUnavailableError(
                    f"the store refused a command ({type(reply).__name__})"
                ) from reply
        return replies
