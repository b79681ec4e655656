"""What a replay has to be told, since no trace tells it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cachewright.simulator.fleet import Outage


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What a trace does not tell. Times are in milliseconds.

    `hit_ms` is what a hit takes from lookup to answer, `network_ms` what an exchange with the shared store
    adds to it. `jitter` in [-1, 1] is where in their spread entries expire. `max_entries` and `max_bytes` bound
    the store, the least recently used leaving first. `dice` in (0, 1] is what every early refresh throws: 1/e is
    the mean. `details` bounds how many wrong answers are shown. With `workers` there are so many processes with
    copies of their own over one shared store, each hearing of the writes of the others after `bus_ms`; None is one
    process over one store. The shared store is away during `outages`.
    """

    hit_ms: float = 0.5
    network_ms: float = 0.0
    jitter: float = 0.0
    max_entries: int | None = None
    max_bytes: int | None = None
    dice: float = math.exp(-1)
    details: int = 20
    workers: int | None = None
    bus_ms: float = 0.0
    outages: Sequence[Outage] = ()
