"""What lookups, fills and invalidations of one process share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from cachewright.runtime.codec import Codec
from cachewright.runtime.disk import Disk
from cachewright.runtime.settings import Clock, Settings, SteadyWall
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.base import Store
from cachewright.runtime.stores.memory import MemoryStore
from cachewright.runtime.tokens import LocalTokens, Mint

log = logging.getLogger("cachewright")


@dataclass(slots=True, kw_only=True, eq=False)
class Core:
    """The parts of one process. `wall` dates entries, `boottime` measures leases; both in seconds.

    `shared` says that a store is configured; `store` is None until it is started. `alone` says that there
    is none and no other worker either, so that this process's word is enough. `heard` says whether word of
    other processes' invalidations arrives (given boot time). `told` hears of the invalidations made in this
    process, in any thread, when they have been delivered.
    """

    settings: Settings
    tokens: LocalTokens
    l1: MemoryStore
    codec: Codec
    stats: Stats
    wall: Clock
    boottime: Clock
    mint: Mint
    dice: Callable[[], float]
    alone: bool
    shared: bool
    l3: Disk | None = None
    store: Store | None = None
    heard: Callable[[float], bool] = lambda _now: False
    told: Callable[[Collection[str]], None] = lambda _tags: None

    def dated(self, moment: float) -> float:
        """The wall seconds of this moment, which is now (boot time, s)."""
        wall = self.wall
        return moment + wall.ahead if isinstance(wall, SteadyWall) else wall()

    def in_memory(self, levels: Collection[str]) -> bool:
        """Whether a target of these levels is held in l1: also where there is nothing else to hold it."""
        return "l1" in levels or (self.alone and (self.l3 is None or "l3" not in levels))

    def drop(self, tags: Collection[str]) -> int:
        """Forget in this process whatever depends on `tags`; how many of them were known here."""
        known = self.tokens.touch(tags)
        self.l1.drop(tags)
        return known
