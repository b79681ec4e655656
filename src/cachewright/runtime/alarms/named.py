"""The alarms that a specification names, as rules; and those that are about truth, which nothing turns off."""

from __future__ import annotations

from cachewright.runtime.alarms.rules import Reading, Rule
from cachewright.spec.observing import Alerts

#: A process that has just started has had no time to hit (C65).
GRACE_SECONDS = 60.0
#: Invalidations that wait for their delivery for so long are an alarm, as is a forecast that is missed for so long.
_BACKLOG_SECONDS = 30.0
_DRIFT_SECONDS = 900.0
_DRIFT = 0.15
_DRIFT_REQUESTS = 1000
_ACTIONS = ("alert",)


def rules_of(alerts: Alerts) -> tuple[Rule, ...]:
    """The rules of a specification's `alerts` that are enabled, and the four that every cache has.

    Those four are: an answer that was wrong, access to somebody else's entry, invalidations that wait, and a hit
    rate far under its forecast.
    """
    return (*_asked_for(alerts), *_ALWAYS)


def _asked_for(alerts: Alerts) -> list[Rule]:
    found: list[Rule] = []
    low, high, slow, away = (
        alerts.low_hit_rate, alerts.high_memory_usage, alerts.slow_operations, alerts.cache_unavailable,
    )  # fmt: skip
    if low.enabled:
        found.append(
            Rule(
                name="low_hit_rate",
                severity="warning",
                measure=lambda reading: reading.hit_rate,
                threshold=low.threshold,
                below=True,
                for_seconds=low.for_seconds,
                min_requests=low.min_requests,
                grace=GRACE_SECONDS,
                margin=0.02,
                actions=low.action,
            )
        )
    if high.enabled:
        found.append(
            Rule(
                name="high_memory_usage",
                severity="warning",
                measure=lambda reading: reading.memory_share,
                threshold=high.threshold,
                for_seconds=high.for_seconds,
                min_requests=high.min_requests,
                margin=0.02,
                actions=high.action,
            )
        )
    if slow.enabled:
        found.append(
            Rule(
                name="slow_operations",
                severity="warning",
                measure=lambda reading: reading.operation_ms,
                threshold=slow.threshold_ms,
                for_seconds=slow.for_seconds,
                min_requests=slow.min_requests,
                margin=slow.threshold_ms / 10,
                actions=slow.action,
            )
        )
    if away.enabled:
        found.append(
            Rule(
                name="cache_unavailable",
                severity="critical",
                measure=_unavailable,
                threshold=0.5,
                for_seconds=away.for_seconds,
                min_requests=away.min_requests,
                actions=away.action,
            )
        )
    return found


def _unavailable(reading: Reading) -> float:
    return 0.0 if reading.available else 1.0


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
        for_seconds=_DRIFT_SECONDS,
        min_requests=_DRIFT_REQUESTS,
        grace=GRACE_SECONDS,
        margin=0.05,
        actions=("warn",),
    ),
)
