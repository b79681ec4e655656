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


_Landing = bytes | _End


class Lead:
    """The caller loads; whoever asks meanwhile waits for it. To be used as a context manager.

    Leaving without `land` gives the followers nothing: after `decline` each loads alone, otherwise (the
    leader failed or was cancelled) one of them leads anew.
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


class FlightTable:
    """The flights of one process. `patience` is how long (s) a follower waits before it loads alone."""

    def __init__(self, *, patience: float = 30.0) -> None:
        self._patience = patience
        self._flights: dict[FlightKey, asyncio.Future[_Landing]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def join_or_lead(self, key: FlightKey | None, *, may_follow: bool = True) -> Lead | Follow | Alone:
        """Lead the flight of `key` where there is none, else wait for it.

        `key` None joins nothing. A caller that was not accepted yet may lead but not follow.
        """
        if key is None:
            return Alone()
        loop = asyncio.get_running_loop()
        place = (loop, key)
        deadline = loop.time() + self._patience
        while (flight := self._flights.get(place)) is not None:
            if not may_follow:
                return Alone()
            done, _ = await asyncio.wait((flight,), timeout=max(0.0, deadline - loop.time()))
            if not done:
                return Alone()
            match flight.result():
                case bytes() as payload:
                    return Follow(payload)
                case _End.UNSHARED:
                    return Alone()
                case _End.ABANDONED:
                    continue
        future: asyncio.Future[_Landing] = loop.create_future()
        self._flights[place] = future
        return Lead(self, place, future)

    def finish(self, key: FlightKey, future: asyncio.Future[_Landing], landing: _Landing) -> None:
        """End a flight, once."""
        if not future.done():
            self._flights.pop(key, None)
            future.set_result(landing)
