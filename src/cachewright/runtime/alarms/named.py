"""The alarms that a specification names, as rules; and those that are about truth, which nothing turns off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cachewright.runtime.alarms.rules import Reading, Rule, Severity, Unit
from cachewright.spec.observing import Alerts

#: A process that has just started has had no time to hit (C65).
GRACE_SECONDS = 60.0
#: A server that paused, or a machine that is busy, is no server that is away: that is one after so long (s).
AWAY_SECONDS = 5.0
#: Invalidations that wait for their delivery for so long are an alarm, as is a forecast that is missed for so long.
_BACKLOG_SECONDS = 30.0
_DRIFT_SECONDS = 900.0
_DRIFT = 0.15
_DRIFT_REQUESTS = 1000
_MARGIN = 0.02
_ACTIONS = ("alert",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """How an alarm of the specification is measured; what it does and for how long it waits stands there."""

    severity: Severity
    measure: Callable[[Reading], float | None]
    threshold: Callable[[Any], float] = lambda alert: float(alert.threshold)
    unit: Unit = "share"
    below: bool = False
    grace: float = 0.0
    margin: Callable[[float], float] = lambda _threshold: _MARGIN


_NAMED: Mapping[str, _Named] = {
    "low_hit_rate": _Named(
        severity="warning", measure=lambda reading: reading.hit_rate, below=True, grace=GRACE_SECONDS
    ),
    "high_memory_usage": _Named(severity="warning", measure=lambda reading: reading.memory_share),
    "slow_operations": _Named(
        severity="warning",
        measure=lambda reading: reading.operation_ms,
        threshold=lambda alert: float(alert.threshold_ms),
        unit="ms",
        margin=lambda threshold: threshold / 10,
    ),
    "cache_unavailable": _Named(
        severity="critical",
        measure=lambda reading: reading.away,
        threshold=lambda _alert: AWAY_SECONDS,
        unit="s",
        margin=lambda threshold: threshold,  # it ends when the cache is there
    ),
}


def rules_of(alerts: Alerts) -> tuple[Rule, ...]:
    """The rules of a specification's `alerts` that are enabled, and the four that every cache has.

    Those four are: an answer that was wrong, access to somebody else's entry, invalidations that wait, and a hit
    rate far under its forecast.
    """
    return (*_asked_for(alerts), *_ALWAYS)


def _asked_for(alerts: Alerts) -> Iterator[Rule]:
    for name, kind in _NAMED.items():
        alert = getattr(alerts, name)
        if alert.enabled:
            threshold = kind.threshold(alert)
            yield Rule(
                name=name,
                severity=kind.severity,
                measure=kind.measure,
                threshold=threshold,
                unit=kind.unit,
                below=kind.below,
                for_seconds=alert.for_seconds,
                min_requests=alert.min_requests,
                grace=kind.grace,
                margin=kind.margin(threshold),
                actions=alert.action,
            )


_ALWAYS = (
    Rule(
        name="stale_answers",
        severity="critical",
        measure=lambda reading: float(reading.wrong),
        threshold=0,
        actions=_ACTIONS,
    ),
    Rule(
        name="isolation_violation",
        severity="critical",
        measure=lambda reading: float(reading.denied),
        threshold=0,
        actions=_ACTIONS,
    ),
    Rule(
        name="invalidation_backlog",
        severity="critical",
        measure=lambda reading: float(reading.pending),
        threshold=0,
        for_seconds=_BACKLOG_SECONDS,
        actions=_ACTIONS,
    ),
    Rule(
        name="forecast_drift",
        severity="warning",
        measure=lambda reading: reading.hit_rate_off,
        threshold=_DRIFT,
        unit="share",
        for_seconds=_DRIFT_SECONDS,
        min_requests=_DRIFT_REQUESTS,
        grace=GRACE_SECONDS,
        margin=0.05,
        actions=("warn",),
    ),
)
