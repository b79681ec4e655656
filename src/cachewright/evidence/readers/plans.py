"""What a database says it would read all of a table for: the plans of recorded queries, asked of the database itself.

Nothing is run: PostgreSQL (16 and later) and SQLite explain a query without its values.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cachewright.errors import SurroundingsError
from cachewright.evidence.dependencies import facts_of
from cachewright.evidence.trace import StatementText, Trace
from cachewright.sql.placeholders import MARK, normalise

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Smaller tables are read as a whole in no time.
LEAST_ROWS = 1_000
#: An index finds what is at most this share of a table.
_SELECTIVE = 0.1


_HINT = "give the URL of a PostgreSQL or SQLite database with the tables of the recording, and a driver as psycopg"


@dataclass(frozen=True, slots=True)
class WholeTable:
    """A query (`text`, by its number) for which all `rows` of a table are read, and the columns it compares."""

    text: int
    table: str
    columns: tuple[str, ...]
    rows: int


def whole_tables(url: str, trace: Trace) -> tuple[WholeTable, ...]:
    """The recorded queries that an index would spare a whole table. Raises `SurroundingsError`."""
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(make_url(url))
        try:
            with engine.connect() as connection:
                return tuple(_whole_tables(connection, trace))
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise SurroundingsError(
            f"the database cannot be asked for plans: {type(error).__name__}",
            hint=_HINT,
        ) from None  # the message of a driver may hold the password


def _whole_tables(connection: Connection, trace: Trace) -> Iterator[WholeTable]:
    from sqlalchemy.exc import SQLAlchemyError

    understood = strange = 0
    name = connection.dialect.name
    scanned = {"postgresql": _by_postgresql, "sqlite": _by_sqlite}.get(name)
    if scanned is None:
        raise SurroundingsError(f"plans of {name} are not read", hint="give a PostgreSQL or SQLite database")
    for number, facts in facts_of(trace).items():
        if facts.writes or facts.unknown or not facts.reads or trace.texts[number].dialect != name:
            continue
        pinned: dict[str, set[str]] = {}
        for read in facts.reads:
            pinned.setdefault(read.table.rpartition(".")[2], set()).update(
                column for column, _ in read.pinned
            )
        try:
            found = list(scanned(connection, trace.texts[number]))
        except (
            SQLAlchemyError
        ):  # a table that is not there, or a value that was hashed and does not fit its column
            strange += 1
            continue
        understood += 1
        for table, rows in found:
            if rows >= LEAST_ROWS and pinned.get(table):
                yield WholeTable(number, table, tuple(sorted(pinned[table])), rows)
    if strange and not understood:
        raise SurroundingsError("the database understands none of the recorded queries", hint=_HINT)


def _by_postgresql(connection: Connection, text: StatementText) -> Iterator[tuple[str, int]]:
    sql, keys = normalise(text.sql, text.paramstyle, dialect=text.dialect)
    for at in reversed(range(len(keys))):
        sql = sql.replace(f":{MARK}{at}", f"${at + 1}")
    with connection.begin_nested():
        found = connection.exec_driver_sql(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {sql}").scalar_one()
    for node in _nodes((json.loads(found) if isinstance(found, str) else found)[0]["Plan"]):
        if node.get("Node Type") == "Seq Scan" and "Filter" in node:
            table = str(node["Relation Name"])
            rows = connection.exec_driver_sql(
                f"SELECT reltuples FROM pg_class WHERE oid = '{table}'::regclass"  # noqa: S608 - the server's own word
            ).scalar_one()
            if node["Plan Rows"] <= _SELECTIVE * rows:
                yield table, int(rows)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _by_sqlite(connection: Connection, text: StatementText) -> Iterable[tuple[str, int]]:
    sql, keys = normalise(text.sql, text.paramstyle, dialect=text.dialect)
    nothing = {f"{MARK}{at}": None for at in range(len(keys))}
    for *_, detail in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", nothing):
        words = str(detail).split()
        if words[0] == "SCAN" and "INDEX" not in words:
            table = words[1].strip('"')
            quoted = table.replace('"', '""')
            rows = connection.exec_driver_sql(f'SELECT count(*) FROM "{quoted}"').scalar_one()  # noqa: S608 - quoted
            yield table, int(rows)
