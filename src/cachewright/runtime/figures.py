"""What a cache measured, in the shape of a specification's `metrics` (C14); what is not known is None."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any, Literal

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.engine import Engine
from cachewright.spec.tags import NAMESPACE_TAG

Status = Literal["healthy", "degraded", "down"]
Pressure = Literal["low", "medium", "high", "critical"]

#: Rates are over the last minute, as far back as it was sampled.
_WINDOW_SECONDS = 60.0
#: Shares of a memory limit up to which it is low, medium, high; above it is critical (C63).
_PRESSURES: tuple[tuple[float, Pressure], ...] = ((0.6, "low"), (0.8, "medium"), (0.95, "high"))
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Performance:
    """How well it serves. Rates from 0 to 1, times in milliseconds."""

    hit_rate: float | None
    miss_rate: float | None
    avg_response_time_with_cache_ms: float | None
    avg_response_time_without_cache_ms: float | None
    cache_performance_ratio: float | None
    speedup: float | None


@dataclass(frozen=True, slots=True)
class CacheSize:
    """What this process holds in memory."""

    items_count: int
    memory_used_bytes: int
    max_items: int
    max_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Operations:
    """How hard it works: operations a second, and their mean milliseconds."""

    get_operations_per_second: float | None
    set_operations_per_second: float | None
    delete_operations_per_second: float | None
    avg_operation_latency_ms: float | None


@dataclass(frozen=True, slots=True)
class HealthFigures:
    """How it is, as far as is known without asking.

    `connection_pool_status` is how many connections to the servers are open, of how many: each process has one to
    each primary, which carries everything (`2/2`). None where there is no server.
    """

    cache_status: Status
    error_rate: float | None
    connection_pool_status: str | None
    memory_pressure: Pressure


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Everything measured in this process. `counters` are the totals behind it, by target where they have one."""

    performance: Performance
    cache_size: CacheSize
    operations: Operations
    health: HealthFigures
    counters: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """A form that JSON can hold."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the cache answers, how fast (ms), and how many invalidations wait for their delivery.

    `hears` says whether other processes' invalidations arrive; without it, copies in memory are asked about
    before they are served.
    """

    cache_status: Status
    latency_ms: float | None
    error_rate: float | None
    pending_invalidations: int
    hears: bool


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is now, and no count: entries in memory and their bytes, the bounds of both, and how the cache is.

    Of the `lines` to the servers, one to each primary, `open_lines` are connected.
    """

    items: int
    bytes: int
    max_items: int
    max_bytes: int
    status: Status
    open_lines: int = 0
    lines: int = 0


def gauges_of(engine: Engine) -> Gauges:
    """The gauges of this process."""
    memory, settings = engine.memory, engine.settings
    lines = (0, int(engine.shared)) if engine.store is None else engine.store.lines
    return Gauges(len(memory), memory.size, settings.l1_items, settings.l1_bytes, _status(engine), *lines)


class Sampler:
    """Figures of one process, or of several together; rates are those since an earlier sample."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, _Totals]] = deque([(monotonic(), _Totals())])

    def sample(self, engine: Engine) -> CacheStats:
        """The figures of one engine now."""
        return self.of(engine.stats.snapshot(), gauges_of(engine))

    def of(self, counted: Mapping[str, Any], gauges: Gauges) -> CacheStats:
        """The figures now of what was `counted` (a snapshot of `Stats`, or several merged)."""
        now, totals = monotonic(), _totals(counted)
        while len(self._samples) > 1 and now - self._samples[1][0] >= _WINDOW_SECONDS:
            self._samples.popleft()
        since, before = self._samples[0]
        if now - self._samples[-1][0] >= 1.0:
            self._samples.append((now, totals))
        return CacheStats(
            performance=_performance(counted["targets"].values()),
            cache_size=CacheSize(gauges.items, gauges.bytes, gauges.max_items, gauges.max_bytes),
            operations=_rates(totals, before, now - since, counted),
            health=HealthFigures(
                gauges.status,
                error_rate(counted),
                f"{gauges.open_lines}/{gauges.lines}" if gauges.lines else None,
                pressure(gauges.bytes, gauges.max_bytes),
            ),
            counters=counted,
        )


@dataclass(frozen=True, slots=True)
class _Totals:
    gets: int = 0
    sets: int = 0
    deletes: int = 0


def _totals(counted: Mapping[str, Any]) -> _Totals:
    targets = counted["targets"].values()
    return _Totals(
        sum(one["lookups"] for one in targets), sum(one["fills"] for one in targets), counted["invalidations"]
    )


def _performance(targets: Iterable[Mapping[str, Any]]) -> Performance:
    own = list(targets)
    hits, lookups = sum(sum(one["hits"].values()) for one in own), sum(one["lookups"] for one in own)
    with_cache = _mean(one["hit_seconds"] for one in own)
    without = _mean(one["load_seconds"] for one in own)
    return Performance(
        _share(hits, lookups),
        _share(lookups - hits, lookups),
        with_cache,
        without,
        with_cache / without if with_cache is not None and without else None,
        without / with_cache if with_cache and without is not None else None,
    )


def _rates(totals: _Totals, before: _Totals, seconds: float, counted: Mapping[str, Any]) -> Operations:
    def rate(now: int, then: int) -> float | None:
        return (now - then) / seconds if seconds > 0 else None

    served = (one["hit_seconds"] for one in counted["targets"].values())
    return Operations(
        rate(totals.gets, before.gets),
        rate(totals.sets, before.sets),
        rate(totals.deletes, before.deletes),
        _mean(
            [
                *served,
                *(counted["operations"][name] for name in ("set", "delete") if name in counted["operations"]),
            ]
        ),
    )


def _mean(durations: Iterable[Mapping[str, Any]]) -> float | None:
    """Mean milliseconds."""
    own = list(durations)
    count = sum(one["count"] for one in own)
    return _MS * float(sum(one["seconds"] for one in own)) / count if count else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def error_rate(counted: Mapping[str, Any]) -> float | None:
    """Failed exchanges with the store by operations, None before the first (C64)."""
    totals = _totals(counted)
    whole = totals.gets + totals.sets + totals.deletes
    return min(1.0, counted["errors"] / whole) if whole else None


def pressure(used: int, limit: int) -> Pressure:
    """How full a memory of `limit` bytes is."""
    share = used / limit if limit else 1.0
    return next((name for bound, name in _PRESSURES if share <= bound), "critical")


def _status(engine: Engine) -> Status:
    if engine.alone:
        return "healthy"
    if engine.store is None or engine.store.struggling:
        return "down"
    return "healthy" if engine.hears and not engine.pending else "degraded"


async def check_health(engine: Engine) -> Health:
    """Ask the store something now. A store that was away is found again without a restart."""
    latency: float | None = None
    status = _status(engine)
    if engine.store is not None:
        began = perf_counter()
        try:
            await engine.store.read((), (NAMESPACE_TAG,))
        except StoreUnavailableError:
            status = "down"
        else:
            latency = (perf_counter() - began) * _MS
            status = _status(engine)
    return Health(status, latency, error_rate(engine.stats.snapshot()), engine.pending, engine.hears)
