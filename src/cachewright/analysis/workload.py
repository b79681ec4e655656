"""How much a route is asked for, what it costs, and how often its answers could be kept at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cachewright.analysis.exchanges import Exchange, RouteEvidence
from cachewright.analysis.findings import Observation
from cachewright.spec.words import count


@dataclass(frozen=True, slots=True)
class Workload:
    """Figures of one route. Times are milliseconds of 200 answers; shares are of them too, from 0 to 1.

    `per_minute` counts all requests; `database_ms` and `queries` are means for one request.
    """

    requests: int
    answers: int
    statuses: Mapping[int, int]
    per_minute: float
    p50_ms: float
    p95_ms: float
    database_ms: float
    queries: float
    mean_bytes: float
    keys: int
    credentials: int
    without_credential: float
    wrote: float
    background: float
    set_cookie: float
    streamed: float
    escaped: float
    early: float
    no_store: float
    without_sql: float
    errors: float


def workload(route: RouteEvidence, seconds: float, fields: Sequence[str]) -> Workload:
    """Figures of `route` in a trace of `seconds`; `fields` make up its keys."""
    answers = [exchange for exchange in route.exchanges if exchange.request.status == 200]
    times = np.array([exchange.milliseconds for exchange in answers] or [0.0])
    p50, p95 = (round(float(value), 3) for value in np.percentile(times, [50, 95]))
    statuses = Counter(exchange.request.status for exchange in route.exchanges)
    total = len(route.exchanges)
    return Workload(
        requests=total,
        answers=len(answers),
        statuses=dict(sorted(statuses.items())),
        per_minute=round(total * 60 / seconds, 3) if seconds else 0.0,
        p50_ms=p50,
        p95_ms=p95,
        database_ms=round(_mean([_database_ms(exchange) for exchange in answers]), 3),
        queries=round(_mean([len(exchange.statements) for exchange in answers]), 2),
        mean_bytes=round(_mean([exchange.request.size for exchange in answers]), 1),
        keys=len({tuple(exchange.exact.get(field) for field in fields) for exchange in answers}),
        credentials=len({exchange.request.credential for exchange in route.exchanges} - {None}),
        without_credential=_share([exchange.request.credential is None for exchange in answers]),
        wrote=_share([exchange.wrote for exchange in answers]),
        background=_share([exchange.request.background for exchange in answers]),
        set_cookie=_share([exchange.request.set_cookie for exchange in answers]),
        streamed=_share([exchange.request.streamed for exchange in answers]),
        escaped=_share([exchange.request.escaped for exchange in answers]),
        early=_share([exchange.early for exchange in answers]),
        no_store=_share(["no-store" in exchange.request.cache_control for exchange in answers]),
        without_sql=_share([not exchange.reads for exchange in answers]),
        errors=_share([exchange.request.status >= 500 for exchange in route.exchanges]),
    )


def observations(route: RouteEvidence, load: Workload) -> Iterator[Observation]:
    """Tell the route's traffic in words."""
    yield Observation(
        "workload",
        route.subject,
        f"{count(load.requests, 'request')} ({load.per_minute:g}/min), {count(load.keys, 'key')}, "
        f"{count(load.credentials, 'credential')}; p50 {load.p50_ms:g} ms, {load.queries:g} queries and "
        f"{load.database_ms:g} ms of database time each.",
        {
            "requests": load.requests,
            "per_minute": load.per_minute,
            "keys": load.keys,
            "p50_ms": load.p50_ms,
            "p95_ms": load.p95_ms,
            "database_ms": load.database_ms,
            "queries": load.queries,
            "mean_bytes": load.mean_bytes,
        },
    )


def _database_ms(exchange: Exchange) -> float:
    return sum(statement.ended - statement.started for statement in exchange.statements) / 1e6


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _share(flags: Sequence[bool]) -> float:
    return round(sum(flags) / len(flags), 4) if flags else 0.0
