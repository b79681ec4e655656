"""From counters that only grow to how things were in the last minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cachewright.runtime.alarms.rules import Reading

SPAN = 60.0
#: What a server says that has no room: it is full, whatever this process holds itself.
_FULL = "OOM"


@dataclass(frozen=True, slots=True)
class _Totals:
    lookups: int = 0
    hits: int = 0
    operations: int = 0
    seconds: float = 0.0
    denied: int = 0
    wrong: int = 0
    full: int = 0


class Window:
    """The counters of the last `span` seconds, as samples of them are put in."""

    def __init__(self, span: float = SPAN) -> None:
        self._span = span
        self._samples: deque[tuple[float, _Totals]] = deque()

    def read(self, counted: Mapping[str, Any], now: Reading) -> Reading:
        """`now` with what `counted` (a snapshot of `Stats`) says of the time until then."""
        totals = _totals(counted)
        if not self._samples:
            self._samples.append((now.at, _Totals()))
        while len(self._samples) > 1 and now.at - self._samples[1][0] >= self._span:
            self._samples.popleft()
        before = self._samples[0][1]
        self._samples.append((now.at, totals))
        lookups, operations = totals.lookups - before.lookups, totals.operations - before.operations
        full = totals.full > before.full
        return replace(
            now,
            memory_share=1.0 if full else now.memory_share,
            lookups=totals.lookups,
            recent=lookups,
            hit_rate=(totals.hits - before.hits) / lookups if lookups else None,
            operation_ms=(totals.seconds - before.seconds) * 1000 / operations if operations else None,
            denied=totals.denied - before.denied,
            wrong=totals.wrong - before.wrong,
        )


def _totals(counted: Mapping[str, Any]) -> _Totals:
    targets, operations = counted["targets"].values(), counted["operations"].values()
    timed = [*operations, *(one["hit_seconds"] for one in targets)]
    return _Totals(
        lookups=sum(one["lookups"] for one in targets),
        hits=sum(sum(one["hits"].values()) for one in targets),
        operations=sum(one["count"] for one in timed),
        seconds=sum(one["seconds"] for one in timed),
        denied=counted["denied"],
        wrong=counted["wrong"],
        full=counted["refusals"].get(_FULL, 0),
    )
