"""A trace as one SQLite file: its creation, its reading, and what is wrong with other files."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachewright.errors import EvidenceError, TraceVersionError
from cachewright.evidence.trace import (
    TRACE_VERSION,
    ImageSeen,
    ParamSeen,
    RequestSeen,
    RouteSeen,
    StatementSeen,
    StatementText,
    Trace,
    TransactionSeen,
    Value,
)
from cachewright.evidence.traceschema import (
    APPLICATION_ID,
    BACKGROUND,
    ESCAPED,
    FAILED,
    SCHEMA,
    SET_COOKIE,
    STREAMED,
    UNIT_OF_WORK,
    schema_from_json,
)

_SQLITE = b"SQLite format 3\0"
_AGAIN = "Record again: cachewright record app.main:app --out new.trace"


def create_trace(path: Path | str, meta: Mapping[str, str], *, overwrite: bool = False) -> sqlite3.Connection:
    """Make a trace of these facts, readable by its owner alone; any thread may use the connection returned.

    An existing file is replaced only if it is a trace and `overwrite` says so; else raises `EvidenceError`.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        _make_way(path, overwrite=overwrite)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        connection.executescript(
            f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={TRACE_VERSION}; BEGIN; {SCHEMA}"
        )
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.execute("COMMIT")  # in the file itself, before the first page goes to the log beside it
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
    except (OSError, sqlite3.Error) as error:
        raise EvidenceError(
            f"{path}: a trace cannot be written here: {_reason(error)}",
            hint="Choose a file in a directory that exists and can be written to.",
        ) from error
    return connection


def _make_way(path: Path, *, overwrite: bool) -> None:
    if not path.is_file() or _application_id(path) != APPLICATION_ID:
        raise EvidenceError(
            f"{path}: exists and is not a trace, so it is not overwritten", hint="Choose another file name."
        )
    if not overwrite:
        raise EvidenceError(
            f"{path}: a trace is there already",
            hint="Choose another file name, or ask for it to be overwritten.",
        )
    for name in (path, *(path.with_name(path.name + tail) for tail in ("-wal", "-shm", "-journal"))):
        name.unlink(missing_ok=True)


