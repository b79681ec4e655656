"""Looking back at a specification that runs: what was measured against what was meant, and what to try next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cachewright.evidence.trace import Trace
from cachewright.jobs.designing import designed, scored_by
from cachewright.spec.difference import difference
from cachewright.spec.document import Document
from cachewright.spec.target import compile_plan

#: Fewer lookups than this say nothing.
LEAST = 100
_FALLEN = 0.15
#: Under this hit rate a cache is designed anew (#21); over this share of its room memory is full (#22).
LOW = 0.5
CROWDED = 0.8
_CROWDED = 0.1


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to look at: of what, what was seen, and what to try."""

    subject: str
    seen: str
    try_this: str

    def to_json(self) -> dict[str, str]:
        """The advice by its public names."""
        return {"subject": self.subject, "seen": self.seen, "try": self.try_this}


def review(
    document: Document, *, stats: Mapping[str, Any] | None, trace: Trace | None, now: Any
) -> dict[str, Any]:
    """What was measured (`stats` of a running application), what a recording forecasts, and what to change.

    Unknown figures are null. `revision` is what a design from `trace` would change.
    """
    forecast = None if trace is None else scored_by(trace)(document.spec).to_json()
    advice = [*_of_stats(document, stats or {}), *_of_drift(document, stats or {})]
    found: dict[str, Any] = {
        "measured": _measured(stats),
        "goal": {"hit_rate": document.spec.metrics.performance.hit_rate},
        "forecast": forecast,
        "advice": [each.to_json() for each in advice],
        "revision": None,
    }
    if trace is not None:
        new = designed(trace, now=now, namespace=document.spec.namespace)
        found["revision"] = difference(document, Document(spec=new.spec, positions={})).to_json()
    return found


def _measured(stats: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if stats is None:
        return None
    performance = _mapping(_mapping(stats.get("metrics")).get("performance"))
    targets = {name: _rate(_mapping(own)) for name, own in _mapping(stats.get("targets")).items()}
    return {"hit_rate": performance.get("hit_rate"), "targets": targets}


def _of_stats(document: Document, stats: Mapping[str, Any]) -> Iterator[Advice]:
    measured = _mapping(stats.get("targets"))
    for target in compile_plan(document).targets.values():
        own = _mapping(measured.get(target.name))
        rate, looked = _rate(own), _sum(own.get("hits")) + _sum(own.get("misses"))
        refused = _mapping(own.get("refused"))
        if rate is not None and looked >= LEAST and refused and _sum(refused) > looked / 2:
            reason = max(refused, key=lambda name: _number(refused[name]))
            words = f"{_sum(refused):g} of {looked:g} lookups loaded what was not kept, mostly: {reason}"
            yield Advice(
                target.name, words, "cachewright check --trace tells what the key or depends_on lacks"
            )
        elif rate is not None and looked >= LEAST and rate == 0:
            yield Advice(
                target.name, f"no hit in {looked:g} lookups", "take it out, or record and design anew"
            )
    counters = _mapping(stats.get("counters"))
    fills = sum(_number(_mapping(own).get("fills")) for own in measured.values())
    evictions = _number(counters.get("evictions"))
    if fills and evictions > fills * _CROWDED:
        words = f"{evictions:g} of {fills:g} entries left memory for want of room"
        yield Advice("memory", words, "raise eviction_policy.max_memory_bytes, or cache less")
    if wrong := _number(counters.get("wrong")):
        yield Advice("answers", f"{wrong:g} audited hits were wrong", "switch the target off, then record it")


def _of_drift(document: Document, stats: Mapping[str, Any]) -> Iterator[Advice]:
    goal = document.spec.metrics.performance.hit_rate
    counted = _mapping(stats.get("targets")).values()
    looked = sum(_sum(_mapping(own).get(kind)) for own in counted for kind in ("hits", "misses"))
    rate = _mapping(_mapping(stats.get("metrics")).get("performance")).get("hit_rate")
    if goal is not None and isinstance(rate, (int, float)) and rate < goal - _FALLEN:
        words = f"the hit rate is {rate:.0%}, {goal:.0%} was meant"
        yield Advice("hit rate", words, "traffic or data have changed: record again and design anew")
    elif isinstance(rate, (int, float)) and rate < LOW and looked >= LEAST:
        words = f"the hit rate is {rate:.0%}, under one half, over {looked:g} lookups"
        yield Advice("hit rate", words, "record again, design anew, and take out what does not pay")
    size = _mapping(_mapping(stats.get("metrics")).get("cache_size"))
    used, most = _number(size.get("memory_used_bytes")), _number(size.get("max_memory_bytes"))
    if most and used > CROWDED * most:
        words = f"{used:g} of {most:g} bytes are in use, {used / most:.0%}"
        try_this = "cachewright design --from SPEC, with these figures as `observed`; or give it more room"
        yield Advice("memory", words, try_this)


def _rate(own: Mapping[str, Any]) -> float | None:
    hits, misses = _sum(own.get("hits")), _sum(own.get("misses"))
    return hits / (hits + misses) if hits + misses else None


def _sum(value: Any) -> float:
    return sum(map(_number, value.values())) if isinstance(value, Mapping) else _number(value)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
