"""Reading a trace: from rows to values, over all parts of its recording."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachewright.evidence.parts import all_parts, files_beside
from cachewright.evidence.trace import (
    ImageSeen,
    ParamSeen,
    RequestSeen,
    RouteSeen,
    StatementSeen,
    StatementText,
    Trace,
    TransactionSeen,
    Value,
    VolatileSeen,
)
from cachewright.evidence.tracefile import reading
from cachewright.evidence.tracemerge import merged
from cachewright.evidence.traceschema import (
    BACKGROUND,
    ESCAPED,
    FAILED,
    SET_COOKIE,
    STREAMED,
    UNIT_OF_WORK,
    schema_from_json,
)


def read_trace(path: Path | str, *, most: int | None = None) -> Trace:
    """The whole trace in a file, also while it is being written, or after the recording process was killed.

    Of more than `most` requests some are left out, and the others stand for them (see `thinning`).

    The parts of its recording that stand beside it belong to it. A statement of a request that never ended has
    `request=None`. Raises `EvidenceError` for a file that is
    missing, damaged or no trace, `TraceVersionError` for a trace of another version.
    """
    path = Path(path)
    with reading(path) as connection:
        connection.execute("BEGIN")
        if not files_beside(path) or len(parts := all_parts(path)) == 1:
            return _read(connection, most)
    with merged([part.path for part in parts]) as connection:
        return _read(connection, most)


def _read(connection: sqlite3.Connection, most: int | None) -> Trace:
    if most is None:
        return _Reader(connection, {}).trace()
    from cachewright.evidence.thinning import thin

    return _Reader(connection, thin(connection, most)).trace()


@dataclass(slots=True)
class _Reader:
    """The rows of one file on their way to being values; what rows share is one object."""

    connection: sqlite3.Connection
    weights: Mapping[int, float]
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
            volatile=tuple(self._volatile()),
            sampled=float(meta["sampled"]),
            left_out=int(meta["left_out"]),
            unknown=frozenset(json.loads(meta.get("unknown", "[]"))),
            source=meta.get("source", ""),
            weights=self.weights,
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
            " flags, worker, carrier, ignored FROM request ORDER BY started, id"
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
                carrier=row[19],
                ignored=self.sets[row[20]],
            )

    def _statements(self, known: set[int]) -> Iterator[StatementSeen]:
        for (
            number,
            request,
            transaction,
            text,
            started,
            took,
            rows,
            many,
            flags,
            names,
            ids,
            more,
        ) in self._rows(
            "SELECT id, request, txn, sql_text, started, ended, rows, many, flags, bind_names, bind_ids, more_ids"
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
                more=() if more is None else tuple(self._more(names, more)),
            )

    def _more(self, names: int | None, more: str) -> Iterator[dict[str, Value]]:
        for ids in json.loads(more):
            yield self._mapping(names, json.dumps(ids, separators=(",", ":")))

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

    def _volatile(self) -> Iterator[VolatileSeen]:
        for route, member, pairs, differed in self._rows(
            "SELECT route, member, pairs, differed FROM volatile"
        ):
            yield VolatileSeen(route or None, member, pairs, differed)

    def _transactions(self, known: set[int]) -> Iterator[TransactionSeen]:
        for number, request, began, ending, ended, committed in self._rows(
            "SELECT id, request, began, ending, ended, committed FROM txn ORDER BY id"
        ):
            owner = request if request in known else None
            yield TransactionSeen(number, owner, began, began + ending, began + ended, bool(committed))
