"""The reads of a trace as columns: what curves and fast replays run on."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cachewright.evidence.dependencies import EVERYTHING, WriteSeen
from cachewright.simulator.lookups import Lookup
from cachewright.spec.filling import may_fill

Whole = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: The moment of the last change of what never changed.
NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Reads in the order of time; all columns are of one length.

    `times` are nanoseconds, `keys` small numbers from 0 on. `changed` is the last moment up to the read at which what
    its key depends on was changed, `NEVER` where it was not: an entry lives only if it was filled later.
    `keeps` says whether a load may be kept, `costs` are the milliseconds a hit spares, and `weights` for how
    many reads one stands.
    """

    times: Whole
    keys: Whole
    changed: Whole
    sizes: Whole
    keeps: Flags
    costs: Real
    weights: Real

    def __len__(self) -> int:
        return len(self.times)

    @property
    def reads(self) -> float:
        """How many reads of the recording these stand for."""
        return float(self.weights.sum())

    @property
    def span(self) -> int:
        """From the first read to the last (ns)."""
        return int(self.times.max() - self.times.min()) if len(self) else 0

    def part(self, chosen: Any, weight: float = 1.0) -> Stream:
        """The reads that a mask, a slice or positions choose, each standing for `weight` times as many."""
        return Stream(
            self.times[chosen],
            self.keys[chosen],
            self.changed[chosen],
            self.sizes[chosen],
            self.keeps[chosen],
            self.costs[chosen],
            self.weights[chosen] * weight,
        )


def stream(
    times: Iterable[int],
    keys: Iterable[int],
    *,
    changed: Sequence[int] | None = None,
    sizes: Sequence[int] | None = None,
    keeps: Sequence[bool] | None = None,
    costs: Sequence[float] | None = None,
    weights: Sequence[float] | None = None,
) -> Stream:
    """A stream of plain columns; what is left out has never changed, has size 1, is kept, and costs 1."""
    at = np.asarray(times, dtype=np.int64)
    number = len(at)
    return Stream(
        at,
        np.asarray(keys, dtype=np.int64),
        np.full(number, NEVER) if changed is None else np.asarray(changed, dtype=np.int64),
        np.ones(number, dtype=np.int64) if sizes is None else np.asarray(sizes, dtype=np.int64),
        np.ones(number, dtype=bool) if keeps is None else np.asarray(keeps, dtype=bool),
        np.ones(number) if costs is None else np.asarray(costs, dtype=np.float64),
        np.ones(number) if weights is None else np.asarray(weights, dtype=np.float64),
    )


def stream_of(lookups: Iterable[Lookup], writes: Iterable[WriteSeen]) -> Stream:
    """The stream of these lookups, with what the committed `writes` changed of their tags."""
    ordered = sorted(lookups, key=lambda lookup: (lookup.at, lookup.request.id))
    numbers: dict[tuple[str, ...], int] = {}
    ends: dict[str, list[int]] = defaultdict(list)
    for write in writes:
        if write.committed:
            for tag in write.tags:
                ends[tag].append(write.ended)
    for found in ends.values():
        found.sort()
    return stream(
        [lookup.at for lookup in ordered],
        [numbers.setdefault(lookup.key, len(numbers)) for lookup in ordered],
        changed=[_last_change(lookup, ends) for lookup in ordered],
        sizes=[lookup.request.size for lookup in ordered],
        keeps=[_kept(lookup) for lookup in ordered],
        costs=[max(0, lookup.request.answered - lookup.at) / 1e6 for lookup in ordered],
        weights=[lookup.weight for lookup in ordered],
    )


def _kept(lookup: Lookup) -> bool:
    target = lookup.target
    return not may_fill(target.policy, lookup.facts, lookup.entry_tags, declared=target.declared)


def _last_change(lookup: Lookup, ends: dict[str, list[int]]) -> int:
    latest = NEVER
    for tag in (*lookup.entry_tags, EVERYTHING):
        found = ends.get(tag)
        if found and (before := bisect_right(found, lookup.at)):
            latest = max(latest, found[before - 1])
    return int(latest)
