"""The curves of each target of a plan: hits over life, hits over room, and how much room it can use at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cachewright.evidence.trace import Trace
from cachewright.simulator.curves import Curve, keys_stood_for, room_of_all, size_curve, ttl_curve
from cachewright.simulator.lookups import Lookup, prepare
from cachewright.simulator.stream import Stream, stream_of
from cachewright.spec.target import Plan

#: What an entry takes beside its answer: key, tags with their tokens, bookkeeping.
ENTRY_OVERHEAD = 400
LIVES = (10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 86400.0)
_STEPS = 12


@dataclass(frozen=True, slots=True)
class Shape:
    """One target: its curves, with `life` (seconds) for the one over room.

    `whole` are the bytes of all its entries at once, `costs_ms` what all its lookups cost without a cache.
    """

    lookups: float
    entries: float
    whole: float
    mean_bytes: float
    costs_ms: float
    over_life: Curve
    over_room: Curve

    def to_json(self) -> dict[str, Any]:
        """The curves as plain data."""
        return {
            "lookups": round(self.lookups),
            "entries": round(self.entries),
            "whole_bytes": round(self.whole),
            "over_life": _curve(self.over_life),
            "over_room": _curve(self.over_room),
        }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "points": list(curve.points),
        "hits": [round(share, 4) for share in curve.hits],
        "spared": [round(share, 4) for share in curve.spared],
        "held_out": None if curve.held_out is None else [round(gap, 4) for gap in curve.held_out],
    }


def streams(trace: Trace, plan: Plan) -> dict[str, Stream]:
    """What every target was asked, by its name."""
    prepared = prepare(trace, plan)
    by_target: dict[str, list[Lookup]] = defaultdict(list)
    for lookup in prepared.lookups:
        by_target[lookup.target.name].append(lookup)
    return {name: stream_of(found, prepared.writes) for name, found in sorted(by_target.items())}


def shape_of(reads: Stream, life: float | None, lives: Sequence[float] = LIVES) -> Shape:
    """The shape of one stream whose entries live `life` seconds."""
    held = Stream(
        reads.times,
        reads.keys,
        reads.changed,
        reads.sizes + ENTRY_OVERHEAD,
        reads.keeps,
        reads.costs,
        reads.weights,
    )
    whole = room_of_all(held)
    rooms = [0.0, *np.geomspace(max(1.0, whole / 500), max(1.0, whole), _STEPS).tolist()]
    points = sorted({*lives, *(() if life is None else (life,))})
    return Shape(
        lookups=held.reads,
        entries=float(keys_stood_for(held).sum()),
        whole=whole,
        mean_bytes=float(np.average(held.sizes, weights=held.weights)) if len(held) else 0.0,
        costs_ms=float((held.weights * held.costs).sum()),
        over_life=ttl_curve(held, points),
        over_room=size_curve(held, rooms, life),
    )


def by_name(found: Mapping[str, Shape]) -> dict[str, Any]:
    """All shapes as plain data."""
    return {name: shape.to_json() for name, shape in found.items()}
