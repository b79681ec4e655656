"""What a specification wants to be warmed, as jobs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cachewright.spec.rates import ExecutionWindow, parse_window
from cachewright.spec.warming import CacheWarming, WarmupQuery

ON_STARTUP = "on_startup"
SCHEDULED = "scheduled"


@dataclass(frozen=True, slots=True)
class Job:
    """Queries that are warmed together, at start or by a schedule."""

    name: str
    queries: tuple[WarmupQuery, ...]
    schedule: str | None = None
    window: ExecutionWindow | None = None


def jobs_of(warming: CacheWarming) -> tuple[Job, ...]:
    """The jobs of a specification; none where warming is not enabled."""
    if not warming.enabled:
        return ()
    by_type: dict[str, list[WarmupQuery]] = {}
    for strategy in warming.strategies:
        by_type.setdefault(strategy.type, []).extend(
            WarmupQuery(name=name) for name in strategy.warmup_queries
        )
    at_start = (*warming.on_startup.queries, *by_type.get(ON_STARTUP, ()), *by_type.get("user_specific", ()))
    by_schedule = (*warming.scheduled.queries, *by_type.get(SCHEDULED, ()))
    found: list[Job] = []
    if at_start:
        found.append(Job(ON_STARTUP, at_start))
    if by_schedule and warming.scheduled.schedule is not None:
        window = warming.scheduled.execution_window
        found.append(
            Job(
                SCHEDULED,
                by_schedule,
                warming.scheduled.schedule,
                None if window is None else parse_window(window),
            )
        )
    return tuple(found)


def spread(params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every choice of one value for each parameter; a list offers several."""
    names = tuple(params)
    offered = [value if isinstance(value, list | tuple) else [value] for value in params.values()]
    for values in itertools.product(*offered):
        yield dict(zip(names, values, strict=True))
