"""The figures of one worker in a file, so that the figures of all can be added up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_log = logging.getLogger("cachewright")
_INTERVAL = 1.0


class StatisticsFile:
    """Writes `figures` to `<directory>/<pid>.json` every second, and once more at the end.

    Figures that cannot be written (a full disk) are said once, and tried again with the next ones.
    """

    def __init__(self, directory: Path | None, figures: Callable[[], dict[str, Any]]) -> None:
        self._directory = directory
        self._figures = figures
        self._task: asyncio.Task[None] | None = None
        self._complained = False

    def start(self) -> None:
        """Begin to write; without a directory there is nothing to do."""
        if self._directory is not None:
            self._task = asyncio.get_running_loop().create_task(self._write_on())

    async def aclose(self) -> None:
        """Stop, with the last figures written."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        self._write()

    async def _write_on(self) -> None:
        while True:
            self._write()
            await asyncio.sleep(_INTERVAL)

    def _write(self) -> None:
        assert self._directory is not None
        path = self._directory / f"{os.getpid()}.json"
        fresh = path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(self._figures()))
            fresh.replace(path)
        except OSError as error:
            if not self._complained:
                self._complained = True
                _log.warning("the figures of this worker cannot be written to %s: %s", path, error.strerror)