def _application_id(path: Path) -> int | None:
    """The mark of an SQLite file (https://sqlite.org/fileformat.html §1.3.13), None for other files."""
    header = _header(path)
    return int.from_bytes(header[68:72], "big") if header.startswith(_SQLITE) and len(header) == 100 else None


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a trace of this version. Raises `EvidenceError` for everything else."""
    _check(path)
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with closing(connection):
            yield connection
    except (sqlite3.Error, ValueError, LookupError, TypeError) as error:
        raise EvidenceError(
            f"{path}: the trace is damaged or cut short ({_reason(error)})", hint=_AGAIN
        ) from error


def _check(path: Path) -> None:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise EvidenceError(f"{path}: not a file", hint="Give the path of a recorded trace.")
        header = _header(path)
    except OSError as error:
        raise EvidenceError(
            f"{path}: cannot be read: {_reason(error)}",
            hint="Give the path of a trace. To make one: cachewright record app.main:app --out traffic.trace",
        ) from error
    if not header:
        raise EvidenceError(f"{path}: the file is empty", hint=_AGAIN)
    if not header.startswith(_SQLITE[: len(header)]):
        raise EvidenceError(
            f"{path}: not a trace, nor any SQLite file", hint="Give the path of a recorded trace."
        )
    if len(header) < 100:
        raise EvidenceError(f"{path}: the trace is cut short", hint=_AGAIN)
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise EvidenceError(
            f"{path}: an SQLite file, but not a trace", hint="Give the path of a file that `record` wrote."
        )
    version = int.from_bytes(header[60:64], "big")
    if version != TRACE_VERSION:
        newer = version > TRACE_VERSION
        raise TraceVersionError(
            f"{path}: a trace of version {version}; this cachewright reads version {TRACE_VERSION}",
            hint="Read it with a newer cachewright." if newer else _AGAIN,
        )
    page, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    if (
        facts.st_size < (65536 if page == 1 else page) * pages
        and not path.with_name(path.name + "-wal").exists()
    ):
        raise EvidenceError(f"{path}: the trace is cut short", hint=_AGAIN)


def read_trace(path: Path | str) -> Trace:
    """The whole trace in a file, also while it is being written, or after the recording process was killed.

    A statement of a request that never ended has `request=None`. Raises `EvidenceError` for a file that is
    missing, damaged or no trace, `TraceVersionError` for a trace of another version.
    """
    path = Path(path)
    with _reading(path) as connection:
        connection.execute("BEGIN")
        return _Reader(connection).trace()


@dataclass(slots=True)
class _Reader:
    """The rows of one file on their way to being values; what rows share is one object."""

    connection: sqlite3.Connection
    values: dict[int, Value] = field(default_factory=dict)
    names: dict[int, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[int, frozenset[str]] = field(default_factory=dict)
    mappings: dict[tuple[int | None, str], dict[str, Value]] = field(default_factory=dict)

    def trace(self) -> Trace:
        meta = dict(self._rows("SELECT name, value FROM meta"))
        self.values = {
            row[0]: Value(*row[1:]) for row in self._rows("SELECT id, kind, exact, loose FROM value")
        }
        self.names = {
            number: tuple(json.loads(text)) for number, text in self._rows("SELECT id, list FROM names")
        }
        self.sets = {number: frozenset(names) for number, names in self.names.items()}
        clear: dict[str, dict[str, str]] = {}
        for name, exact, text in self._rows("SELECT name, exact, text FROM clear"):
            clear.setdefault(name, {})[exact] = text
        requests = tuple(self._requests())
        known = {request.id for request in requests}
        return Trace(
            application=meta["application"],
            recorded_at=meta["recorded_at"],
            declared_identity=json.loads(meta["declared_identity"]),
            routes=tuple(self._routes()),
            requests=requests,
            texts={
                row[0]: StatementText(*row)
                for row in self._rows("SELECT id, sql, dialect, paramstyle FROM sql_text")
            },
            statements=tuple(self._statements(known)),
            images=tuple(self._images()),
            transactions={transaction.id: transaction for transaction in self._transactions(known)},
            schema=schema_from_json(meta["schema"]),
            clear=clear,
            dropped=int(meta["dropped"]),
        )

    def _rows(self, query: str) -> Iterator[Any]:
        return self.connection.execute(query)

    def _mapping(self, names: int | None, ids: str) -> dict[str, Value]:
        found = self.mappings.get((names, ids))
        if found is None:
            numbers = json.loads(ids)
            keys = [str(at) for at in range(len(numbers))] if names is None else self.names[names]
            found = {
                key: self.values[number]
                for key, number in zip(keys, numbers, strict=True)
                if number is not None
            }
            self.mappings[names, ids] = found
        return found

    def _routes(self) -> Iterator[RouteSeen]:
        for number, method, template, endpoint, params, credentials in self._rows(
            "SELECT id, method, template, endpoint, params, credentials FROM route ORDER BY id"
        ):
            declared = tuple(ParamSeen(*param) for param in json.loads(params))
            yield RouteSeen(number, method, template, endpoint, declared, tuple(json.loads(credentials)))

    def _requests(self) -> Iterator[RequestSeen]:
        for row in self._rows(
            "SELECT id, route, method, started, entered, answered, returned, status, size, digest,"
            " credential, credential_expires, value_names, value_ids, reads, outer_reads, cache_control,"
            " flags, worker FROM request ORDER BY started, id"
        ):
            started, flags = row[3], row[17]
            yield RequestSeen(
                id=row[0],
                route=row[1],
                method=row[2],
                started=started,
                entered=0 if row[4] is None else started + row[4],
                answered=started + row[5],
                returned=started + row[6],
                status=row[7],
                size=row[8],
                digest=row[9],
                credential=row[10],
                credential_expires=row[11],
                values=self._mapping(row[12], row[13]),
                reads=self.sets[row[14]],
                outer_reads=self.sets[row[15]],
                cache_control=self.sets[row[16]],
                set_cookie=bool(flags & SET_COOKIE),
                streamed=bool(flags & STREAMED),
                background=bool(flags & BACKGROUND),
                escaped=bool(flags & ESCAPED),
                worker=row[18],
            )

    def _statements(self, known: set[int]) -> Iterator[StatementSeen]:
        for number, request, transaction, text, started, took, rows, many, flags, names, ids in self._rows(
            "SELECT id, request, txn, sql_text, started, ended, rows, many, flags, bind_names, bind_ids"
            " FROM statement ORDER BY started, id"
        ):
            yield StatementSeen(
                id=number,
                request=request if request in known else None,
                transaction=transaction,
                text=text,
                started=started,
                ended=started + took,
                rows=rows,
                many=many,
                unit_of_work=bool(flags & UNIT_OF_WORK),
                failed=bool(flags & FAILED),
                binds=self._mapping(names, ids),
            )

    def _images(self) -> Iterator[ImageSeen]:
        for transaction, table, action, columns, old, new, changed in self._rows(
            "SELECT txn, table_name, action, columns, old, new, changed FROM image ORDER BY id"
        ):
            yield ImageSeen(
                transaction,
                table,
                action,
                None if old is None else self._mapping(columns, old),
                None if new is None else self._mapping(columns, new),
                self.sets[changed],
            )

    def _transactions(self, known: set[int]) -> Iterator[TransactionSeen]:
        for number, request, began, ending, ended, committed in self._rows(
            "SELECT id, request, began, ending, ended, committed FROM txn ORDER BY id"
        ):
            owner = request if request in known else None
            yield TransactionSeen(number, owner, began, began + ending, began + ended, bool(committed))
