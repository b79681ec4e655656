"""What there is to spend, and how room for entries is shared out: most time spared per byte comes first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from cachewright.simulator.shapes import Shape

#: Hits (share of lookups) that are given up for less room.
SPARED_ROOM = 0.002


@dataclass(frozen=True, slots=True)
class Budget:
    """What the operator allows. `memory` are bytes for entries in each process, None for whatever pays.

    Without `redis` entries live in the process that loaded them. `stale` is the share of hits that may be out of
    date where no write that was seen tells when a target changes.
    """

    memory: int | None = None
    redis: bool = True
    workers: int = 1
    stale: float = 0.0

    @property
    def alone(self) -> str | None:
        """Why nothing at all may be kept: workers that cannot tell each other what changed."""
        if self.redis or self.workers == 1:
            return None
        return f"{self.workers} workers without Redis cannot tell each other what changed; one worker, or Redis, can."


def rooms(found: Mapping[str, Shape], memory: int | None) -> dict[str, int]:
    """Bytes for each target.

    What brings nearly all of its hits, where `memory` allows; else steps of its curve in the order of
    milliseconds spared per byte, until nothing is left.
    """
    wanted = {name: _bytes(shape.over_room.enough(SPARED_ROOM), shape) for name, shape in found.items()}
    if memory is None or sum(wanted.values()) <= memory:
        return wanted
    given, left = dict.fromkeys(found, 0), float(memory)
    steps = {name: _hull(shape) for name, shape in found.items()}
    waiting = [(-worth[0][1] / worth[0][0], name, 0) for name, worth in sorted(steps.items()) if worth]
    heapq.heapify(waiting)
    while waiting:
        _, name, number = heapq.heappop(waiting)
        more, _ = steps[name][number]
        if more > left:
            given[name] += int(left)
            break
        given[name] += int(more)
        left -= more
        if number + 1 < len(steps[name]):
            size, worth = steps[name][number + 1]
            heapq.heappush(waiting, (-worth / size, name, number + 1))
    return given


def _bytes(room: float, shape: Shape) -> int:
    return int(max(room, shape.mean_bytes))


def _hull(shape: Shape) -> list[tuple[float, float]]:
    """Steps of room with the milliseconds each spares, each worth less a byte than the one before."""
    curve = shape.over_room
    corners: list[tuple[float, float]] = []
    for room, spared in zip(curve.points, curve.spared, strict=True):
        point = (room, spared * shape.costs_ms)
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-1], point):
            corners.pop()
        corners.append(point)
    return [
        (after[0] - before[0], after[1] - before[1])
        for before, after in pairwise(corners)
        if after[1] > before[1]
    ]


def _slope(before: tuple[float, float], after: tuple[float, float]) -> float:
    return (after[1] - before[1]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
