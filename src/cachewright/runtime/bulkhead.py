"""A bulkhead: how many loads may reach the database at once, and who waits for how long."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from cachewright.errors import OverloadedError


class Bulkhead:
    """At most `limit` loads at once; `queue` more wait, first come first served, `patience` seconds at most.

    Loads in the background never wait, and use at most `background` places, so that a wave of refreshes leaves
    room for callers. For one event loop.
    """

    def __init__(
        self,
        limit: int = 32,
        *,
        queue: int | None = None,
        patience: float = 0.1,
        background: int | None = None,
    ) -> None:
        self._limit = max(1, limit)
        self._queue = self._limit if queue is None else queue
        self._patience = patience
        self._background = max(1, self._limit // 4) if background is None else background
        self._used = 0
        self._used_by_background = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def used(self) -> int:
        """How many loads are under way."""
        return self._used

    @property
    def waiting(self) -> int:
        """How many callers wait for a place."""
        return len(self._waiting)

    async def enter(self) -> Place:
        """A place, at once or when one is left. Raises `OverloadedError`."""
        if self._used < self._limit and not self._waiting:
            self._used += 1
            return Place(self)
        if len(self._waiting) >= self._queue:
            raise self._overloaded()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait((turn,), timeout=self._patience)
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        if not turn.done():
            self._give_up(turn)
            raise self._overloaded()
        return Place(self)

    def enter_background(self) -> Place | None:
        """A place for a load that nobody waits for, None where there is none to spare."""
        if self._used >= self._limit or self._waiting or self._used_by_background >= self._background:
            return None
        self._used += 1
        self._used_by_background += 1
        return Place(self, background=True)

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        """Leave the queue, or hand on the place that came too late."""
        if turn.done():
            self._free()
        else:
            self._waiting.remove(turn)

    def leave(self, *, background: bool) -> None:
        """One load is over."""
        self._used_by_background -= background
        self._free()

    def _free(self) -> None:
        """Give a place to who has waited longest, else take it back."""
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._used -= 1

    def _overloaded(self) -> OverloadedError:
        return OverloadedError(
            f"{self._limit} loads are under way and {len(self._waiting)} wait",
            retry_after=max(1.0, self._patience),
            hint="Try again later, or allow more loads at once.",
        )


class Place:
    """A place in a bulkhead, to be used as a context manager."""

    def __init__(self, bulkhead: Bulkhead, *, background: bool = False) -> None:
        self._bulkhead = bulkhead
        self._background = background

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bulkhead.leave(background=self._background)
