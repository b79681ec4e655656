"""The figures of the whole job, from what its runs measured: nothing is estimated, an unknown is null."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachewright.runtime.stats import merge
from cachewright.simulator.outcome import Latency, latency_of

NO_TIMES = Latency(None, None, None)


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator saw of one run: answers by route with their durations in ms, and surprises."""

    durations: Mapping[str, Sequence[float]]
    errors: int

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return sum(map(len, self.durations.values()))


def load_of(document: Mapping[str, Any]) -> Load:
    """What `load.py` wrote."""
    durations: dict[str, list[float]] = defaultdict(list)
    for route, _method, _status, milliseconds in document["requests"]:
        durations[route].append(milliseconds)
    return Load(dict(durations), document["errors"])


@dataclass(frozen=True, slots=True)
class Served:
    """What all workers of one run counted: (hits, lookups) by route, statements, and their time in ms."""

    lookups: Mapping[str, tuple[int, int]]
    queries: int
    time_ms: float


def served_of(workers: Iterable[Mapping[str, Any]], routes: Mapping[str, str]) -> Served:
    """The sum of what the workers wrote; `routes` gives the route of each target by its name."""
    whole = merge(workers)
    lookups: dict[str, tuple[int, int]] = {}
    for target, counts in whole["targets"].items():
        hits, asked = lookups.get(routes[target], (0, 0))
        lookups[routes[target]] = (hits + sum(counts["hits"].values()), asked + counts["lookups"])
    return Served(lookups, whole["database"]["queries"], whole["database"]["time_ms"])


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that the runs of the job found; `findings` of `check` are counted by severity."""

    forecast: Mapping[str, Any]
    findings: Mapping[str, int]
    verdict: Mapping[str, Any]
    load_before: Load
    load_after: Load
    served_before: Served
    served_after: Served


def figures(job: Job) -> dict[str, Any]:
    """The figures by their public names."""
    predicted = {
        route["route"]: route["hit_rate_predicted"] for route in job.forecast["routes"] if route["cached"]
    }
    return {
        "routes": [
            _route(route, job, predicted.get(route))
            for route in sorted(job.load_before.durations, key=lambda name: name.partition(" ")[::-1])
        ],
        "database": {
            "queries_before": job.served_before.queries,
            "queries_after": job.served_after.queries,
            "time_before_ms": round(job.served_before.time_ms, 3),
            "time_after_ms": round(job.served_after.time_ms, 3),
        },
        "check": {
            "errors": job.findings.get("error", 0),
            "warnings": job.findings.get("warning", 0),
        },
        "simulate": {"wrong_answers": job.forecast["wrong_answers"]},
        "verify": {"responses": job.verdict["responses"], "differences": job.verdict["differences"]},
        "load": {"errors_before": job.load_before.errors, "errors_after": job.load_after.errors},
    }


def _route(route: str, job: Job, predicted: float | None) -> dict[str, Any]:
    before = latency_of(job.load_before.durations[route])
    seen = job.load_after.durations.get(route, ())
    after = latency_of(seen) if seen else NO_TIMES
    hits, lookups = job.served_after.lookups.get(route, (0, 0))
    return {
        "route": route,
        "requests": len(job.load_before.durations[route]),
        "hit_rate_predicted": predicted,
        "hit_rate_measured": round(hits / lookups, 4) if lookups else None,
        "mean_before_ms": _rounded(before.mean),
        "mean_after_ms": _rounded(after.mean),
        "p50_before_ms": _rounded(before.p50),
        "p50_after_ms": _rounded(after.p50),
        "p95_before_ms": _rounded(before.p95),
        "p95_after_ms": _rounded(after.p95),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def shortcomings(document: Mapping[str, Any]) -> list[str]:
    """What is not correct, however fast it was: a job that went well has none of it."""
    found = {
        "errors that check found": document["check"]["errors"],
        "answers that the forecast finds wrong": document["simulate"]["wrong_answers"],
        "differences that verify found": document["verify"]["differences"],
        "unexpected answers before": document["load"]["errors_before"],
        "unexpected answers after": document["load"]["errors_after"],
    }
    return [f"{what}: {number}" for what, number in found.items() if number]
