"""Files of one recording as one trace: numbers made anew, what they share written once, one clock."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachewright.errors import EvidenceError
from cachewright.evidence.parts import (
    Part,
    PartFile,
    all_parts,
    parts_from,
    parts_text,
    remove,
    remove_beside,
)
from cachewright.evidence.tracefile import check_replaceable, create_trace, fill_empty, reading
from cachewright.evidence.traceschema import schema_from_json, schema_to_json, union_of

Row = tuple[Any, ...]
_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class _Source:
    """One file. `stream` is its process among all (of `streams`), `shift` (ns) makes its times those of the first."""

    path: Path
    connection: sqlite3.Connection
    meta: Mapping[str, str]
    parts: frozenset[Part]
    stream: int = 0
    shift: int = 0

    @property
    def process(self) -> frozenset[tuple[str, int]]:
        """Whose numbers these are: files of one process continue each other's."""
        return frozenset((recording, worker) for recording, worker, _ in self.parts)


def merge_traces(
    paths: Sequence[Path], out: Path, *, align_wall: bool = False, overwrite: bool = False
) -> None:
    """Write the traces in `paths`, and the parts beside them, as one trace into `out`.

    `align_wall` lines up clocks of several hosts or boots by their wall clocks. Raises `EvidenceError` where they
    were hashed with different keys, are of different applications, hold the same rows or have no clock in common.
    """
    if out.exists():
        check_replaceable(out, overwrite=overwrite)
    beside = out.with_name(f"{out.name}.merging")
    with _opened(paths) as sources:
        aligned = _aligned(sources, align_wall=align_wall)
        with closing(create_trace(beside, _meta(aligned), overwrite=True)) as connection:
            _merge(aligned, connection)
            connection.executescript("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE;")
    replaced = all_parts(out)[1:]
    remove_beside(out)
    beside.replace(out)  # from here on the parts beside it count no more
    for part in replaced:
        remove(part.path)


def gather_parts(out: Path) -> None:
    """Make one file of the recording in `out` and the parts beside it. Raises `EvidenceError`."""
    if len(all_parts(out)) > 1:
        merge_traces([out], out, overwrite=True)


@contextmanager
def merged(paths: Sequence[Path]) -> Iterator[sqlite3.Connection]:
    """The traces in `paths` as one, in a database that is gone afterwards. Raises as `merge_traces` does."""
    with _opened(paths) as sources:
        aligned = _aligned(sources, align_wall=False)
        with closing(sqlite3.connect("", isolation_level=None)) as connection:
            fill_empty(connection, _meta(aligned))
            _merge(aligned, connection)
            yield connection


@contextmanager
def _opened(paths: Iterable[Path]) -> Iterator[list[_Source]]:
    files = {part.path.resolve(): part.path for path in paths for part in _parts_of(path)}
    with ExitStack() as stack:
        sources: list[_Source] = []
        for path in files.values():
            connection = stack.enter_context(reading(path))
            connection.execute("BEGIN")
            meta = dict(connection.execute("SELECT name, value FROM meta"))
            sources.append(_Source(path, connection, meta, parts_from(meta)))
        yield sources


def _parts_of(path: Path) -> list[PartFile]:
    with reading(path):  # says what is wrong with it
        return all_parts(path)


# what may be merged


def _aligned(sources: Sequence[_Source], *, align_wall: bool) -> list[_Source]:
    """The sources with their streams and shifts. Raises `EvidenceError` where they cannot be one trace."""
    first = sources[0]
    streams: dict[frozenset[tuple[str, int]], int] = {}
    found: list[_Source] = []
    held: dict[Part, Path] = {}
    for source in sources:
        _check_same(first, source)
        for part in source.parts:
            if part in held:
                raise EvidenceError(
                    f"{source.path}: holds what {held[part]} holds too",
                    hint="Give each part of a recording once.",
                )
            held[part] = source.path
        stream = streams.setdefault(source.process, len(streams))
        shift = _shift(first, source, align_wall=align_wall)
        found.append(_Source(source.path, source.connection, source.meta, source.parts, stream, shift))
    return found


def _check_same(first: _Source, other: _Source) -> None:
    if not other.parts or not other.meta.get("key_check"):
        raise EvidenceError(
            f"{other.path}: does not say which recording it is of, so it cannot be merged",
            hint="Record again; files of one `cachewright record --workers N` are merged by themselves.",
        )
    if other.meta["key_check"] != first.meta["key_check"]:
        raise EvidenceError(
            f"{first.path} and {other.path} were hashed with different keys: equal values look different in them",
            hint="Record once with --workers N, or on every host with the same CACHEWRIGHT_RECORD_KEY.",
        )
    for name, what in (("application", "applications"), ("declared_identity", "declared identities"),
                       ("sampled", "samples")):  # fmt: skip
        if other.meta.get(name) != first.meta.get(name):
            raise EvidenceError(
                f"{first.path} and {other.path} are of different {what}:"
                f" {first.meta.get(name)} and {other.meta.get(name)}",
                hint="Record all processes with the same arguments.",
            )


def _shift(first: _Source, other: _Source, *, align_wall: bool) -> int:
    if other.meta["clock"] == first.meta["clock"]:
        return 0
    if not align_wall:
        raise EvidenceError(
            f"{first.path} and {other.path} are of different hosts, or of different boots of one:"
            " their clocks have nothing in common",
            hint="With --align-wall they are lined up by the wall clock, as exact as the hosts agree on the time.",
        )
    return round((float(other.meta["wall_at_zero"]) - float(first.meta["wall_at_zero"])) * 1e9)


