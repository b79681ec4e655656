"""What happened, counted: by target and reason, never by key. Safe to call from any thread."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cachewright.spec.semantics import Reason

#: Upper bounds (s) of the buckets of durations; the last bucket has none.
BOUNDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
#: Hits of one target and tier that may wait to be counted, and how many in memory are timed by one of them.
_AT_A_TIME = 256
_TIMED_BY_ONE = 16


@dataclass(slots=True)
class Durations:
    """How many, how long together (s), and how they spread over `BOUNDS`."""

    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS, seconds)] += 1

    def add_all(self, seconds: list[float]) -> None:
        """Count these."""
        self.count += len(seconds)
        self.seconds += sum(seconds)
        seconds.sort()
        below = 0
        for at, bound in enumerate(BOUNDS):
            up_to = bisect_right(seconds, bound)
            self.buckets[at] += up_to - below
            below = up_to
        self.buckets[-1] += len(seconds) - below

    def as_dict(self) -> dict[str, Any]:
        """A form that JSON can hold."""
        return {"count": self.count, "seconds": self.seconds, "buckets": list(self.buckets)}


@dataclass(slots=True)
class TargetStats:
    """The counters of one target."""

    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    bypassed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    fills: int = 0
    shared: int = 0
    stood_in: Counter[str] = field(default_factory=Counter)
    refreshes: int = 0
    load_seconds: Durations = field(default_factory=Durations)
    hit_seconds: Durations = field(default_factory=Durations)

    def as_dict(self) -> dict[str, Any]:
        """A form that JSON can hold. A lookup is a hit or a miss; what was bypassed is neither."""
        return {
            "lookups": self.hits.total() + self.misses.total(),
            "hits": dict(self.hits),
            "misses": dict(self.misses),
            "bypassed": dict(self.bypassed),
            "refused": dict(self.refused),
            "fills": self.fills,
            "shared": self.shared,
            "stood_in": dict(self.stood_in),
            "refreshes": self.refreshes,
            "load_seconds": self.load_seconds.as_dict(),
            "hit_seconds": self.hit_seconds.as_dict(),
        }


class Stats:
    """Counters of one process since it started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: dict[str, TargetStats] = {}
        self._waiting: dict[tuple[str, str], deque[float]] = {}
        self._in_memory: dict[str, deque[float | None]] = {}
        self._operations: dict[str, Durations] = {}
        self._refusals: Counter[str] = Counter()
        self._windows = Durations()
        self._deliveries = Durations()
        self._counts: Counter[str] = Counter(
            dict.fromkeys(
                (
                    "errors",
                    "timeouts",
                    "codec_errors",
                    "invalidations",
                    "tags",
                    "pending",
                    "reconnects",
                    "unheard",
                    "denied",
                    "wrong",
                    "promotions",
                    "evictions",
                    "expiries",
                    "turned_away",
                    "demotions",
                    "demotions_lost",
                    "file_evictions",
                    "file_expiries",
                ),
                0,
            )
        )

    def _of(self, target: str) -> TargetStats:
        found = self._targets.get(target)
        return found if found is not None else self._targets.setdefault(target, TargetStats())

    def hit(self, target: str, tier: str, seconds: float) -> None:
        """An answer was served from `tier`, `seconds` after it was asked for.

        Hits are the most frequent event: they are noted without a lock and counted many at a time.
        """
        waiting = self._waiting.get((target, tier))
        if waiting is None:
            waiting = self._waiting.setdefault((target, tier), deque())
        waiting.append(seconds)
        if len(waiting) >= _AT_A_TIME:
            with self._lock:
                self._count_hits()

    def hit_in_memory(self, target: str, began: float, clock: Callable[[], float]) -> None:
        """As `hit`, where reading `clock` (s) would be much of it: one in sixteen is timed, from `began`, for all.

        Each of them counts.
        """
        waiting = self._in_memory.get(target)
        if waiting is None:
            waiting = self._in_memory.setdefault(target, deque())
        many = len(waiting)
        waiting.append(None if many % _TIMED_BY_ONE else clock() - began)
        if many >= _AT_A_TIME:
            with self._lock:
                self._count_hits()

    def _count_hits(self) -> None:
        """Count the hits that wait; others may be noted meanwhile."""
        for (target, tier), waiting in tuple(self._waiting.items()):
            self._hits(target, tier, [waiting.popleft() for _ in range(len(waiting))])
        for target, noted in tuple(self._in_memory.items()):
            seconds = 0.0  # the first of those that wait is always timed
            batch: list[float] = []
            for _ in range(len(noted)):
                timed = noted.popleft()
                seconds = seconds if timed is None else timed
                batch.append(seconds)
            self._hits(target, "l1", batch)

    def _hits(self, target: str, tier: str, batch: list[float]) -> None:
        if batch:
            own = self._of(target)
            own.hits[tier] += len(batch)
            own.hit_seconds.add_all(batch)

    def miss(self, target: str, reason: Reason) -> None:
        """A lookup was no hit."""
        with self._lock:
            self._of(target).misses[reason.value] += 1

    def bypassed(self, target: str, reason: Reason) -> None:
        """A request that the target matches was not looked up."""
        with self._lock:
            self._of(target).bypassed[reason.value] += 1

    def loaded(self, target: str, seconds: float) -> None:
        """A miss was answered by the application, which took `seconds`."""
        with self._lock:
            self._of(target).load_seconds.add(seconds)

    def shared(self, target: str) -> None:
        """A miss was answered by the load of another request."""
        with self._lock:
            self._of(target).shared += 1

    def stood_in(self, target: str, failure: str) -> None:
        """An entry answered for a load that failed: the kind of its error, or a status."""
        with self._lock:
            self._of(target).stood_in[failure] += 1

    def refreshed(self, target: str) -> None:
        """An entry was loaded anew while it was served."""
        with self._lock:
            self._of(target).refreshes += 1

    def filled(self, target: str) -> None:
        """A load was stored."""
        with self._lock:
            self._of(target).fills += 1

    def refused(self, target: str, reasons: Iterable[Reason]) -> None:
        """A load was not stored, for these reasons."""
        with self._lock:
            self._of(target).refused.update(reason.value for reason in reasons)

    def store_failed(self, *, timeout: bool) -> None:
        """The store did not answer, or refused."""
        self._count("errors", timeouts=int(timeout))

    def store_refused(self, code: str) -> None:
        """The store answered with an error, whose first word is `code`."""
        with self._lock:
            self._refusals[code] += 1

    def promoted(self, seconds: float) -> None:
        """Another primary took over, and what was invalidated lately was repeated there.

        So long (s), from the last sign of the one before, entries may have been valid that were no longer.
        """
        with self._lock:
            self._counts["promotions"] += 1
            self._windows.add(seconds)

    def unreadable(self) -> None:
        """Bytes in the store were no entry of ours."""
        self._count("codec_errors")

    def invalidated(self, tags: int) -> None:
        """Tags were given new tokens."""
        self._count("invalidations", tags=tags)

    def delivered(self, seconds: float) -> None:
        """An invalidation was delivered, so long after it was asked for."""
        with self._lock:
            self._deliveries.add(seconds)

    def pending(self) -> None:
        """An invalidation could not be delivered and was kept."""
        self._count("pending")

    def denied(self) -> None:
        """Access to a key of another tenant or user was refused."""
        self._count("denied")

    def wrong(self) -> None:
        """An audited hit was not what the application answers."""
        self._count("wrong")

    def operated(self, operation: str, seconds: float) -> None:
        """An operation that left this process (`get`, `set`, `delete`) took `seconds`."""
        with self._lock:
            self._operations.setdefault(operation, Durations()).add(seconds)

    def reconnected(self) -> None:
        """The bus was lost and came back."""
        self._count("reconnects")

    def unheard(self) -> None:
        """A strict invalidation returned because leases were over, and not because all processes had heard."""
        self._count("unheard")

    def evicted(self) -> None:
        """An entry left for want of room."""
        self._count("evictions")

    def expired(self, entries: int) -> None:
        """Entries left because their life was over."""
        with self._lock:
            self._counts["expiries"] += entries

    def turned_away(self) -> None:
        """An entry was not let in: its key had not been asked for before, and there was no room."""
        self._count("turned_away")

    def demoted(self, *, kept: bool) -> None:
        """An entry that left memory for want of room went to the files, or could not."""
        self._count("demotions" if kept else "demotions_lost")

    def left_files(self, *, evicted: int, expired: int) -> None:
        """Files were removed for want of room, or because their life was over."""
        with self._lock:
            self._counts.update(file_evictions=evicted, file_expiries=expired)

    def _count(self, name: str, **more: int) -> None:
        with self._lock:
            self._counts[name] += 1
            self._counts.update(more)

    def snapshot(self) -> dict[str, Any]:
        """Everything counted so far, in a form that JSON can hold."""
        with self._lock:
            self._count_hits()
            targets = {name: own.as_dict() for name, own in self._targets.items()}
            operations = {name: own.as_dict() for name, own in self._operations.items()}
            return {
                **self._counts,
                "refusals": dict(self._refusals),
                "promotion_seconds": self._windows.as_dict(),
                "invalidation_seconds": self._deliveries.as_dict(),
                "operations": operations,
                "targets": targets,
            }


def merge(snapshots: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of the snapshots of several processes."""
    whole: dict[str, Any] = Stats().snapshot()
    for snapshot in snapshots:
        whole = _sum(whole, snapshot)
    return whole


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return {
            name: _sum(one[name], other[name])
            if name in one and name in other
            else one.get(name, other.get(name))
            for name in {**one, **other}
        }
    if isinstance(one, list):
        return [_sum(a, b) for a, b in zip(one, other, strict=True)]
    return one + other
