"""From the SQL that really ran to tags: what loads depended on, and what writes have changed.

The writes of a transaction are held from the moment they are known until the invalidation after its commit has
returned; a rollback forgets them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from cachewright.capture.context import RequestContext
from cachewright.capture.events import UNKNOWN, RowImage, Statement, Transaction
from cachewright.capture.metadata import Tables
from cachewright.runtime.holders import Announced
from cachewright.spec.tags import NAMESPACE_TAG, NULL, canonical, read_alternatives, write_tags
from cachewright.spec.target import Plan
from cachewright.sql.cache import Facts
from cachewright.sql.facts import Bind, Literal, Operand, StatementFacts, Write
from cachewright.sql.rows import Change, Row, cascades, changed_rows, consequences, renames, spared

_log = logging.getLogger("cachewright")

#: More sets of parameters than this in one execution are not told apart.
_MOST_SETS = 64
#: A read that nobody understands: no tag covers it.
_UNCOVERED: frozenset[str] = frozenset()


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
    ) -> None:
        self._plan = plan
        self._facts = facts
        self._tables = tables
        self._invalidator = invalidator
        self._escaped = escaped
        self._announced: dict[int, Announced] = {}

    # SqlSink

    def executed(
        self, statement: Statement, transaction: Transaction, context: RequestContext | None
    ) -> None:
        """Collect the tags of a write."""
        facts = self._facts.of(statement.sql, statement.dialect, statement.paramstyle)
        if facts.unknown:
            self._wrote({NAMESPACE_TAG}, transaction, context)
            return
        if context is None and facts.reads:
            self._escaped()
        if transaction.written and _COMMIT.match(
            statement.sql
        ):  # in plain text: what ends the transaction later
            self._invalidator.invalidate(frozenset(transaction.written))  # may be called a rollback
        for write in facts.writes:
            if spared(write, self._plan.ignored_writes):
                continue
            if statement.unit_of_work:
                transaction.mapped.add(write.table)
                self._wrote({write.table}, transaction, context)
            else:
                self._wrote(self._tags(self._statement_changes(write, statement)), transaction, context)

    def flushed(
        self, images: Sequence[RowImage], transaction: Transaction, context: RequestContext | None
    ) -> None:
        """Collect the tags of the rows a flush wrote, old and new."""
        for image in images:
            if image.action == "update" and all(
                (image.table, c) in self._plan.ignored_writes for c in image.changed
            ):
                continue
            self._wrote(self._tags(self._image_changes(image)), transaction, context)

    def committing(self, transaction: Transaction, context: RequestContext | None) -> None:
        """Announce what was written."""
        del context
        if transaction.written:
            announced = self._invalidator.announce(self._changed(transaction))
            if announced is not None:
                self._announced[id(transaction)] = announced

    def _changed(self, transaction: Transaction) -> frozenset[str]:
        """The tags of everything that a transaction wrote."""
        unseen = transaction.unseen | transaction.mapped
        return frozenset(transaction.written) | self._tags((table, None) for table in unseen if table)

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

    def escaped(self, context: RequestContext | None) -> None:
        """A raw connection read or wrote unseen: taint what is being loaded, trust nothing that was cached."""
        del context
        self._escaped()
        self._invalidator.invalidate(frozenset({NAMESPACE_TAG}))

    # reads

    def reads_of(self, context: RequestContext, since: int) -> list[frozenset[str]]:
        """For each read of the request, the tags any one of which covers it; `since` leaves out none before."""
        found: list[frozenset[str]] = []
        for statement, _ in tuple(context.statements):
            if statement.started < since:
                continue
            if statement.failed:  # whatever the answer made of it
                found.append(_UNCOVERED)
                continue
            facts = self._facts.of(statement.sql, statement.dialect, statement.paramstyle)
            found.extend(self._alternatives(facts, statement))
        return found

    def _alternatives(self, facts: StatementFacts, statement: Statement) -> Iterator[frozenset[str]]:
        if facts.unknown or facts.opaque:
            yield _UNCOVERED
        inexact = self._tables().inexact
        for read in facts.reads:
            pinned: dict[str, str] = {}
            via = dict(read.via)
            for column, operand in () if statement.many else read.pinned:
                value = _value(operand, statement.parameters)
                loose = any(origin in inexact for origin in ((read.table, column), *via.get(column, ())))
                if value is not None and value != NULL and not loose:
                    pinned[column] = value
            yield read_alternatives(read.table, pinned, self._plan.column_sets)

    # writes

    def _wrote(self, tags: Iterable[str], transaction: Transaction, context: RequestContext | None) -> None:
        if context is not None:
            context.wrote = True
        new = set(tags) - transaction.written
        if new:
            self._invalidator.hold(new)
            transaction.written |= new

    def _tags(self, changes: Iterable[Change]) -> frozenset[str]:
        hidden = self._tables().inexact
        tags: set[str] = set()
        for table, rows in changes:
            visible = rows and [{c: v for c, v in row.items() if (table, c) not in hidden} for row in rows]
            tags |= write_tags(table, visible, self._plan.column_sets)
        return frozenset(tags)

    def _statement_changes(self, write: Write, statement: Statement) -> Iterator[Change]:
        rows = _all_rows(write, statement)
        yield write.table, rows
        yield from consequences(self._tables().references, write, rows)

    def _image_changes(self, image: RowImage) -> Iterator[Change]:
        rows = tuple(_known(side) for side in (image.old, image.new) if side is not None)
        yield image.table, rows
        if image.action == "delete":
            yield from cascades(self._tables().references, image.table, rows)
        elif image.action == "update":
            yield from renames(self._tables().references, image.table, image.changed)


def _all_rows(write: Write, statement: Statement) -> tuple[Row, ...] | None:
    sets = statement.parameters if statement.many else (statement.parameters,)
    if len(sets) > _MOST_SETS:
        return None
    found: list[Row] = []
    for parameters in sets:
        rows = changed_rows(write, lambda operand, given=parameters: _value(operand, given))  # type: ignore[misc]
        if rows is None:
            return None
        found.extend(rows)
    return tuple(found)


def _value(operand: Operand | None, parameters: Any) -> str | None:
    """The canonical value of an operand, None where it is not known."""
    match operand:
        case Literal(constant):
            return NULL if constant is None else canonical(constant)
        case Bind(key):
            try:
                value = parameters[key]
            except (KeyError, IndexError, TypeError):
                return None
            return NULL if value is None else canonical(value)
    return None


def _known(side: Mapping[str, Any]) -> Row:
    return {
        column: NULL if value is None else None if value is UNKNOWN else canonical(value)
        for column, value in side.items()
    }