def _meta(sources: Sequence[_Source]) -> dict[str, str]:
    def total(name: str) -> str:
        return str(sum(int(source.meta[name]) for source in sources))

    return {
        **sources[0].meta,
        "recorded_at": min(source.meta["recorded_at"] for source in sources),
        "schema": schema_to_json(union_of(schema_from_json(source.meta["schema"]) for source in sources)),
        "dropped": total("dropped"),
        "left_out": total("left_out"),
        "parts": parts_text(part for source in sources for part in source.parts),
    }


# rows


def _merge(sources: Sequence[_Source], into: sqlite3.Connection) -> None:
    shared = _Shared(into)
    streams = len({source.stream for source in sources})
    into.execute("BEGIN")
    for source in sources:
        _Copy(source, streams, shared, into).all()
    into.execute("COMMIT")


@dataclass(slots=True)
class _Shared:
    """What rows of all files share, by what it is: the number it has in the new trace."""

    into: sqlite3.Connection
    known: dict[tuple[str, Row], int] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, table: str, row: Row) -> int:
        """The number of a row of `table` that is `row` but for its number."""
        found = self.known.get((table, row))
        if found is None:
            found = self.known[table, row] = self.numbers[table] = self.numbers.get(table, 0) + 1
            marks = ",".join("?" * (len(row) + 1))
            self.into.execute(f"INSERT INTO {table} VALUES ({marks})", (found, *row))  # noqa: S608 - our own names
        return found


class _Copy:
    """The rows of one file on their way into the new trace."""

    def __init__(self, source: _Source, streams: int, shared: _Shared, into: sqlite3.Connection) -> None:
        self._from = source.connection
        self._into = into
        self._shift = source.shift
        self._stream = source.stream
        self._streams = streams
        self._shared = shared
        self._values = self._numbers("value")
        self._names = self._numbers("names")
        self._routes = self._numbers("route")
        self._texts = self._numbers("sql_text")

    def all(self) -> None:
        """Copy everything."""
        copies: tuple[tuple[str, str, Callable[[Row], Row]], ...] = (
            ("request", "", self._request),
            ("statement", "", self._statement),
            ("image", "ORDER BY id", self._image),
            ("txn", "", self._transaction),
            ("clear", "", lambda row: row),
        )
        for table, order, new in copies:
            self._copy(table, order, new)
        for route, member, pairs, differed in self._from.execute("SELECT * FROM volatile"):
            self._into.execute(
                "INSERT INTO volatile VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET pairs = pairs + excluded.pairs, differed = differed + excluded.differed",
                (self._routes[route] if route else 0, member, pairs, differed),
            )

    def _numbers(self, table: str) -> dict[int, int]:
        rows = self._from.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own names
        return {number: self._shared.number(table, tuple(row)) for number, *row in rows}

    def _copy(self, table: str, order: str, new: Callable[[Row], Row]) -> None:
        rows = self._from.execute(f"SELECT * FROM {table} {order}")  # noqa: S608 - our own names
        while batch := rows.fetchmany(_BATCH):
            marks = ",".join("?" * len(batch[0]))
            self._into.executemany(
                f"INSERT OR IGNORE INTO {table} VALUES ({marks})",  # noqa: S608 - our own names
                map(new, batch),
            )

    def _own(self, number: int | None) -> int | None:
        """A number of this process as one that no other process has; 0 and null stay."""
        return (number - 1) * self._streams + self._stream + 1 if number else number

    def _ids(self, text: str | None) -> str | None:
        """A list of numbers of values, or a list of such lists."""
        return None if text is None else json.dumps(self._renumbered(json.loads(text)), separators=(",", ":"))

    def _renumbered(self, numbers: list[Any]) -> list[Any]:
        return [
            self._renumbered(number)
            if isinstance(number, list)
            else None
            if number is None
            else self._values[number]
            for number in numbers
        ]

    def _request(self, row: Row) -> Row:
        (number, route, method, started, entered, answered, returned, status, size, digest, credential, expires,
         value_names, value_ids, reads, outer_reads, cache_control, flags, worker, carrier, ignored) = row  # fmt: skip
        names = self._names
        return (
            self._own(number), None if route is None else self._routes[route], method, started + self._shift,
            entered, answered, returned, status, size, digest, credential,
            None if expires is None else expires + self._shift,
            names[value_names], self._ids(value_ids), names[reads], names[outer_reads], names[cache_control],
            flags, worker, carrier, names[ignored],
        )  # fmt: skip

    def _statement(self, row: Row) -> Row:
        number, request, txn, text, started, ended, rows, many, flags, bind_names, ids, more = row
        return (
            self._own(number), self._own(request), self._own(txn), self._texts[text], started + self._shift,
            ended, rows, many, flags, None if bind_names is None else self._names[bind_names],
            self._ids(ids), self._ids(more),
        )  # fmt: skip

    def _image(self, row: Row) -> Row:
        _, txn, table, action, columns, old, new, changed = row
        names = self._names
        images = self._ids(old), self._ids(new)
        return None, self._own(txn), table, action, names[columns], *images, names[changed]

    def _transaction(self, row: Row) -> Row:
        number, request, began, ending, ended, committed = row
        return self._own(number), self._own(request), began + self._shift, ending, ended, committed
