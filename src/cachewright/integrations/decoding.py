"""Writes of other programs: what the log of PostgreSQL says was committed, polled with plain SQL.

The slot is read without moving it, what it says is invalidated, and only then the slot moves on: a follower that
dies repeats itself and leaves nothing out. The text is that of `test_decoding`, which every PostgreSQL brings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from cachewright.capture.catalogue import read_catalogue
from cachewright.errors import SurroundingsError
from cachewright.spec.tags import NULL, ColumnSets, canonical, disguised, write_tags
from cachewright.sql.catalogue import Catalogue, Surmise
from cachewright.sql.names import table_name
from cachewright.sql.rows import Row

#: Changes of one poll, about: a transaction is never cut.
_MOST = 2000
_CHANGE = re.compile(
    r"table (?P<tables>.+?): (?P<action>INSERT|UPDATE|DELETE|TRUNCATE): (?P<rest>.*)", re.DOTALL
)
_COMMIT = re.compile(r"COMMIT \d+ \(at (?P<at>[^)]+)\)")
_NAME = re.compile(r'(?:"((?:[^"]|"")*)"|([^".,\s]+))')
_CELL = re.compile(
    r'(?P<name>"(?:[^"]|"")+"|[^\s"\[\]]+)\[(?P<type>(?:[^\[\]]|\[\])+)\]:(?P<value>\'(?:[^\']|\'\')*\'|\S+)'
)
_PLAIN = frozenset(
    {"smallint", "integer", "bigint", "text", "character varying", "character", "name", "uuid", "boolean"}
)
_UNCHANGED = "unchanged-toast-datum"

_PEEK = text(
    "SELECT lsn::text, data, extract(epoch FROM clock_timestamp())::float8"
    " FROM pg_logical_slot_peek_changes(:slot, NULL, :most, 'include-timestamp', 'on', 'skip-empty-xacts', 'on')"
)
_MOVE = text("SELECT count(*) FROM pg_logical_slot_get_changes(:slot, CAST(:lsn AS pg_lsn), NULL)")
_SLOT = text("SELECT plugin, database = current_database() FROM pg_replication_slots WHERE slot_name = :slot")


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll found: tags of committed transactions, how many, how long (s) the oldest had waited."""

    tags: frozenset[str] = frozenset()
    transactions: int = 0
    lag: float = 0.0
    upto: str | None = None


def setup_sql(slot: str, tables: Iterable[str]) -> str:
    """What the operator has to run once. Nothing here ever runs it."""
    whole = "".join(f"ALTER TABLE {table} REPLICA IDENTITY FULL;\n" for table in sorted(tables))
    return (
        "-- Once, in the application's database; wal_level = logical has to be set.\n"
        f"SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding');\n"
        "-- Old values of changed rows get into the log; without them each write counts for its whole table.\n"
        f"{whole}"
        "-- The role that follows; nothing else is asked of it.\n"
        "ALTER ROLE follower REPLICATION;\n"
        "-- To end it (a slot that nobody reads keeps the log from being removed):\n"
        f"-- SELECT pg_drop_replication_slot('{slot}');\n"
    )


class DecodedChanges:
    """A logical replication slot, read by polling."""

    def __init__(
        self,
        engine: Engine,
        slot: str,
        column_sets: ColumnSets,
        hashed: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self._engine = engine
        self._slot = slot
        self._sets = column_sets
        self._hashed = hashed
        self._database = Surmise(Catalogue())

    def open(self) -> None:
        """See that the slot is there. Raises `SurroundingsError`."""
        with self._engine.connect() as connection:
            found = connection.execute(_SLOT, {"slot": self._slot}).one_or_none()
        if found is None or found[0] != "test_decoding" or not found[1]:
            raise SurroundingsError(
                f"the database has no slot {self._slot!r} of test_decoding",
                hint="`cachewright follow --setup` prints the SQL that makes it.",
            )

    def learn(self) -> None:
        """Read the catalogue: partitions have names of their own in the log."""
        with self._engine.connect() as connection:

            def ask(query: str) -> Sequence[Sequence[Any]]:
                return list(connection.exec_driver_sql(query).all())

            catalogue = read_catalogue("postgresql", ask)
        self._database = Surmise(catalogue or Catalogue())

    def poll(self) -> Batch:
        """What was committed since the slot was moved last."""
        with self._engine.connect() as connection:
            rows = connection.execute(_PEEK, {"slot": self._slot, "most": _MOST}).all()
        tags: set[str] = set()
        lags: list[float] = []
        upto = None
        for lsn, data, now in rows:
            if (committed := _COMMIT.match(data)) is not None:
                lags.append(max(0.0, now - datetime.fromisoformat(committed["at"]).timestamp()))
                upto = lsn
            else:
                tags |= self.tags_of(data)
        return Batch(frozenset(tags), len(lags), max(lags, default=0.0), upto)

    def confirm(self, batch: Batch) -> None:
        """Move the slot past what was polled."""
        if batch.upto is not None:
            with self._engine.connect() as connection:
                connection.execute(_MOVE, {"slot": self._slot, "lsn": batch.upto})
                connection.commit()

    def tags_of(self, data: str) -> frozenset[str]:
        """The tags that one line of the log changes."""
        change = _CHANGE.match(data)
        if change is None:
            return frozenset()
        rows = None if change["action"] == "TRUNCATE" else _rows(change["action"], change["rest"])
        tags: set[str] = set()
        for name in _tables(change["tables"]):
            table = self._database.table(name)
            shown = rows and [disguised(table, row, self._hashed) for row in rows]
            tags |= write_tags(table, shown, self._sets)
        return frozenset(tags)


def _tables(text: str) -> Iterator[str]:
    parts = [(quoted or plain).replace('""', '"') for quoted, plain in _NAME.findall(text)]
    for schema, table in zip(parts[::2], parts[1::2], strict=True):
        yield table_name(schema, table)


def _rows(action: str, rest: str) -> list[Row]:
    """Old and new row; an empty one where the log does not hold it."""
    if action == "INSERT":
        return [_row(rest)]
    if action == "DELETE":
        return [_row(rest)]
    old, found, new = rest.removeprefix("old-key: ").partition(" new-tuple: ")
    return [_row(old), _row(new)] if found else [{}, _row(rest)]


def _row(text: str) -> Row:
    return {
        cell["name"].strip('"').lower(): _value(cell["type"], cell["value"]) for cell in _CELL.finditer(text)
    }


def _value(kind: str, value: str) -> str | None:
    if value == _UNCHANGED:
        return None
    if value == "null":
        return NULL
    if re.sub(r"\(.*\)", "", kind) not in _PLAIN and kind.rpartition(".")[2] != "citext":
        return None
    return canonical(value[1:-1].replace("''", "'") if value.startswith("'") else value)
