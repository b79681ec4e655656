"""From statements and images to tags: what was read, and what else the database changed because of a write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from cachewright.capture.events import UNKNOWN, RowImage, Statement
from cachewright.capture.metadata import Tables
from cachewright.spec.tags import (
    NAMESPACE_TAG,
    NULL,
    bulk_tag,
    canonical,
    disguised,
    read_alternatives,
    write_tags,
)
from cachewright.spec.target import Plan
from cachewright.sql.catalogue import Catalogue, Surmise
from cachewright.sql.facts import Bind, Literal, Operand, StatementFacts, Write
from cachewright.sql.functions import is_known
from cachewright.sql.rows import Change, Reference, Row, cascades, changed_rows, renames

_log = logging.getLogger("cachewright")

#: More sets of parameters than this in one execution are not told apart.
_MOST_SETS = 64
#: A read that nobody understands: no tag covers it.
UNCOVERED: frozenset[str] = frozenset()
_NO_SURMISE = Surmise(Catalogue())


class Changes:
    """What statements mean for the tags of a plan. `tables` are those the application declares.

    While the processes have not `agreed` on the column sets of row tags, each write changes `#bulk` too.
    """

    def __init__(self, plan: Plan, tables: Callable[[], Tables], agreed: Callable[[], bool]) -> None:
        self._plan = plan
        self._agreed = agreed
        self._tables = tables
        self._named: set[str] = set()

    # reads

    def alternatives(
        self, facts: StatementFacts, statement: Statement, database: Surmise | None
    ) -> Iterator[frozenset[str]]:
        """For each table that was read, the tags any one of which covers it."""
        known = database or _NO_SURMISE
        if facts.unknown or any(not self._is_plain(name, facts, database) for name in _functions(facts)):
            yield UNCOVERED
        for read in facts.reads:
            hidden = known.read_by(read.table)
            if hidden is None or (database is None and read.table not in self._tables().columns):
                yield UNCOVERED
            for table in hidden or ():
                yield read_alternatives(table, {}, self._plan.column_sets)
            if known.is_view(read.table):
                continue
            pinned: dict[str, str] = {}
            via = dict(read.via)
            for column, operand in () if statement.many else read.pinned:
                value = value_of(operand, statement.parameters)
                columns = ((read.table, column), *via.get(column, ()))
                loose = any(self._is_loose(*origin, known) for origin in columns)
                if value is not None and value != NULL and not loose:
                    pinned[column] = value
            table = known.table(read.table)
            shown = disguised(table, pinned, self._plan.hashed)
            told = {column: value for column, value in shown.items() if value is not None}
            yield read_alternatives(table, told, self._plan.column_sets)

    def _is_plain(self, function: str, facts: StatementFacts, database: Surmise | None) -> bool:
        if database is not None and database.is_routine(function):
            return database.is_plain(function)
        if function not in facts.opaque:
            return True
        return database is not None and database.is_plain(function)

    def secured(self, facts: StatementFacts, database: Surmise | None) -> bool:
        """Whether a session sees only some rows of what was read."""
        if database is None or not database.secured:
            return False
        return any(
            not database.secured.isdisjoint({read.table, *(database.read_by(read.table) or ())})
            for read in facts.reads
        )

    # writes

    def of_statement(
        self, facts: StatementFacts, statement: Statement, writes: Iterable[Write], database: Surmise | None
    ) -> frozenset[str]:
        """The tags that these writes of a statement change, and the functions that it calls."""
        changes: list[Change | None] = []
        for write in writes:
            rows = _all_rows(write, statement)
            changes.append((write.table, rows))
            changes += self._consequences(write.table, write.action, rows, write.changed, database)
        for function in _functions(facts):
            changes += self._called(function, facts, database)
        return self.tags(changes, database)

    def of_image(self, image: RowImage, database: Surmise | None) -> frozenset[str]:
        """The tags that a row of a unit of work changes."""
        rows = tuple(_known(side) for side in (image.old, image.new) if side is not None)
        consequences = self._consequences(image.table, image.action, rows, image.changed, database)
        return self.tags([(image.table, rows), *consequences], database)

    def of_tables(self, tables: Iterable[str], database: Surmise | None) -> frozenset[str]:
        """The tags of writes of which nothing is known but the table."""
        changes: list[Change | None] = []
        for table in tables:
            changes.append((table, None))
            changes += self._consequences(table, "any", None, None, database)
        return self.tags(changes, database)

    def _consequences(
        self,
        table: str,
        action: str,
        rows: tuple[Row, ...] | None,
        changed: Collection[str] | None,
        database: Surmise | None,
    ) -> Iterator[Change | None]:
        """What foreign keys and triggers make of a write; None where that may be anything."""
        references = self._references(database)
        followers: list[Change] = []
        if action in ("delete", "any"):
            followers += cascades(references, table, rows)
        if action in ("update", "any"):
            followers += renames(references, table, changed)
        yield from followers
        if database is not None:
            for name in dict.fromkeys((table, *(follower for follower, _ in followers))):
                yield from _whole(database.changed_by(name))

    def _references(self, database: Surmise | None) -> tuple[Reference, ...]:
        declared = self._tables().references
        if database is None or not database.catalogue.references:
            return declared
        return tuple(dict.fromkeys((*declared, *database.catalogue.references)))

    def _called(
        self, function: str, facts: StatementFacts, database: Surmise | None
    ) -> Iterator[Change | None]:
        if database is not None and database.is_routine(function):
            yield from _whole(database.called(function))
        elif function in facts.opaque and not is_known(function):
            changed = None if database is None else database.called(function)
            if changed is None and function not in self._named:
                self._named.add(function)
                _log.warning(
                    "the function %s may write anything: each call invalidates all entries", function
                )
            yield from _whole(changed)

    def tags(self, changes: Iterable[Change | None], database: Surmise | None) -> frozenset[str]:
        """The tags of changes; those of the namespace where one of them may be anything."""
        known = database or _NO_SURMISE
        tags: set[str] = set()
        for change in changes:
            if change is None:
                return frozenset({NAMESPACE_TAG})
            table, rows = change
            hidden = known.rewritten(known.table(table))
            visible = None
            if rows is not None and "*" not in hidden:
                visible = [
                    {c: v for c, v in row.items() if c not in hidden and not self._is_loose(table, c, known)}
                    for row in rows
                ]
            name = known.table(table)
            shown = visible and [disguised(name, row, self._plan.hashed) for row in visible]
            tags |= write_tags(name, shown, self._plan.column_sets)
            if not self._agreed():
                tags.add(bulk_tag(known.table(table)))
        return frozenset(tags)

    def ignores(self, table: str, columns: Collection[str]) -> bool:
        """Whether an update of these columns of `table` changes nothing that anybody here or elsewhere depends on."""
        return self._agreed() and all((table, column) in self._plan.ignored_writes for column in columns)

    def _is_loose(self, table: str, column: str, known: Surmise) -> bool:
        return (table, column) in self._tables().inexact or (table, column) in known.catalogue.loose


def _functions(facts: StatementFacts) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*facts.called, *facts.opaque)))


def _whole(tables: frozenset[str] | None) -> Iterator[Change | None]:
    if tables is None:
        yield None
    for table in tables or ():
        yield table, None


def _all_rows(write: Write, statement: Statement) -> tuple[Row, ...] | None:
    sets = statement.parameters if statement.many else (statement.parameters,)
    if len(sets) > _MOST_SETS:
        return None
    found: list[Row] = []
    for parameters in sets:
        rows = changed_rows(write, lambda operand, given=parameters: value_of(operand, given))  # type: ignore[misc]
        if rows is None:
            return None
        found.extend(rows)
    return tuple(found)


def value_of(operand: Operand | None, parameters: Any) -> str | None:
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
