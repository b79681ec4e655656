"""A trace as one SQLite file: its creation, its reading, and what is wrong with other files."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from cachewright.errors import EvidenceError, TraceVersionError
from cachewright.evidence.parts import all_parts, remove
from cachewright.evidence.trace import (
    TRACE_VERSION,
)
from cachewright.evidence.traceschema import (
    APPLICATION_ID,
    SCHEMA,
)

_SQLITE = b"SQLite format 3\0"
_AGAIN = "Record again: cachewright record app.main:app --out new.trace"


def create_trace(path: Path | str, meta: Mapping[str, str], *, overwrite: bool = False) -> sqlite3.Connection:
    """Make a trace of these facts, readable by its owner alone; any thread may use the connection returned.

    An existing file is replaced, with the parts of its recording beside it, only if it is a trace and
    `overwrite` says so; else raises `EvidenceError`.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        check_replaceable(path, overwrite=overwrite)
        _remove_recording(path)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        fill_empty(connection, meta)  # in the file itself, before the first page goes to the log beside it
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
    except (OSError, sqlite3.Error) as error:
        raise EvidenceError(
            f"{path}: a trace cannot be written here: {_reason(error)}",
            hint="Choose a file in a directory that exists and can be written to.",
        ) from error
    return connection


def fill_empty(connection: sqlite3.Connection, meta: Mapping[str, str]) -> None:
    """Make an empty database a trace of these facts."""
    connection.executescript(
        f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={TRACE_VERSION}; BEGIN; {SCHEMA}"
    )
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    connection.execute("COMMIT")


def check_replaceable(path: Path, *, overwrite: bool) -> None:
    """Raises `EvidenceError` where what is at `path` is no trace, or `overwrite` does not say to replace it."""
    if not path.is_file() or _application_id(path) != APPLICATION_ID:
        raise EvidenceError(
            f"{path}: exists and is not a trace, so it is not overwritten", hint="Choose another file name."
        )
    if not overwrite:
        raise EvidenceError(
            f"{path}: a trace is there already",
            hint="Choose another file name, or overwrite it (--overwrite).",
        )


def _remove_recording(path: Path) -> None:
    for part in reversed(all_parts(path)):
        remove(part.path)


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
def reading(path: Path) -> Iterator[sqlite3.Connection]:
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
