"""Refreshes: loads in the background, for entries that are served meanwhile; few at once, one for each key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from contextvars import Context
from typing import Any, TypeVar

from cachewright.runtime.core import log
from cachewright.runtime.settings import Clock
from cachewright.runtime.tasks import Tasks

T = TypeVar("T")

_PAUSE_SECONDS = 1.0
_PAUSES = 1000


class Refreshes:
    """The refreshes of one process: at most `limit` at once, what comes beyond is left for the next reader.

    Each runs in a context of its own, empty of whatever the request that wanted it had put in its own. After a
    failure its key is left alone for a second. `clock` is boot time (s).
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._tasks = Tasks()
        self._running: set[Hashable] = set()
        self._paused: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Run `work` in the background; false where `key` is being refreshed, failed lately, or there is no room."""
        if key in self._running or len(self._running) >= self._limit:
            return False
        if self._paused.get(key, 0.0) > self._clock():
            return False
        self._running.add(key)
        self._tasks.spawn(self._run(key, work), context=Context())
        return True

    async def here(self, key: Hashable, work: Callable[[], Awaitable[T | None]]) -> T | None:
        """The result of `work` for a caller who waits; None where `key` is being refreshed, failed lately or now."""
        if key in self._running or self._paused.get(key, 0.0) > self._clock():
            return None
        self._running.add(key)
        try:
            return await work()
        except Exception:  # noqa: BLE001 - the entry is still there
            self._failed(key)
            return None
        finally:
            self._running.discard(key)

    async def _run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            await work()
        except Exception:  # noqa: BLE001 - nobody waits for it; the entry is still there
            self._failed(key)
        finally:
            self._running.discard(key)

    def _failed(self, key: Hashable) -> None:
        log.warning("a refresh failed; the entry is served until its end", exc_info=True)
        self._paused[key] = self._clock() + _PAUSE_SECONDS
        while len(self._paused) > _PAUSES:
            self._paused.popitem(last=False)

    async def aclose(self, patience: float) -> None:
        """Cancel what is under way, and wait for it in bounded time."""
        await self._tasks.end(patience)
