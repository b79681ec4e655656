"""What the runtime is told of its surroundings: bounds and times that hold under attack."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Clock = Callable[[], float]
Compression = Literal["none", "snappy", "gzip"]

_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Bounds of one process. Times are in seconds, sizes in bytes.

    `read_timeout` bounds one exchange with the server, `connect_timeout` a new connection. `l1_lease` is
    how long an in-process copy may be served without asking for its tokens again. `longest_ttl` is the
    longest lifetime of an entry, None where one has no limit: it says how long tokens are kept.
    `retry_budget` bounds the time that repeated deliveries of an invalidation may wait between attempts.
    `journal_dir` is where invalidations that could not be delivered survive the process; None keeps them in
    memory only.
    """

    workers: int = 1
    read_timeout: float = 0.05
    connect_timeout: float = 0.1
    max_connections: int = 32
    l1_items: int = 10_000
    l1_bytes: int = 64 * 1024 * 1024
    l1_lease: float = 1.0
    compression: Compression = "none"
    compression_threshold: int = 1024
    longest_ttl: float | None = None
    known_tags: int = 100_000
    retry_budget: float = 0.5
    replay_interval: float = 1.0
    flight_patience: float = 30.0
    journal_dir: Path | None = None

    @property
    def token_lifetime(self) -> float:
        """How long an unused token is kept (s): twice the longest entry, 30 days where they have no end."""
        return 30 * _DAY if self.longest_ttl is None else max(1.0, 2 * self.longest_ttl)


def boottime() -> float:
    """Seconds of a clock that never goes back and does not stand still while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
