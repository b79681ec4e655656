"""Writing a trace: rows for what was seen, and a thread that writes them while the application goes on."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import sleep
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
_ROWS_AT_MOST = 50_000
_SHARED = 100_000
#: Events between two pauses of `_BREATH` seconds, so that the application gets the interpreter back soon.
_CHUNK = 32
_BREATH = 0.0005
_ROUNDS_A_PERIOD = 25


@dataclass(frozen=True, slots=True)
class Shown:
    """A parameter's value that may stand in clear."""

    name: str
    exact: Hash
    text: str


Record = (
    RequestSeen | StatementSeen | TransactionSeen | ImageSeen | StatementText | RouteSeen | SchemaSeen | Shown
)


def write_trace(path: Path | str, trace: Trace, *, overwrite: bool = False) -> None:
    """Write a whole trace. Raises `EvidenceError` as `create_trace` does."""
    meta = meta_of(trace.application, trace.recorded_at, trace.declared_identity)
    rows = Rows(create_trace(path, meta, overwrite=overwrite))
    for group in (
        trace.routes,
        trace.texts.values(),
        trace.requests,
        trace.statements,
        trace.images,
        trace.transactions.values(),
        (trace.schema,),
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
        self._dropped = 0
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
            case _:
                assert_never(record)

    def commit(self, *, dropped: int = 0) -> None:
        """Write what is held so that it survives this process. Where that raises, it is still held."""
        if dropped != self._dropped:
            self._hold("meta", "dropped", str(dropped))
            self._dropped = dropped
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

    def _value(self, value: Value | None) -> int | None:
        if value is None:
            return None
        number = self._values.get(value)
        if number is None:
            if len(self._values) >= _SHARED:
                self._values.clear()
            self._last_value += 1
            number = self._values[value] = self._last_value
            self._hold("value", number, value.kind, value.exact, value.loose)
        return number

    def _ids(self, values: Iterable[Value | None]) -> str:
        numbers = (self._value(value) for value in values)
        return f"[{','.join('null' if number is None else str(number) for number in numbers)}]"

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
        )

    def _statement(self, seen: StatementSeen) -> None:
        by_position = all(name == str(at) for at, name in enumerate(seen.binds))
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


Prepare = Callable[[Any], Iterable[Record]]


class TraceWriter:
    """A trace that is written in a thread of its own: the application hands over events and never waits.

    `prepare` turns an event into records; it runs in the thread, so whatever is slow belongs there.
    `periodic` gives records every few seconds and at the end. Events beyond `limit` waiting ones, and those
    that fail, are counted as dropped. What was handed over is on disk within half a second.
    """

    def __init__(
        self,
        path: Path | str,
        meta: Mapping[str, str],
        prepare: Prepare,
        *,
        periodic: Callable[[], Iterable[Record]] = tuple,
        overwrite: bool = False,
        limit: int = 20_000,
        pause: float = 0.2,
    ) -> None:
        """Raises `EvidenceError` where no trace can be written; `pause` is in seconds."""
        self._rows = Rows(create_trace(path, meta, overwrite=overwrite))
        self._path = path
        self._prepare = prepare
        self._periodic = periodic
        self._limit = limit
        self._pause = pause
        self._waiting: deque[Any] = deque()
        self._lock = threading.Lock()
        self._dropped = 0
        self._complained = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cachewright-trace", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many events are not in the trace."""
        return self._dropped

    def put(self, event: Any) -> None:
        """Hand over an event; from any thread, without waiting."""
        if self._closing.is_set() or len(self._waiting) >= self._limit:
            self._drop()
        else:
            self._waiting.append(event)

    def close(self) -> None:
        """Write what waits and leave one finished file."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        rounds = 0
        while not self._closing.wait(self._pause):
            self._write(gently=True)
            rounds += 1
            if rounds % _ROUNDS_A_PERIOD == 1:
                self._take(self._records_now, None)
        self._write(gently=False)
        self._take(self._records_now, None)
        self._commit()
        self._rows.close()

    def _write(self, *, gently: bool) -> None:
        """Write what waits, a chunk at a time, leaving the interpreter to the application between chunks."""
        left = len(self._waiting)
        while left > 0:
            for _ in range(min(left, _CHUNK)):
                self._take(self._prepare, self._waiting.popleft())
            left -= _CHUNK
            if self._rows.held >= _ROWS_HELD:
                self._commit()
            if gently and len(self._waiting) < self._limit // 2:
                sleep(_BREATH)
        self._commit()

    def _records_now(self, _event: Any) -> Iterable[Record]:
        return self._periodic()

    def _take(self, prepare: Prepare, event: Any) -> None:
        if self._rows.held > _ROWS_AT_MOST:  # the disk has been full for a while
            self._drop()
            return
        try:
            for record in prepare(event):
                self._rows.add(record)
        except Exception as error:  # noqa: BLE001 - whatever an application's values do, recording goes on without them
            self._drop()
            self._complain(error)

    def _commit(self) -> None:
        try:
            self._rows.commit(dropped=self._dropped)
        except Exception as error:  # noqa: BLE001 - a full disk above all; nothing of it is the application's concern
            self._complain(error)

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            _LOG.warning("%s: part of the trace is lost: %s: %s", self._path, type(error).__name__, error)
