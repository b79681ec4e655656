"""The way in for synchronous code: a commit in any thread, even in that of a running event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from cachewright.runtime.core import Core
from cachewright.runtime.holders import Announced
from cachewright.runtime.invalidation import Invalidations, Recent
from cachewright.runtime.journal import Journal
from cachewright.runtime.members import Members
from cachewright.runtime.stores.base import Store

_RETRIES = 3
_RETRIES_ON_LOOP = 1
_CLOSE_SECONDS = 2.0

T = TypeVar("T")


class Portal:
    """Runs invalidations for callers that cannot await, on a thread with a loop and a store of its own.

    One way for all of them: the application's loop may be the very thread that is waiting, or wait for it.
    The thread starts with the first call and is started anew in a forked process.
    """

    def __init__(
        self,
        core: Core,
        connect: Callable[[], Store],
        journal: Journal,
        recent: Recent,
        members: Members | None,
    ) -> None:
        self._members = members
        self._core = core
        self._connect = connect
        self._journal = journal
        self._recent = recent
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def invalidate(self, tags: Collection[str]) -> int:
        """Invalidate `tags` everywhere and wait for it, in bounded time; how many of them were in use.

        What depends on them is gone from this process before anything is sent. A delivery that fails or
        takes too long is kept and repeated; nothing is raised.
        """
        wanted = tuple(dict.fromkeys(tags))
        known = self._core.drop(wanted)
        if not self._core.shared or not wanted:
            self._core.told(wanted)
            return known
        retries = _RETRIES_ON_LOOP if _on_loop() else _RETRIES
        try:
            return self._ran(lambda work: work.invalidate(wanted, retries=retries), self._patience(retries))
        except TimeoutError:
            self._journal.add(wanted)
            return 0

    def announce(self, tags: Collection[str]) -> Announced | None:
        """See `Invalidations.announce`; waits for it in bounded time."""
        if not self._core.shared or not self._core.settings.crash_safe:
            return None
        try:
            return self._ran(lambda work: work.announce(tags), self._patience(1))
        except TimeoutError:
            self._journal.add(tuple(tags))
            return None

    def lift(self, announced: Announced) -> None:
        """See `Invalidations.lift`; waits for it in bounded time."""
        with suppress(TimeoutError):
            self._ran(lambda work: work.lift(announced), self._patience(0))

    def _ran(self, work: Callable[[Invalidations], Coroutine[Any, Any, T]], patience: float) -> T:
        """The result of `work` on the thread. Raises `TimeoutError`."""
        running = self._start()
        return asyncio.run_coroutine_threadsafe(work(running.work), running.loop).result(patience)

    def _patience(self, retries: int) -> float:
        settings = self._core.settings
        attempt = settings.read_timeout + settings.connect_timeout
        heard = attempt + settings.l1_lease if self._members is not None else 0.0
        return (retries + 1) * attempt + settings.retry_budget + heard

    def _start(self) -> _Running:
        with self._lock:
            if self._running is None or not self._running.thread.is_alive():
                self._running = _Running(
                    self._connect, self._core, self._journal, self._recent, self._members
                )
            return self._running

    def close(self) -> None:
        """End the thread, once what it is doing is done. May be called again."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None and running.thread.is_alive():
            running.loop.call_soon_threadsafe(running.ended.set)
            running.thread.join(_CLOSE_SECONDS)


class _Running:
    """A thread, its loop, and the store that belongs to them."""

    def __init__(
        self,
        connect: Callable[[], Store],
        core: Core,
        journal: Journal,
        recent: Recent,
        members: Members | None,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.ended = asyncio.Event()
        self._store = connect()
        self.work = Invalidations(core, self._store, journal, recent, members)
        self.thread = threading.Thread(target=self._run, name="cachewright-portal", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self.loop.close()

    async def _serve(self) -> None:
        await self.ended.wait()
        await self.work.tasks.finish(_CLOSE_SECONDS / 2)
        await self._store.aclose()
        await self.work.tasks.finish(_CLOSE_SECONDS / 2)


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
