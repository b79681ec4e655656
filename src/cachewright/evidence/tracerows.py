"""The rows of a trace: what was seen, as the tables of its file hold it."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from cachewright.evidence.trace import (
    Hash,
    ImageSeen,
    RequestSeen,
    RouteSeen,
    SchemaSeen,
    StatementSeen,
    StatementText,
    Trace,
    TransactionSeen,
    Value,
    VolatileSeen,
)
from cachewright.evidence.tracefile import create_trace
from cachewright.evidence.traceschema import (
    BACKGROUND,
    ESCAPED,
    FAILED,
    SET_COOKIE,
    STREAMED,
    UNIT_OF_WORK,
    schema_to_json,
)

_LOG = logging.getLogger(__name__)
_ROWS_HELD = 2_000
_SHARED = 100_000
#: The names of binds that go by position.
_POSITIONS = tuple(map(str, range(1_000)))


@dataclass(frozen=True, slots=True)
class Shown:
    """A parameter's value that may stand in clear."""

    name: str
    exact: Hash
    text: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A number that `meta` tells under this name, and that grows."""

    name: str
    number: int


Record = (
    RequestSeen
    | StatementSeen
    | TransactionSeen
    | ImageSeen
    | StatementText
    | RouteSeen
    | SchemaSeen
    | Shown
    | VolatileSeen
    | Counted
)


def write_trace(path: Path | str, trace: Trace, *, overwrite: bool = False) -> None:
    """Write a whole trace. Raises `EvidenceError` as `create_trace` does."""
    meta = meta_of(trace.application, trace.recorded_at, trace.declared_identity) | {
        "sampled": repr(trace.sampled),
        "left_out": str(trace.left_out),
    }
    if trace.source:
        meta |= {"unknown": json.dumps(sorted(trace.unknown)), "source": _writable(trace.source)}
    rows = Rows(create_trace(path, meta, overwrite=overwrite))
    for group in (
        trace.routes,
        trace.texts.values(),
        trace.requests,
        trace.statements,
        trace.images,
        trace.transactions.values(),
        (trace.schema,),
        trace.volatile,
        (Shown(name, exact, text) for name, texts in trace.clear.items() for exact, text in texts.items()),
    ):
        for record in group:
            rows.add(record)
            if rows.held >= _ROWS_HELD:
                rows.commit()
    rows.commit(dropped=trace.dropped)
    rows.close()


def meta_of(application: str, recorded_at: str, declared_identity: Mapping[str, str]) -> dict[str, str]:
    """The facts with which a trace begins."""
    return {
        "application": _writable(application),
        "recorded_at": recorded_at,
        "declared_identity": json.dumps(dict(declared_identity)),
        "schema": schema_to_json(SchemaSeen()),
        "dropped": "0",
        "sampled": "1.0",
        "left_out": "0",
    }


def _writable(text: str) -> str:
    """`text` without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Rows:
    """The rows of one trace, held until `commit`. What many rows share is written once.

    What is shared is remembered within bounds; beyond them it is written again under another number.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._held: dict[str, list[tuple[Any, ...]]] = {}
        self._counts: dict[str, int] = {}
        self.held = 0
        self._values: dict[Value, int] = {}
        self._names: dict[tuple[str, ...], int] = {}
        self._last_value = 0
        self._last_names = 0

    def add(self, record: Record) -> None:
        """Hold the rows of one record."""
        match record:
            case StatementSeen():
                self._statement(record)
            case TransactionSeen():
                ending, ended = record.ending - record.began, record.ended - record.began
                self._hold("txn", record.id, record.request, record.began, ending, ended, record.committed)
            case RequestSeen():
                self._request(record)
            case ImageSeen():
                self._image(record)
            case _:
                self._shared_row(record)

    def _shared_row(
        self, record: StatementText | RouteSeen | SchemaSeen | Shown | VolatileSeen | Counted
    ) -> None:
        match record:
            case StatementText():
                self._hold("sql_text", record.id, _writable(record.sql), record.dialect, record.paramstyle)
            case RouteSeen():
                params = [[param.name, param.where, param.type, param.required] for param in record.params]
                declared = json.dumps(params), json.dumps(record.credentials)
                self._hold("route", record.id, record.method, record.template, record.endpoint, *declared)
            case SchemaSeen():
                self._hold("meta", "schema", schema_to_json(record))
            case Shown():
                self._hold("clear", record.name, record.exact, record.text)
            case VolatileSeen():
                self._hold("volatile", record.route or 0, record.member, record.pairs, record.differed)
            case Counted():
                self.count(record.name, record.number)
            case _:
                assert_never(record)

    @property
    def size(self) -> int:
        """Bytes of what was committed."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (page,) = self._connection.execute("PRAGMA page_size").fetchone()
        return int(pages) * int(page)

    def count(self, name: str, number: int) -> None:
        """Hold a number that `meta` tells, where it is another than before."""
        if self._counts.get(name, 0) != number:
            self._counts[name] = number
            self._hold("meta", name, str(number))

    def commit(self, *, dropped: int = 0) -> None:
        """Write what is held so that it survives this process. Where that raises, it is still held."""
        self.count("dropped", dropped)
        if not self.held:
            return
        try:
            self._connection.execute("BEGIN")
            for table, rows in self._held.items():
                marks = ",".join("?" * len(rows[0]))
                self._connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own names
            self._connection.execute("COMMIT")
        except Exception:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._held.clear()
        self.held = 0

    def close(self) -> None:
        """Leave one file, without a log beside it unless someone is reading."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            _LOG.info("the log beside the trace stays: %s", error)
        finally:
            self._connection.close()

    def _hold(self, table: str, *row: Any) -> None:
        self._held.setdefault(table, []).append(row)
        self.held += 1

    def _value(self, value: Value) -> int:
        number = self._values.get(value)
        if number is None:
            if len(self._values) >= _SHARED:
                self._values.clear()
            self._last_value += 1
            number = self._values[value] = self._last_value
            self._hold("value", number, value.kind, value.exact, value.loose)
        return number

    def _ids(self, values: Iterable[Value | None]) -> str:
        return f"[{','.join(['null' if value is None else str(self._value(value)) for value in values])}]"

    def _name_list(self, names: Iterable[str]) -> int:
        listed = tuple(names)
        number = self._names.get(listed)
        if number is None:
            if len(self._names) >= _SHARED:
                self._names.clear()
            self._last_names += 1
            number = self._names[listed] = self._last_names
            self._hold("names", number, json.dumps(listed))
        return number

    def _request(self, seen: RequestSeen) -> None:
        flags = (
            SET_COOKIE * seen.set_cookie
            | STREAMED * seen.streamed
            | BACKGROUND * seen.background
            | ESCAPED * seen.escaped
        )
        self._hold(
            "request",
            seen.id,
            seen.route,
            seen.method,
            seen.started,
            seen.entered - seen.started if seen.entered else None,
            seen.answered - seen.started,
            seen.returned - seen.started,
            seen.status,
            seen.size,
            seen.digest,
            seen.credential,
            seen.credential_expires,
            self._name_list(seen.values),
            self._ids(seen.values.values()),
            self._name_list(sorted(seen.reads)),
            self._name_list(sorted(seen.outer_reads)),
            self._name_list(sorted(seen.cache_control)),
            flags,
            seen.worker,
            seen.carrier,
            self._name_list(sorted(seen.ignored)),
        )

    def _statement(self, seen: StatementSeen) -> None:
        by_position = all(map(str.__eq__, seen.binds, _POSITIONS)) and len(seen.binds) <= len(_POSITIONS)
        more = ",".join(self._ids(binds.get(name) for name in seen.binds) for binds in seen.more)
        self._hold(
            "statement",
            seen.id,
            seen.request,
            seen.transaction,
            seen.text,
            seen.started,
            seen.ended - seen.started,
            seen.rows,
            seen.many,
            UNIT_OF_WORK * seen.unit_of_work | FAILED * seen.failed,
            None if by_position else self._name_list(seen.binds),
            self._ids(seen.binds.values()),
            f"[{more}]" if more else None,
        )

    def _image(self, seen: ImageSeen) -> None:
        columns = tuple(dict.fromkeys((*(seen.old or ()), *(seen.new or ()))))
        sides = (
            None if side is None else self._ids(side.get(column) for column in columns)
            for side in (seen.old, seen.new)
        )
        changed = self._name_list(sorted(seen.changed))
        self._hold(
            "image",
            None,
            seen.transaction,
            seen.table,
            seen.action,
            self._name_list(columns),
            *sides,
            changed,
        )
