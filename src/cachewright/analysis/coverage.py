"""How well the writes of a recording were seen, and which of them were not seen by anybody.

A write that no hook saw shows itself by what it does: an answer changes, and no write that was seen explains it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cachewright.analysis.journal import journal
from cachewright.analysis.study import Profile, profiles, study
from cachewright.evidence.dependencies import EVERYTHING, UNKNOWN_TABLE, written_by
from cachewright.evidence.trace import Trace
from cachewright.spec.tags import bulk_tag

_MARKS = frozenset("(#*")


@dataclass(frozen=True, slots=True)
class TableWrites:
    """The committed transactions that wrote one table.

    Of `by_row` it is known which rows they changed, of `as_a_whole` only that they changed some. `outside` of any
    request ran those of jobs, scripts and threads.
    """

    table: str
    by_row: int
    as_a_whole: int
    outside: int


@dataclass(frozen=True, slots=True)
class UnseenWrites:
    """Changes of a route's answers that no write explains.

    One of `tables`, which they were read from, was written by something that no hook saw; `suspects` are tables
    whose writes lie beside all of these changes and beside nothing else, as those of a trigger's table do.
    """

    route: str
    changes: int
    tables: tuple[str, ...]
    suspects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a recording shows of its writes; `unknown` counts those transactions that may have written anything."""

    tables: tuple[TableWrites, ...]
    unseen: tuple[UnseenWrites, ...]
    unknown: int
    raw: int
    dropped: int

    @property
    def complete(self) -> bool:
        """Whether nothing speaks for a write that was not seen."""
        return not (self.unseen or self.dropped)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "tables": [
                {
                    "table": seen.table,
                    "by_row": seen.by_row,
                    "as_a_whole": seen.as_a_whole,
                    "outside_requests": seen.outside,
                }
                for seen in self.tables
            ],
            "unseen": [
                {
                    "route": missed.route,
                    "changes": missed.changes,
                    "tables": list(missed.tables),
                    "suspects": list(missed.suspects),
                }
                for missed in self.unseen
            ],
            "unknown_writes": self.unknown,
            "raw_connections": self.raw,
            "dropped_events": self.dropped,
        }


def coverage(trace: Trace) -> Coverage:
    """How the writes of `trace` were seen, table by table, and which routes tell of others."""
    found = study(trace)
    judged = profiles(found, {standing.route.subject for standing in found.standings})
    committed = [write for write in written_by(trace, {}) if write.committed]
    return Coverage(
        tables=tuple(_tables(trace)),
        unseen=tuple(filter(None, map(_unseen, judged))),
        unknown=sum(EVERYTHING in write.tags for write in committed),
        raw=sum(request.escaped for request in trace.requests),
        dropped=trace.dropped,
    )


def _tables(trace: Trace) -> Iterator[TableWrites]:
    writes = journal(trace, {}).writes
    for table in sorted({tag for write in writes for tag in write.tags if not _MARKS & set(tag)}):
        own = [write for write in writes if table in write.tags]
        whole = sum(bulk_tag(table) in write.tags for write in own)
        outside = sum(write.request is None for write in own)
        yield TableWrites(table, len(own) - whole, whole, outside)


def _unseen(profile: Profile) -> UnseenWrites | None:
    """None where all changes are explained, or by what no write is: an answer without SQL, or that is not keyed."""
    tables = {spot.spot.table for spot in profile.standing.spots} - {UNKNOWN_TABLE}
    if not profile.changes.unexplained or not tables or profile.standing.reads.unkeyable:
        return None
    changes = len(profile.changes.unexplained)
    return UnseenWrites(profile.route.subject, changes, tuple(sorted(tables)), profile.hidden)
