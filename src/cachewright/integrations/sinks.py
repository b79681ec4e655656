"""Several listeners to one database, none of which can make the application's SQL fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cachewright.capture.context import RequestContext
from cachewright.capture.events import Escape, RowImage, Statement, Transaction
from cachewright.capture.sink import SqlSink

_log = logging.getLogger("cachewright")


class SafeSinks:
    """A sink that passes everything on to others; where one of them fails, `distrust` is called.

    A listener that failed may have missed a write, so what was cached can no longer be trusted, nor what is loaded
    before the end of its transaction.
    """

    def __init__(self, *sinks: SqlSink, distrust: Callable[[Transaction | None], None]) -> None:
        self._sinks = sinks
        self._distrust = distrust

    def executed(
        self, statement: Statement, transaction: Transaction, context: RequestContext | None
    ) -> None:
        """See `SqlSink`."""
        for sink in self._sinks:
            with self._guarded(transaction):
                sink.executed(statement, transaction, context)

    def flushed(
        self, images: Sequence[RowImage], transaction: Transaction, context: RequestContext | None
    ) -> None:
        """See `SqlSink`."""
        for sink in self._sinks:
            with self._guarded(transaction):
                sink.flushed(images, transaction, context)

    def committing(self, transaction: Transaction, context: RequestContext | None) -> None:
        """See `SqlSink`."""
        for sink in self._sinks:
            with self._guarded(transaction):
                sink.committing(transaction, context)

    def ended(
        self,
        transaction: Transaction,
        *,
        committed: bool,
        started: int,
        ended: int,
        context: RequestContext | None,
    ) -> None:
        """See `SqlSink`."""
        for sink in self._sinks:
            with self._guarded(transaction):
                sink.ended(transaction, committed=committed, started=started, ended=ended, context=context)

    def escaped(self, context: RequestContext | None, escape: Escape) -> None:
        """See `SqlSink`."""
        for sink in self._sinks:
            with self._guarded(None):
                sink.escaped(context, escape)

    @contextmanager
    def _guarded(self, transaction: Transaction | None) -> Iterator[None]:
        try:
            yield
        except Exception:  # noqa: BLE001 - the application's SQL must not fail for a listener
            _log.exception("what SQL did could not be followed; everything cached is invalidated")
            self._distrust(transaction)
