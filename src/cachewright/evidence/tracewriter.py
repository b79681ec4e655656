"""A thread that writes a trace while the application goes on."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

from cachewright.evidence.tracefile import create_trace
from cachewright.evidence.tracerows import Record, Rows

_LOG = logging.getLogger(__name__)
_ROWS_HELD = 2_000
_ROWS_AT_MOST = 50_000
#: Bytes of what waits: whoever sends the largest headers a server takes shall not fill the memory with them.
_BYTES_AT_MOST = 64 * 2**20
#: Events between two pauses of `_BREATH` seconds, so that the application gets the interpreter back soon.
_CHUNK = 8
_BREATH = 0.0005
_ROUNDS_A_PERIOD = 25

Prepare = Callable[[Any], Iterable[Record]]


@dataclass(frozen=True, slots=True)
class Rotation:
    """Once a file has `size` bytes, `following` makes the next one."""

    size: int
    following: Callable[[], sqlite3.Connection]


class TraceWriter:
    """A trace that is written in a thread of its own: the application hands over events and never waits.

    `prepare` turns an event into records; it runs in the thread, so whatever is slow belongs there.
    `periodic` gives records every few seconds and at the end. Events beyond `limit` waiting ones, or beyond 64 MB of
    them, and those that fail, are counted as dropped. What was handed over is on disk within half a second, in one
    file unless `rotation` says when to begin another.
    """

    def __init__(
        self,
        path: Path | str,
        meta: Mapping[str, str],
        prepare: Prepare,
        *,
        periodic: Callable[[], Iterable[Record]] = tuple,
        rotation: Rotation | None = None,
        overwrite: bool = False,
        limit: int = 20_000,
        pause: float = 0.2,
    ) -> None:
        """Raises `EvidenceError` where no trace can be written; `pause` is in seconds."""
        self._rows = Rows(create_trace(path, meta, overwrite=overwrite))
        self._path = path
        self._prepare = prepare
        self._periodic = periodic
        self._rotation = rotation
        self._limit = limit
        self._pause = pause
        self._waiting: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._dropped = 0
        self._dropped_before = 0
        self._complained = False
        self._full = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cachewright-trace", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many events are not in the trace."""
        return self._dropped

    @property
    def waiting(self) -> int:
        """How many events wait to be written."""
        return len(self._waiting)

    def put(self, event: Any, size: int = 0) -> None:
        """Hand over an event that keeps `size` bytes alive; from any thread, without waiting."""
        if self._closing.is_set() or len(self._waiting) >= self._limit or self._bytes + size > _BYTES_AT_MOST:
            self._drop()
            return
        self._hold(size)
        self._waiting.append((event, size))

    def _hold(self, size: int) -> None:
        if size:
            with self._lock:
                self._bytes += size

    def close(self) -> None:
        """Write what waits and leave one finished file."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        rounds = 0
        while not self._closing.wait(self._pause):
            self._write(gently=True)
            rounds += 1
            if rounds % _ROUNDS_A_PERIOD == 1:
                self._take(self._records_now, None)
        self._write(gently=False)
        self._take(self._records_now, None)
        self._commit()
        self._rows.close()

    def _write(self, *, gently: bool) -> None:
        """Write what waits, a chunk at a time, leaving the interpreter to the application between chunks."""
        left = len(self._waiting)
        while left > 0:
            for _ in range(min(left, _CHUNK)):
                self._rotate_if_full()
                event, size = self._waiting.popleft()
                self._hold(-size)
                self._take(self._prepare, event)
            left -= _CHUNK
            if self._rows.held >= _ROWS_HELD:
                self._commit()
            if gently and len(self._waiting) < self._limit // 2:
                sleep(_BREATH)
        self._commit()

    def _records_now(self, _event: Any) -> Iterable[Record]:
        return self._periodic()

    def _take(self, prepare: Prepare, event: Any) -> None:
        if self._rows.held > _ROWS_AT_MOST:  # the disk has been full for a while
            self._drop()
            return
        try:
            for record in prepare(event):
                self._rows.add(record)
        except Exception as error:  # noqa: BLE001 - whatever an application's values do, recording goes on without them
            self._drop()
            self._complain(error)

    def _commit(self) -> None:
        try:
            self._rows.commit(dropped=self._dropped - self._dropped_before)
            self._full = self._rotation is not None and self._rows.size >= self._rotation.size
        except Exception as error:  # noqa: BLE001 - a full disk above all; nothing of it is the application's concern
            self._complain(error)

    def _rotate_if_full(self) -> None:
        """Begin the next file once there is something to write into it."""
        if not self._full or self._rotation is None:
            return
        self._full = False
        try:
            before, self._rows = self._rows, Rows(self._rotation.following())
            self._dropped_before = self._dropped
            before.close()
        except Exception as error:  # noqa: BLE001 - it goes on in the file that is full
            self._complain(error)

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            _LOG.warning("%s: part of the trace is lost: %s: %s", self._path, type(error).__name__, error)
