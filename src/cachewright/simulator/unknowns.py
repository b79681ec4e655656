"""Figures that a source cannot give: null, never zero."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_WRONG = ("wrong_answers", "undecided", "foreign_answers", "wrong_share")
_LATENCIES = tuple(f"{name}_{when}_ms" for name in ("mean", "p50", "p95") for when in ("before", "after"))
_DATABASE = ("queries_before", "queries_after", "time_before_ms", "time_after_ms")
_RATES = (
    "hit_rate",
    "hit_rate_low",
    "hit_rate_high",
    "hit_rate_predicted",
    "hits",
    "hits_from_memory",
    "bytes",
)
#: What hides behind what a trace does not know (`Trace.unknown`).
_HIDDEN: Mapping[str, tuple[str, ...]] = {
    "digests": _WRONG,
    "durations": _LATENCIES,
    "sql": _DATABASE,
    "times": _RATES,
}


def known_only(forecast: Mapping[str, Any], unknown: Collection[str]) -> dict[str, Any]:
    """A forecast (`Outcome.to_json()`) with null for each figure that rests on what the trace does not know."""
    hidden = {name for lacking in unknown for name in _HIDDEN.get(lacking, ())}
    return {name: _known(name, value, hidden) for name, value in forecast.items()} | (
        {"unknown": sorted(unknown)} if unknown else {}
    )


def _known(name: str, value: Any, hidden: Collection[str]) -> Any:
    if name in hidden:
        return None
    if isinstance(value, dict):
        return {inner: _known(inner, each, hidden) for inner, each in value.items()}
    if isinstance(value, list):
        return [_known("", each, hidden) for each in value]
    return value
