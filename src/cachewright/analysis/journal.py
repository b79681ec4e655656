"""The writes of a trace, ready to be asked whether anything changed these tags in this interval."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from cachewright.evidence.dependencies import EVERYTHING, WriteSeen, written_by
from cachewright.evidence.trace import Trace
from cachewright.spec.tags import ColumnSets


@dataclass(frozen=True, slots=True)
class _Line:
    """The commits that changed one tag, by their start.

    `reach` is the latest end among this and all earlier.
    """

    starts: list[int]
    reach: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Journal:
    """All committed writes by tag."""

    writes: tuple[WriteSeen, ...]
    lines: dict[str, _Line]

    def changed(self, tags: Iterable[str], begin: int, end: int) -> bool:
        """Whether a commit that changed one of `tags` started by `end` and ended at `begin` or later."""
        return any(self._overlaps(tag, begin, end) for tag in (*tags, EVERYTHING))

    def _overlaps(self, tag: str, begin: int, end: int) -> bool:
        line = self.lines.get(tag)
        if line is None:
            return False
        at = bisect_right(line.starts, end)
        return at > 0 and line.reach[at - 1] >= begin


def journal(trace: Trace, column_sets: ColumnSets) -> Journal:
    """The journal of `trace` for tags of these column sets."""
    writes = tuple(write for write in written_by(trace, column_sets) if write.committed)
    by_tag: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for write in writes:
        for tag in write.tags:
            by_tag[tag].append((write.ending, write.ended))
    return Journal(writes, {tag: _line(sorted(found)) for tag, found in by_tag.items()})


def _line(intervals: list[tuple[int, int]]) -> _Line:
    reach: list[int] = []
    for _, ended in intervals:
        reach.append(max(ended, reach[-1]) if reach else ended)
    return _Line([ending for ending, _ in intervals], reach)
