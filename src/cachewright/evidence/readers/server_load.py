"""What a PostgreSQL server counted: the rows of `pg_stat_statements`, of the server itself or exported as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cachewright.errors import EvidenceError, SurroundingsError
from cachewright.evidence.readers.files import document

#: Asked of the server; `total_time` is what versions before 13 call it.
QUERY = (
    "SELECT s.query, s.calls, s.total_exec_time FROM pg_stat_statements AS s"
    " JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = current_database()"
)
_TIMES = ("total_exec_time", "total_time")
_HINT = (
    "Export it with: COPY (SELECT query, calls, total_exec_time FROM pg_stat_statements) TO STDOUT CSV HEADER"
)


@dataclass(frozen=True, slots=True)
class Counted:
    """One statement of the server: how often it ran, and the milliseconds of all that."""

    sql: str
    calls: int
    milliseconds: float


def counts_of(source: str) -> tuple[Counted, ...]:
    """The rows of the file, or of the database, that `source` names. Raises `EvidenceError`, `SurroundingsError`."""
    return counted_by(source) if "://" in source else counted_in(Path(source))


def counted_in(path: Path) -> tuple[Counted, ...]:
    """The rows of a CSV file with a header. Raises `EvidenceError`."""
    text = document(path).decode("utf-8", "replace")
    csv.field_size_limit(len(text) + 1)
    try:
        return tuple(_counted(csv.DictReader(io.StringIO(text), strict=True)))
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise EvidenceError(f"{path}: no pg_stat_statements in CSV", hint=_HINT) from error


def counted_by(url: str) -> tuple[Counted, ...]:
    """The rows that the server behind a URL of SQLAlchemy holds. Raises `SurroundingsError`."""
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(make_url(url))
        try:
            with engine.connect() as connection:
                found = [Counted(*row) for row in connection.execute(text(QUERY))]
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise SurroundingsError(
            f"pg_stat_statements cannot be read: {type(error).__name__}",
            hint="CREATE EXTENSION pg_stat_statements, and a role with pg_read_all_stats; or give a CSV file",
        ) from None  # the message of a driver may hold the password
    return tuple(found)


def _counted(rows: csv.DictReader[str]) -> Iterator[Counted]:
    time = next((name for name in _TIMES if name in (rows.fieldnames or ())), "")
    if not {"query", "calls", time} <= {*(rows.fieldnames or ())}:
        raise KeyError(time)
    for row in rows:
        yield Counted(row["query"], int(row["calls"]), float(row[time]))
