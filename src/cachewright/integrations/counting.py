"""Counting the database's work: how many statements, how much time; with and without a cache alike."""

from __future__ import annotations

import threading

from cachewright.capture.context import RequestContext
from cachewright.capture.events import Statement, Transaction
from cachewright.capture.sink import Heedless


class DatabaseCount(Heedless):
    """A sink that counts. Time is that of cursors, from execution to return."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queries = 0
        self._nanoseconds = 0

    def snapshot(self) -> dict[str, float]:
        """`queries` so far and their `time_ms`."""
        with self._lock:
            return {"queries": self._queries, "time_ms": self._nanoseconds / 1e6}

    def executed(
        self, statement: Statement, transaction: Transaction, context: RequestContext | None
    ) -> None:
        """Count one statement."""
        del transaction, context
        with self._lock:
            self._queries += 1
            self._nanoseconds += statement.ended - statement.started
