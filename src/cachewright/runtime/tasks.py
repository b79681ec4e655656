"""Tasks that belong to a part of the runtime: they end with it, not with the request that wanted them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class Tasks:
    """The running tasks of one owner, on one event loop."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(
        self, work: Coroutine[Any, Any, _Result], *, context: Context | None = None
    ) -> asyncio.Task[_Result]:
        """Run `work`, in `context` or in a copy of the current one.

        Whoever wants its result awaits it shielded, or not at all.
        """
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # the caller that wanted to know may be gone

    async def finish(self, patience: float) -> None:
        """Wait until all have ended, `patience` seconds at most."""
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=patience)

    async def end(self, patience: float) -> None:
        """Cancel all and wait until they have ended, `patience` seconds at most."""
        for task in tuple(self._running):
            task.cancel()
        await self.finish(patience)
