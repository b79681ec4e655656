"""Figures in words: an unknown is a dash, never a zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN = "\N{EN DASH}"
_SPACE = "\N{NO-BREAK SPACE}"


def percent(share: float | None, digits: int = 0) -> str:
    """A share from 0 to 1; nothing but 0 and 1 themselves is shown as 0 % and 100 %."""
    if share is None:
        return UNKNOWN
    shown = f"{share * 100:.{digits}f}"
    if 0 < share < 1 and float(shown) in (0, 100):
        return f"< 1{_SPACE}%" if share < 0.5 else f"> 99{_SPACE}%"
    return f"{shown}{_SPACE}%"


def milliseconds(value: float | None) -> str:
    """A duration with as many digits as one reads."""
    if value is None:
        return UNKNOWN
    number, unit = _duration(value)
    return f"{number}{_SPACE}{unit}"


def change(before_ms: float | None, after_ms: float | None) -> str:
    """A duration before and after, `12.3 → 0.90 ms`; the unit stands once where it is the same."""
    if before_ms is not None and after_ms is not None:
        (before, unit), (after, other) = _duration(before_ms), _duration(after_ms)
        if unit == other:
            return f"{before}{_SPACE}→ {after}{_SPACE}{unit}"
    return f"{milliseconds(before_ms)}{_SPACE}→ {milliseconds(after_ms)}"


def _duration(value: float) -> tuple[str, str]:
    if value >= 10_000:
        return f"{value / 1000:,.1f}", "s"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}", "ms"


def count(value: float | None) -> str:
    """A number of things."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def size(number: float) -> str:
    """`12.3 MB`."""
    units = iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while number >= 1000 and unit != "GB":
        number, unit = number / 1000, next(units)
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def plural(number: int, thing: str) -> str:
    """`1 answer`, `2 answers`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of the whole. `measured` says that the hit rate was, and is not a forecast.

    `wrong` counts answers that a replay or a comparison found wrong; `compared` those that were compared.
    """

    requests: int
    hit_rate: float | None
    measured: bool
    mean_before_ms: float | None
    mean_after_ms: float | None
    queries_saved: float | None
    wrong: int | None
    compared: int | None

    @property
    def sentence(self) -> str:
        """What a reader who reads one sentence should know."""
        if self.hit_rate is None:
            return f"None of {plural(self.requests, 'request')} would be answered from a cache."
        verb = "were" if self.measured else "would be"
        parts = [
            f"With this cache, {percent(self.hit_rate)} of lookups {verb} answered without the application"
        ]
        if self.mean_before_ms is not None and self.mean_after_ms is not None:
            took = "took" if self.measured else "would take"
            parts.append(
                f"a request {took} {milliseconds(self.mean_after_ms)} on average "
                f"instead of {milliseconds(self.mean_before_ms)}"
            )
        if self.queries_saved is not None:
            ran = "ran" if self.measured else "would run"
            parts.append(f"the database {ran} {_fewer(self.queries_saved)} queries")
        return f"{'; '.join(parts)}. {self.trust}"

    @property
    def trust(self) -> str:
        """Whether anything was found wrong."""
        if self.wrong:
            return (
                f"{plural(self.wrong, 'answer').capitalize()} would have been wrong: do not use it as it is."
            )
        if self.compared:
            return f"{plural(self.compared, 'answer')} were compared with uncached ones, and none differed."
        if self.wrong == 0:
            return "Replaying the recorded traffic found no wrong answer."
        return "Whether every answer would have been right was not examined."


def _fewer(saved: float) -> str:
    return f"{percent(saved)} fewer" if saved >= 0 else f"{percent(-saved)} more"


def summary_of(figures: Mapping[str, Any]) -> Summary:
    """Add up what `figures` say of routes, database and correctness."""
    routes = list(figures.get("routes", ()))
    measured = [route for route in routes if route.get("hit_rate_measured") is not None]
    predicted = [route for route in routes if route.get("hit_rate_predicted") is not None]
    name = "hit_rate_measured" if measured else "hit_rate_predicted"
    rate = None if measured else figures.get("hit_rate")
    database = figures.get("database") or {}
    verified = figures.get("verify") or {}
    simulated = figures.get("simulate") or figures
    found = [simulated.get("wrong_answers"), verified.get("differences")]
    known = [number for number in found if number is not None]
    return Summary(
        requests=sum(route.get("requests", 0) for route in routes),
        hit_rate=rate if rate is not None else _weighted(measured or predicted, name),
        measured=bool(measured),
        mean_before_ms=_weighted(routes, "mean_before_ms"),
        mean_after_ms=_weighted(routes, "mean_after_ms"),
        queries_saved=_queries_saved(database),
        wrong=sum(known) if known else None,
        compared=verified.get("responses"),
    )


def _weighted(routes: Iterable[Mapping[str, Any]], name: str) -> float | None:
    """The mean over all requests of those routes that have the figure."""
    known = [(route[name], route.get("requests", 0)) for route in routes if route.get(name) is not None]
    whole = sum(requests for _, requests in known)
    return sum(value * requests for value, requests in known) / whole if whole else None


def _queries_saved(database: Mapping[str, Any]) -> float | None:
    before, after = database.get("queries_before"), database.get("queries_after")
    return None if not before or after is None else 1 - after / before
