"""From the text of a statement to its facts; the one place where the SQL parser runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import sqlglot
from sqlglot import exp

from cachewright.sql import settings, traits
from cachewright.sql.columns import touch
from cachewright.sql.facts import HARMLESS, UNKNOWN, Read, StatementFacts, Write
from cachewright.sql.lexer import PRINTF_STYLES, family_of
from cachewright.sql.names import Schema
from cachewright.sql.operands import Operands
from cachewright.sql.pins import Pinning
from cachewright.sql.scopes import Reader, Scope, Source
from cachewright.sql.script import Script, script
from cachewright.sql.verbs import REFRESH, Verdict, judge
from cachewright.sql.writes import Change, WriteReader

_PARSER_NAMES = {
    "sqlite": "sqlite",
    "postgresql": "postgres",
    "cockroachdb": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "mssql": "tsql",
    "oracle": "oracle",
}


def parse(
    sql: str, *, dialect: str, paramstyle: str, schema: Mapping[str, Collection[str]] | None
) -> StatementFacts:
    """Say what a statement reads and writes; never raises: what is not understood is `unknown`.

    `dialect` is SQLAlchemy's name of it, `paramstyle` the DBAPI's. `schema` gives the columns of the declared
    tables (`Table.fullname` to column names); without it a bare column belongs to a query's only source. Of
    several statements in one text, the facts are joined.
    """
    try:
        return parse_script(script(sql, paramstyle, dialect=dialect), dialect, paramstyle, Schema(schema))
    except Exception:  # noqa: BLE001 - a foreign text met a foreign parser: whatever it raised means "not understood"
        return UNKNOWN


def parse_script(text: Script, dialect: str, paramstyle: str, schema: Schema) -> StatementFacts:
    """Do what `parse` does for a text that is already reduced to a script, and let errors through."""
    verdicts = [judge(statement) for statement in text.statements]
    if text.conditional or Verdict.UNKNOWN in verdicts:
        return UNKNOWN
    operands = Operands(text.keys, family_of(dialect), paramstyle in PRINTF_STYLES)
    found = (
        _of_statement(statement, dialect, operands, schema)
        if verdict is Verdict.PARSE
        else settings.of_set(statement, dialect, operands)
        for statement, verdict in zip(text.statements, verdicts, strict=True)
    )
    facts = [each for each in found if each is not None]
    match facts:
        case []:
            return HARMLESS
        case [only]:
            return only
        case _:
            return _joined(facts)


def _of_statement(statement: str, dialect: str, operands: Operands, schema: Schema) -> StatementFacts:
    if named := REFRESH.match(statement):
        return _refreshed(named[1], schema)
    replaces = statement[:7].lower() == "replace"
    text = f"INSERT{statement[7:]}" if replaces else statement
    trees = [tree for tree in sqlglot.parse(text, read=_PARSER_NAMES.get(dialect)) if tree is not None]
    if len(trees) != 1:
        raise ValueError("one statement was expected here")
    return _Reading(trees[0], operands, schema).facts(replaces=replaces)


def _refreshed(view: str, schema: Schema) -> StatementFacts:
    """A materialised view is written by its REFRESH, and by nothing else."""
    table = exp.to_table(view, dialect="postgres")
    return StatementFacts(writes=(Write(schema.resolve(table.db, table.name), "any", whole=True),))


@dataclass(slots=True)
class _Reading:
    """One parsed statement on its way to facts."""

    root: exp.Expr
    operands: Operands
    schema: Schema

    def facts(self, *, replaces: bool) -> StatementFacts:
        reader = Reader(self.schema)
        changes = self._changes(reader, replaces=replaces)
        if _unaccounted(self.root, reader):
            return UNKNOWN
        pinning = Pinning(self.operands)
        for scope in reader.scopes:
            touch(scope)
            pinning.solve(scope)
        seen = [each for scope in reader.scopes for each in traits.compared(scope, self.operands)]
        return StatementFacts(
            reads=(
                *(_read(source, pinning) for source in _read_sources(reader.scopes)),
                *settings.of_calls(self.root, self.operands),
            ),
            writes=tuple(change.write(pinning) for change in changes),
            nondeterministic=_once(traits.nondeterministic(self.root)),
            opaque=_once(traits.opaque(self.root)),
            called=_once(traits.called(self.root)),
            time_binds=_once(each.operand for each in seen),
            predicate_binds=_once(
                (each.table, each.column, each.operand) for each in seen if each.column is not None
            ),
        )

    def _changes(self, reader: Reader, *, replaces: bool) -> list[Change]:
        writer = WriteReader(reader, self.operands)
        changes: list[Change] = []
        nothing_visible: frozenset[str] = frozenset()
        match self.root:
            case exp.Query() | exp.Values():
                reader.query(self.root, Scope(None, nothing_visible))
            case exp.Insert() | exp.Update() | exp.Delete() | exp.Merge():
                changes += writer.changes(self.root, nothing_visible, replaces=replaces)
            case _:
                raise ValueError(f"neither a query nor a writing statement: {self.root.key}")
        while reader.writing:
            node, visible = reader.writing.pop(0)
            changes += writer.changes(node, visible)
        return changes


def _unaccounted(root: exp.Expr, reader: Reader) -> bool:
    """Whether the statement mentions a table in a place that was not understood."""
    return any(id(table) not in reader.claimed for table in root.find_all(exp.Table))


def _read_sources(scopes: list[Scope]) -> Iterator[Source]:
    return (
        source
        for scope in scopes
        for source in scope.sources
        if source.table is not None and not source.target
    )


def _read(source: Source, pinning: Pinning) -> Read:
    assert source.table is not None
    pins = pinning.of(source)
    return Read(
        table=source.table,
        pinned=tuple((column, pin.operand) for column, pin in pins.items()),
        columns=None if source.touched_all else frozenset(source.touched),
        via=tuple((column, pin.via) for column, pin in pins.items() if pin.via),
    )


_T = TypeVar("_T")


def _once(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))


def _joined(facts: list[StatementFacts]) -> StatementFacts:
    """Join the facts of several statements of one text."""
    return StatementFacts(
        reads=tuple(read for each in facts for read in each.reads),
        writes=tuple(write for each in facts for write in each.writes),
        unknown=any(each.unknown for each in facts),
        nondeterministic=_once(name for each in facts for name in each.nondeterministic),
        opaque=_once(name for each in facts for name in each.opaque),
        called=_once(name for each in facts for name in each.called),
        time_binds=_once(value for each in facts for value in each.time_binds),
        predicate_binds=_once(value for each in facts for value in each.predicate_binds),
    )
