"""Single flight: concurrent misses of one key, seen under the same tokens, load once in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

FlightKey = Hashable


class _End(Enum):
    """How a flight ended that brought nothing: its load may not be shared, or it never came to an end."""

    UNSHARED = 1
    ABANDONED = 2


_Landing = bytes | Exception | _End


class Lead:
    """The caller loads; whoever asks meanwhile waits for it. To be used as a context manager.

    Leaving without `land` gives the followers nothing: after `decline` each loads alone, after `fail` they fail
    too, otherwise (the leader was cancelled) one of them leads anew.
    """

    def __init__(self, table: FlightTable, key: FlightKey, future: asyncio.Future[_Landing]) -> None:
        self._table = table
        self._key = key
        self._future = future

    def land(self, payload: bytes) -> None:
        """Give the followers what was filled."""
        self._table.finish(self._key, self._future, payload)

    def decline(self) -> None:
        """The load was answered but not filled: nobody shares it."""
        self._table.finish(self._key, self._future, _End.UNSHARED)

    def fail(self, error: Exception) -> None:
        """The load failed; whoever waited for it need not try at once what just failed."""
        self._table.finish(self._key, self._future, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.finish(self._key, self._future, _End.ABANDONED)


@dataclass(frozen=True, slots=True)
class Follow:
    """Another caller loaded and filled this payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Alone:
    """The caller loads for itself only."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """A flight; the later it began, the higher its number."""

    number: int
    future: asyncio.Future[_Landing]


class FlightTable:
    """The flights of one process. `patience` is how long (s) a follower waits before it loads alone."""

    def __init__(self, *, patience: float = 30.0) -> None:
        self._patience = patience
        self._flights: dict[FlightKey, _Flight] = {}
        self._begun = 0

    def __len__(self) -> int:
        return len(self._flights)

    async def join_or_lead(self, key: FlightKey | None, *, may_follow: bool = True) -> Lead | Follow | Alone:
        """Lead the flight of `key` where there is none, else wait for it.

        `key` None joins nothing. A caller that was not accepted yet may lead but not follow. Raises what the
        leader told by `fail`.
        """
        if key is None:
            return Alone()
        return await self._join(key, since=-1, may_follow=may_follow)

    async def join_later(self, key: FlightKey) -> Lead | Follow | Alone:
        """Lead the flight of `key`, or wait for one that begins after this call.

        For loads whose tokens nobody knows: whatever was invalidated before the call is no part of what such a
        flight brings.
        """
        return await self._join(key, since=self._begun, may_follow=True)

    async def _join(self, key: FlightKey, *, since: int, may_follow: bool) -> Lead | Follow | Alone:
        loop = asyncio.get_running_loop()
        place = (loop, key)
        deadline = loop.time() + self._patience
        while (flight := self._flights.get(place)) is not None:
            if not may_follow:
                return Alone()
            done, _ = await asyncio.wait((flight.future,), timeout=max(0.0, deadline - loop.time()))
            if not done:
                return Alone()
            if flight.number <= since:
                continue
            match flight.future.result():
                case bytes() as payload:
                    return Follow(payload)
                case Exception() as error:
                    raise error.with_traceback(None)
                case _End.UNSHARED:
                    return Alone()
                case _End.ABANDONED:
                    continue
        return self._lead(place, loop)

    def lead(self, key: FlightKey | None) -> Lead | None:
        """Lead the flight of `key` if nobody does; never waits."""
        loop = asyncio.get_running_loop()
        return None if key is None or (loop, key) in self._flights else self._lead((loop, key), loop)

    def _lead(self, place: FlightKey, loop: asyncio.AbstractEventLoop) -> Lead:
        future: asyncio.Future[_Landing] = loop.create_future()
        self._begun += 1
        self._flights[place] = _Flight(self._begun, future)
        return Lead(self, place, future)

    def finish(self, key: FlightKey, future: asyncio.Future[_Landing], landing: _Landing) -> None:
        """End a flight, once."""
        if not future.done():
            self._flights.pop(key, None)
            future.set_result(landing)
