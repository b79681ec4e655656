"""Counting the database's work: how many statements, how much time; with and without a cache alike."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cachewright.capture.context import RequestContext
from cachewright.capture.events import Escape, RowImage, Statement, Transaction


class DatabaseCount:
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

    def flushed(
        self, images: Sequence[RowImage], transaction: Transaction, context: RequestContext | None
    ) -> None:
        """Rows are not counted."""

    def committing(self, transaction: Transaction, context: RequestContext | None) -> None:
        """See `SqlSink`."""

    def ended(
        self,
        transaction: Transaction,
        *,
        committed: bool,
        started: int,
        ended: int,
        context: RequestContext | None,
    ) -> None:
        """Commits are not counted."""

    def escaped(self, context: RequestContext | None, escape: Escape) -> None:
        """What runs on a raw connection cannot be counted."""
