"""What a part that listens to the database is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cachewright.capture.context import RequestContext
from cachewright.capture.events import Escape, RowImage, Statement, Transaction


class SqlSink(Protocol):
    """A listener; always called in the thread that runs the SQL."""

    def executed(
        self, statement: Statement, transaction: Transaction, context: RequestContext | None
    ) -> None:
        """A statement ran (or failed)."""

    def flushed(
        self, images: Sequence[RowImage], transaction: Transaction, context: RequestContext | None
    ) -> None:
        """A unit of work was written, not yet committed."""

    def committing(self, transaction: Transaction, context: RequestContext | None) -> None:
        """The driver is about to be told to commit."""

    def ended(
        self,
        transaction: Transaction,
        *,
        committed: bool,
        started: int,
        ended: int,
        context: RequestContext | None,
    ) -> None:
        """The driver's own commit or rollback returned (for autocommit: the statement did)."""

    def escaped(self, context: RequestContext | None, escape: Escape) -> None:
        """A raw driver connection was handed out, committed or came back: what it does cannot be seen."""


class Heedless:
    """A sink that takes note of nothing: what one of its kind cares about, it says itself."""

    def executed(
        self, statement: Statement, transaction: Transaction, context: RequestContext | None
    ) -> None:
        """See `SqlSink`."""

    def flushed(
        self, images: Sequence[RowImage], transaction: Transaction, context: RequestContext | None
    ) -> None:
        """See `SqlSink`."""

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
        """See `SqlSink`."""

    def escaped(self, context: RequestContext | None, escape: Escape) -> None:
        """See `SqlSink`."""
