"""What the whole job sets out to reach, and whether it did; what could not be measured is neither."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cachewright.cli.demo_figures import Job, Load
from cachewright.simulator.outcome import Latency, latency_of

#: A hit rate is held against its forecast on routes with at least so many requests.
REQUESTS_FOR_A_RATE = 500

Unit = Literal["%", "×", "ms", "points", ""]


@dataclass(frozen=True, slots=True)
class Target:
    """One figure and its bound; `at_most` says on which side of `required` it has to lie."""

    name: str
    reached: float | None
    required: float | None
    unit: Unit = ""
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept; None where one of the two is not known."""
        if self.reached is None or self.required is None:
            return None
        return self.reached <= self.required if self.at_most else self.reached >= self.required

    def to_json(self) -> dict[str, Any]:
        """The target by its public names; the name holds the unit and the side of the bound."""
        side = "at most" if self.at_most else "at least"
        return {
            "name": ", ".join(filter(None, (self.name, self.unit, side))),
            "reached": _rounded(self.reached),
            "required": _rounded(self.required),
            "met": self.met,
        }


def targets(job: Job, document: Mapping[str, Any]) -> list[Target]:
    """All targets of a job; `document` holds its figures (see `demo_figures.figures`)."""
    cached = [route["route"] for route in document["routes"] if route["hit_rate_predicted"] is not None]
    before, after = _pooled(job.load_before, cached), _pooled(job.load_after, cached)
    work, found = document["database"], document["check"]
    everything = "over all requests of the cached routes"
    return [
        Target("database time falls by", _fall(work["time_before_ms"], work["time_after_ms"]), 60.0, "%"),
        Target(f"mean {everything} falls by a factor of", _factor(before.mean, after.mean), 3.0, "×"),
        Target(f"p95 {everything}, against that before", after.p95, before.p95, "ms", at_most=True),
        Target(
            f"hit rate off its forecast, routes with {REQUESTS_FOR_A_RATE} requests and more",
            _furthest(document["routes"]),
            2.0,
            "points",
            at_most=True,
        ),
        Target("answers compared (verify)", document["verify"]["responses"], 500),
        Target("differences (verify)", document["verify"]["differences"], 0, at_most=True),
        Target("wrong answers (simulate)", document["simulate"]["wrong_answers"], 0, at_most=True),
        Target("errors and warnings (check)", found["errors"] + found["warnings"], 0, at_most=True),
    ]


def _pooled(load: Load, routes: Iterable[str]) -> Latency:
    return latency_of([duration for route in routes for duration in load.durations.get(route, ())])


def _fall(before: float, after: float) -> float | None:
    return (1 - after / before) * 100 if before else None


def _factor(before: float | None, after: float | None) -> float | None:
    return before / after if before is not None and after else None


def _furthest(routes: Iterable[Mapping[str, Any]]) -> float | None:
    """The largest distance of a measured hit rate from its forecast, in points; None where one is unknown."""
    asked: list[tuple[float, float | None]] = [
        (route["hit_rate_predicted"], route["hit_rate_measured"])
        for route in routes
        if route["requests"] >= REQUESTS_FOR_A_RATE and route["hit_rate_predicted"] is not None
    ]
    # rates have four digits: the difference must not gain more, or 2 points would be more than 2 points
    known = [round(abs(rate - predicted) * 100, 2) for predicted, rate in asked if rate is not None]
    return max(known) if known and len(known) == len(asked) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
