"""What the runtime is told of its surroundings: bounds and times that hold under attack."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

Clock = Callable[[], float]
Compression = Literal["none", "snappy", "gzip"]
Sealing = Literal["checksum", "hmac", "aead"]
#: Who leaves first: least recently used, least frequently used, first in, soonest to expire.
Eviction = Literal["lru", "lfu", "fifo", "ttl"]
Colocate = Literal["tenant", "entity", "none"]

_DAY = 86_400.0
#: Tags whose tokens are remembered, at least, and for each entry that memory has room for: its own, and those of some
#: that left.
_TAGS = 100_000
_TAGS_AN_ENTRY = 8


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many items, how many bytes together, and which of them leaves first where there is no room."""

    items: int
    bytes: int
    policy: Eviction = "lru"


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key that entries are sealed with: 32 to 64 random bytes, under an id that stands in the entries."""

    id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Bounds of one process. Times are in seconds, sizes in bytes.

    `strict` has an invalidation wait until every process has dropped its copies, or their leases are over.
    `crash_safe` has writers hold their tags in the store from before a commit, for `commit_hold` at most, and readers
    look for such holds.
    `read_timeout` bounds one exchange with the server, `connect_timeout` a new connection. `l1_lease` is
    how long an in-process copy may be served without asking for its tokens again. `longest_ttl` is the
    longest lifetime of an entry, None where one has no limit: it says how long tokens are kept.
    `retry_budget` bounds the time that repeated deliveries of an invalidation may wait between attempts.
    `journal_dir` is where invalidations that could not be delivered survive the process; None keeps them in
    memory only. `known_tags` bounds what is remembered of tokens (see `remembered_tags`). `entry_tags`,
    `value_bytes` and `distinct_keys` (of one principal in a minute) bound what
    code may store by the public API: what is over them is loaded and not stored. `fleet_lease` is how long a
    process that died while it loaded for the fleet is waited for, `refreshes_at_once` how many entries are
    loaded anew in the background.
    `colocate` says what shares one slot of a cluster: what belongs to one user (`entity`), to one tenant, or
    nothing; every process of a namespace says the same. `topology_interval` is how often the servers are asked
    who is primary of what.
    """

    workers: int = 1
    strict: bool = False
    crash_safe: bool = False
    commit_hold: float = 30.0
    read_timeout: float = 0.05
    connect_timeout: float = 0.1
    max_connections: int = 32
    l1_items: int = 10_000
    l1_bytes: int = 64 * 1024 * 1024
    l1_eviction: Eviction = "lru"
    l1_targets: Mapping[str, Bounds] = field(default_factory=dict)
    l1_lease: float = 1.0
    sweep_interval: float = 60.0
    l2_value_bytes: int | None = None
    l3_dir: Path | None = None
    l3_bytes: int = 1024 * 1024 * 1024
    l3_files: int = 50_000
    l3_timeout: float = 0.5
    l3_sync: bool = False
    compression: Compression = "none"
    compression_threshold: int = 1024
    longest_ttl: float | None = None
    known_tags: int | None = None
    retry_budget: float = 0.5
    replay_interval: float = 1.0
    flight_patience: float = 30.0
    fleet_lease: float = 3.0
    refreshes_at_once: int = 4
    journal_dir: Path | None = None
    sealing: Sealing = "checksum"
    keys: tuple[SealingKey, ...] = ()
    entry_tags: int = 64
    value_bytes: int = 8 * 1024 * 1024
    distinct_keys: int = 10_000
    colocate: Colocate = "entity"
    topology_interval: float = 1.0

    @property
    def remembered_tags(self) -> int:
        """Of how many tags this process remembers tokens: of all that the entries in memory hold, as a rule."""
        return max(_TAGS, _TAGS_AN_ENTRY * self.l1_items) if self.known_tags is None else self.known_tags

    @property
    def token_lifetime(self) -> float:
        """How long an unused token is kept (s): twice the longest entry, 30 days where they have no end."""
        return 30 * _DAY if self.longest_ttl is None else max(1.0, 2 * self.longest_ttl)


#: Seconds of a clock that never goes back and does not stand still while the machine sleeps.
boottime: Clock = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


class SteadyWall:
    """Wall seconds as they were when this was made, and as `clock` has gone on since: nobody sets it.

    What lives for a second by it lives for a second, whatever becomes of the machine's date meanwhile. It is always
    `ahead` of `clock` by as much (s).
    """

    __slots__ = ("_clock", "ahead")

    def __init__(self, wall: Clock = time.time, clock: Clock = boottime) -> None:
        self._clock = clock
        self.ahead = wall() - clock()

    def __call__(self) -> float:
        """Now."""
        return self._clock() + self.ahead
