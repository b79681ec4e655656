"""Counting the database's work: how many statements, how much time; with and without a cache alike."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cachewright.capture.context import RequestContext
from cachewright.capture.events import RowImage, Statement, Transaction
from cachewright.capture.sink import SqlSink


class DatabaseCount:
    """A sink that counts and passes everything on to `then`. Time is that of cursors, from execution to return."""

    def __init__(self, then: SqlSink | None = None) -> None:
        self.then = then
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
        with self._lock:
            self._queries += 1
            self._nanoseconds += statement.ended - statement.started
        if self.then is not None:
            self.then.executed(statement, transaction, context)

    def flushed(
        self, images: Sequence[RowImage], transaction: Transaction, context: RequestContext | None
    ) -> None:
        """Rows are not counted."""
        if self.then is not None:
            self.then.flushed(images, transaction, context)

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
        if self.then is not None:
            self.then.ended(transaction, committed=committed, started=started, ended=ended, context=context)

    def escaped(self, context: RequestContext | None) -> None:
        """What runs on a raw connection cannot be counted."""
        if self.then is not None:
            self.then.escaped(context)
