"""Whether a hit would have been right: compared with what the application really answered."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from itertools import accumulate

from cachewright.evidence.dependencies import EVERYTHING, WriteSeen
from cachewright.evidence.trace import Trace
from cachewright.simulator.lookups import Lookup, Prepared
from cachewright.simulator.outcome import LastWrite, WrongAnswer

_MILLISECOND = 1_000_000


class Verdict(Enum):
    """A hit that is right, or of which nobody can tell.

    A write was in flight, or the digests leave out different members of the answers.
    """

    RIGHT = "right"
    UNDECIDED = "undecided"


class Judge:
    """Knows all writes of a trace by the tags they changed."""

    def __init__(self, trace: Trace, prepared: Prepared) -> None:
        returned = {request.id: request.returned for request in trace.requests}
        by_tag: dict[str, list[tuple[int, int, WriteSeen]]] = defaultdict(list)
        asked = {tag for lookup in prepared.lookups for tag in (*lookup.watched, *lookup.tables)} | {
            EVERYTHING
        }
        for write in prepared.writes:
            if write.tags.isdisjoint(asked):
                continue
            over = max(write.ended, returned.get(write.request, 0) if write.request is not None else 0)
            if write.committed:
                for tag in write.tags & asked:
                    by_tag[tag].append((write.ending, over, write))
        self._comparable = trace.comparable()
        self._by_tag = {tag: _Timeline(found) for tag, found in by_tag.items()}

    def verdict(self, filled_by: Lookup, lookup: Lookup) -> Verdict | WrongAnswer:
        """Compare the answer that filled the entry with the one that the application gave to `lookup`.

        A difference is wrong only if no write to what either of them read was in flight: its commit sent
        before the last statement returned, its response returned after the request began.
        """
        ours, theirs = filled_by.request, lookup.request
        if ours.ignored != theirs.ignored or not (self._comparable(ours) and self._comparable(theirs)):
            return Verdict.UNDECIDED
        if ours.digest == theirs.digest and ours.status == theirs.status:
            return Verdict.RIGHT
        watched = filled_by.watched | lookup.watched | {EVERYTHING}
        if any(line.in_flight(theirs.started, lookup.read_until) for line in self._timelines(watched)):
            return Verdict.UNDECIDED
        tables = filled_by.tables | lookup.tables | {EVERYTHING}
        last = max(
            (write for line in self._timelines(tables) if (write := line.last_before(lookup.at)) is not None),
            key=lambda write: write.ended,
            default=None,
        )
        between = last is not None and last.ended >= filled_by.at
        return WrongAnswer(
            kind="foreign" if _is_foreign(filled_by, lookup) and not between else "stale",
            route=f"{lookup.target.method} {lookup.target.template}",
            filled_by=ours.id,
            answered_to=theirs.id,
            filled_by_credential=ours.credential,
            answered_to_credential=theirs.credential,
            age_ms=(lookup.at - filled_by.at) / _MILLISECOND,
            last_write=None if last is None else _told(last, tables, lookup.at),
        )

    def _timelines(self, tags: Iterable[str]) -> Iterable[_Timeline]:
        return (self._by_tag[tag] for tag in tags if tag in self._by_tag)


class _Timeline:
    """The committed writes that changed one tag."""

    def __init__(self, writes: list[tuple[int, int, WriteSeen]]) -> None:
        writes.sort(key=lambda item: item[0])
        self._endings = [ending for ending, _, _ in writes]
        self._over = list(accumulate((over for _, over, _ in writes), max))
        self._by_end = sorted((write for _, _, write in writes), key=lambda write: write.ended)
        self._ends = [write.ended for write in self._by_end]

    def in_flight(self, started: int, read_until: int) -> bool:
        """Whether a commit was sent before `read_until` whose request was not over at `started`."""
        before = bisect_right(self._endings, read_until)
        return before > 0 and self._over[before - 1] >= started

    def last_before(self, moment: int) -> WriteSeen | None:
        """The last write whose commit had returned at `moment`."""
        before = bisect_right(self._ends, moment)
        return self._by_end[before - 1] if before else None


def _is_foreign(filled_by: Lookup, lookup: Lookup) -> bool:
    """Whether another user's load filled the entry; where users are unknown, another credential's."""
    if filled_by.user is not None and lookup.user is not None:
        return filled_by.user != lookup.user
    return filled_by.request.credential != lookup.request.credential


def _told(write: WriteSeen, tables: Iterable[str], at: int) -> LastWrite:
    return LastWrite(
        transaction=write.transaction,
        request=write.request,
        tables=tuple(sorted(table for table in tables if table in write.tags and table != EVERYTHING)),
        milliseconds_before=(at - write.ended) / _MILLISECOND,
    )
