"""From the SQL that really ran to tags: what loads depended on, and what writes have changed.

The writes of a transaction are held from the moment they are known until the invalidation after its commit has
returned; a rollback forgets them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from cachewright.capture.context import RequestContext
from cachewright.capture.events import Escape, RowImage, Statement, Transaction
from cachewright.capture.metadata import Tables
from cachewright.integrations.changes import UNCOVERED, Changes
from cachewright.runtime.holders import Announced
from cachewright.spec.tags import NAMESPACE_TAG, SETTINGS
from cachewright.spec.target import Plan
from cachewright.sql.cache import Facts
from cachewright.sql.facts import Write

_log = logging.getLogger("cachewright")

_COMMIT = re.compile(r"\s*(?:COMMIT|END)\b", re.IGNORECASE)


class Invalidator(Protocol):
    """What the writes are reported to."""

    def hold(self, tags: Collection[str]) -> None:
        """Until released: load, but neither serve nor fill what depends on these tags here."""

    def release(self, tags: Collection[str]) -> None:
        """The end of a hold."""

    def invalidate(self, tags: frozenset[str]) -> None:
        """Change the tags' tokens; returns when that is done or has been put on record for later."""

    def announce(self, tags: frozenset[str]) -> Announced | None:
        """Hold the tags in every process, right before they are committed; what is returned is for `lift`."""

    def lift(self, announced: Announced) -> None:
        """The end of what was announced."""

    def invalidate_again(self, tags: frozenset[str]) -> None:
        """Hold the tags and change their tokens once more in a while: their write may not have landed yet."""


class DatabaseEyes:
    """The sink that turns statements and images into holds and invalidations."""

    def __init__(
        self,
        plan: Plan,
        facts: Facts,
        tables: Callable[[], Tables],
        invalidator: Invalidator,
        *,
        escaped: Callable[[], None],
        agreed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._facts = facts
        self._changes = Changes(plan, tables, agreed)
        self._invalidator = invalidator
        self._escaped = escaped
        self._announced: dict[int, Announced] = {}
        self._warned = False

    # SqlSink

    def executed(
        self, statement: Statement, transaction: Transaction, context: RequestContext | None
    ) -> None:
        """Collect the tags of a write; what cannot be told apart yet may read and write anything."""
        if transaction.blind:
            self._wrote({NAMESPACE_TAG}, transaction, None)
        facts = self._facts.of(statement.sql, statement.dialect, statement.paramstyle)
        if facts.unknown:
            self._wrote({NAMESPACE_TAG}, transaction, context)
            return
        if context is None and facts.reads:
            self._escaped()
        if transaction.written and _COMMIT.match(statement.sql):
            # in plain text: what ends the transaction later may be called a rollback
            if statement.failed:
                self._invalidator.invalidate_again(frozenset(transaction.written))
            self._invalidator.invalidate(frozenset(transaction.written))
        wanted = [write for write in facts.writes if not self._spared(write)]
        if statement.unit_of_work:
            for write in wanted:
                transaction.mapped.add(write.table)
                self._wrote({write.table}, transaction, context)
            wanted = []
        changed = self._changes.of_statement(facts, statement, wanted, transaction.database)
        if changed:
            self._wrote(changed, transaction, context)

    def flushed(
        self, images: Sequence[RowImage], transaction: Transaction, context: RequestContext | None
    ) -> None:
        """Collect the tags of the rows a flush wrote, old and new."""
        for image in images:
            if image.action == "update" and self._changes.ignores(image.table, image.changed):
                continue
            self._wrote(self._changes.of_image(image, transaction.database), transaction, context)

    def committing(self, transaction: Transaction, context: RequestContext | None) -> None:
        """Announce what was written."""
        del context
        if transaction.written:
            announced = self._invalidator.announce(self._changed(transaction))
            if announced is not None:
                self._announced[id(transaction)] = announced

    def _changed(self, transaction: Transaction) -> frozenset[str]:
        """The tags of everything that a transaction wrote."""
        unseen = sorted(table for table in transaction.unseen | transaction.mapped if table)
        return frozenset(transaction.written) | self._changes.of_tables(unseen, transaction.database)

    def ended(
        self,
        transaction: Transaction,
        *,
        committed: bool,
        started: int,
        ended: int,
        context: RequestContext | None,
    ) -> None:
        """Invalidate after a commit, forget after a rollback."""
        del started, ended, context
        if not transaction.written:
            return
        held = frozenset(transaction.written)
        announced = self._announced.pop(id(transaction), None)
        try:
            if committed:
                changed = self._changed(transaction)
                if transaction.doubtful:
                    self._invalidator.invalidate_again(changed)
                self._invalidator.invalidate(changed)
                if announced is not None and not transaction.doubtful:  # else it may be committed later
                    self._invalidator.lift(announced)
            elif NAMESPACE_TAG in held:  # a database may have committed by itself what nobody understood
                self._invalidator.invalidate(held)
        finally:
            transaction.written.clear()
            self._invalidator.release(held)

    def escaped(self, context: RequestContext | None, escape: Escape) -> None:
        """A raw connection reads and writes unseen: taint what is being loaded, trust nothing that was cached.

        Until it is back nothing is served or filled in this process; its commits through SQLAlchemy reach the others.
        """
        del context
        self._escaped()
        if escape == "out":
            self._invalidator.hold({NAMESPACE_TAG})
            if not self._warned:
                self._warned = True
                _log.warning(
                    "the application took a driver's connection out of its pool: until it is back nothing is cached"
                )
        self._invalidator.invalidate(frozenset({NAMESPACE_TAG}))
        if escape == "back":
            self._invalidator.release({NAMESPACE_TAG})

    def lost_sight(self, transaction: Transaction | None) -> None:
        """A write may have been missed: of this transaction, or of any."""
        if transaction is None:
            self._escaped()
            self._invalidator.invalidate(frozenset({NAMESPACE_TAG}))
        else:
            self._wrote({NAMESPACE_TAG}, transaction, None)

    # reads

    def reads_of(self, context: RequestContext, since: int, first: int | None = None) -> list[frozenset[str]]:
        """For each read of the request, the tags any one of which covers it.

        Statements before `since` are left out, and those beyond the `first` ones.
        """
        found: list[frozenset[str]] = []
        told = secured = False
        for statement, transaction in tuple(context.statements[:first]):
            if statement.started < since:
                continue
            if statement.failed:  # whatever the answer made of it
                found.append(UNCOVERED)
                continue
            facts = self._facts.of(statement.sql, statement.dialect, statement.paramstyle)
            found.extend(self._changes.alternatives(facts, statement, transaction.database))
            told = told or any(read.table == SETTINGS for read in facts.reads)
            secured = secured or self._changes.secured(facts, transaction.database)
        if secured and not told:  # what the session sees was decided where nobody looked
            found.append(frozenset({SETTINGS}))
        return found

    # writes

    def _spared(self, write: Write) -> bool:
        return (
            write.action == "update"
            and bool(write.changed)
            and self._changes.ignores(write.table, write.changed or ())
        )

    def _wrote(self, tags: Iterable[str], transaction: Transaction, context: RequestContext | None) -> None:
        if context is not None:
            context.wrote = True
        new = set(tags) - transaction.written
        if new:
            self._invalidator.hold(new)
            transaction.written |= new
