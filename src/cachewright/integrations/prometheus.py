"""The figures of all workers in the text form that Prometheus scrapes.

Labels are targets with their scope, tiers and reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from cachewright.errors import SurroundingsError
from cachewright.runtime.stats import BOUNDS

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATUSES = ("healthy", "degraded", "down")
#: The labels of everything that is counted by target. A target has one scope: there are no more series for it.
_TARGET = ("target", "scope")

#: Counters of a target: name, what it counts, its label (None: a plain number), and where it stands.
_OF_TARGETS: tuple[tuple[str, str, str | None, str], ...] = (
    ("hits", "Lookups that were served, by tier.", "tier", "hits"),
    ("misses", "Lookups that were not served, by reason.", "reason", "misses"),
    ("bypassed", "Requests that were not looked up, by reason.", "reason", "bypassed"),
    ("refused_fills", "Loads that were not stored, by reason.", "reason", "refused"),
    ("fills", "Loads that were stored.", None, "fills"),
    ("shared_loads", "Misses that were answered by the load of another request.", None, "shared"),
    ("refreshes", "Entries that were loaded anew while they were served.", None, "refreshes"),
)
#: Counters of a process: the name in Prometheus, and what it counts; by their name in `Stats`.
_OF_PROCESSES: Mapping[str, tuple[str, str]] = {
    "errors": ("store_errors", "Exchanges with the store that failed."),
    "timeouts": ("store_timeouts", "Exchanges with the store that were not answered in time."),
    "codec_errors": ("codec_errors", "Bytes in the store that were no entry."),
    "invalidations": ("invalidations", "Invalidations."),
    "tags": ("invalidated_tags", "Tags that were invalidated."),
    "pending": ("kept_invalidations", "Invalidations that were kept for a later delivery."),
    "denied": ("denied_accesses", "Accesses to what is somebody else's."),
    "evictions": ("evictions", "Entries that left memory for want of room."),
    "expiries": ("expiries", "Entries that left memory because their life was over."),
    "reconnects": ("bus_reconnects", "Times that the invalidation bus was lost and came back."),
    "promotions": ("promotions", "Times that another primary took over."),
    "wrong": ("wrong_answers", "Hits that an audit found to be wrong."),
}


def exposition(stats: Mapping[str, Any]) -> bytes:
    """What `Desk.stats` says, as a page to scrape. Raises `SurroundingsError` where prometheus-client is missing."""
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import generate_latest
    except ModuleNotFoundError:
        raise SurroundingsError(
            "prometheus-client is not installed", hint="pip install 'cachewright[prometheus]'"
        ) from None

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(lambda: _metrics(stats)))
    return generate_latest(registry)


class _Collector:
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self.collect = collect


def _metrics(stats: Mapping[str, Any]) -> Iterator[Metric]:
    targets = stats["targets"]
    for name, text, label, place in _OF_TARGETS:
        yield _counted(f"cachewright_{name}", text, label, place, targets)
    yield _timed("cachewright_hit_seconds", "How long hits took.", "hit_seconds", targets)
    yield _timed(
        "cachewright_load_seconds", "How long the application took for misses.", "load_seconds", targets
    )
    yield from _of_processes(stats)
    yield from _gauges(stats)


def _counted(
    name: str, text: str, label: str | None, place: str, targets: Mapping[str, Mapping[str, Any]]
) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(name, text, labels=[*_TARGET, label] if label else _TARGET)
    for target, own in targets.items():
        if label is None:
            family.add_metric([target, own["scope"]], own[place])
        else:
            for value, count in own[place].items():
                family.add_metric([target, own["scope"], value], count)
    return family


def _timed(name: str, text: str, place: str, targets: Mapping[str, Mapping[str, Any]]) -> Metric:
    from prometheus_client.metrics_core import HistogramMetricFamily

    family = HistogramMetricFamily(name, text, labels=_TARGET)
    for target, own in targets.items():
        buckets = _buckets(own[place])
        family.add_metric([target, own["scope"]], buckets=buckets, sum_value=own[place]["seconds"])
    return family


def _buckets(durations: Mapping[str, Any]) -> list[tuple[str, float]]:
    """How many took no longer than each bound."""
    bounds = (*map(str, BOUNDS), "+Inf")
    return list(zip(bounds, accumulate(durations["buckets"]), strict=True))


def _of_processes(stats: Mapping[str, Any]) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

    for name, text, place in (
        ("cachewright_invalidation_seconds", "From an invalidation to its delivery.", "invalidation_seconds"),
        ("cachewright_promotion_seconds", "Windows of promotions.", "promotion_seconds"),
    ):
        own = stats["counters"][place]
        yield HistogramMetricFamily(name, text, buckets=_buckets(own), sum_value=own["seconds"])
    for place, (name, text) in _OF_PROCESSES.items():
        yield CounterMetricFamily(f"cachewright_{name}", text, value=stats["counters"][place])
    database = stats["database"]
    yield CounterMetricFamily(
        "cachewright_database_queries", "Statements that ran.", value=database["queries"]
    )
    yield CounterMetricFamily(
        "cachewright_database_seconds", "Time of statements.", value=database["time_ms"] / 1000
    )


def _gauges(stats: Mapping[str, Any]) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily

    size, running = stats["metrics"]["cache_size"], [one for one in stats["workers"] if one["alive"]]
    for name, text, value in (
        ("memory_bytes", "Bytes held in memory.", size["memory_used_bytes"]),
        ("memory_limit_bytes", "The most bytes that memory may hold.", size["max_memory_bytes"]),
        ("memory_items", "Entries held in memory.", size["items_count"]),
        ("workers", "Worker processes that run.", len(running)),
        (
            "pending_invalidations",
            "Tags that wait for their delivery.",
            sum(one["pending"] or 0 for one in running),
        ),
    ):
        yield GaugeMetricFamily(f"cachewright_{name}", text, value=value)
    if (predicted := stats["forecast"]["hit_rate"]) is not None:
        yield GaugeMetricFamily(
            "cachewright_forecast_hit_rate", "The hit rate that was predicted.", value=predicted
        )
    status = GaugeMetricFamily(
        "cachewright_status", "1 for the state that the cache is in.", labels=["status"]
    )
    for name in _STATUSES:
        status.add_metric([name], float(stats["metrics"]["health"]["cache_status"] == name))
    yield status
    alarms = GaugeMetricFamily(
        "cachewright_alarm", "1 for each alarm that is raised.", labels=["alarm", "severity"]
    )
    for alarm in stats["alarms"]:
        alarms.add_metric([alarm["name"], alarm["severity"]], 1)
    yield alarms
