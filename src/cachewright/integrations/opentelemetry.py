"""The figures of this process as instruments of OpenTelemetry.

Attributes are targets with their scope, tiers and reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

Figures = Callable[[], Mapping[str, Any]]
Observe = Callable[["CallbackOptions"], Iterable["Observation"]]


def observe(meter: Meter, figures: Figures) -> None:
    """Put this process's figures (`Installed.figures`) on `meter`: they are read when it is."""
    for name, words, attribute, place in (
        ("cachewright.hits", "Lookups that were served.", "tier", "hits"),
        ("cachewright.misses", "Lookups that were not served.", "reason", "misses"),
        ("cachewright.bypassed", "Requests that were not looked up.", "reason", "bypassed"),
        ("cachewright.refused_fills", "Loads that were not stored.", "reason", "refused"),
    ):
        meter.create_observable_counter(name, [_by(figures, place, attribute)], description=words)
    for name, words, place in (
        ("cachewright.hit.time", "Time of hits.", "hit_seconds"),
        ("cachewright.load.time", "Time of loads after misses.", "load_seconds"),
    ):
        meter.create_observable_counter(name, [_seconds(figures, place)], unit="s", description=words)
    for place, words in (
        ("errors", "Exchanges with the store that failed."),
        ("invalidations", "Invalidations."),
        ("evictions", "Entries that left memory for want of room."),
        ("expiries", "Entries that left memory because their life was over."),
        ("denied", "Accesses to what is somebody else's."),
    ):
        meter.create_observable_counter(f"cachewright.{place}", [_counter(figures, place)], description=words)
    meter.create_observable_gauge(
        "cachewright.memory", [_gauge(figures, "bytes")], unit="By", description="Bytes held in memory."
    )
    meter.create_observable_gauge(
        "cachewright.memory.items", [_gauge(figures, "items")], description="Entries held in memory."
    )


def _of_targets(figures: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], dict[str, str]]]:
    """What was counted for each target, and its attributes; what is no target of the specification has no scope."""
    scopes = figures.get("scopes", {})
    for target, own in figures["targets"].items():
        yield own, {"target": target, **({"scope": scopes[target]} if target in scopes else {})}


def _by(figures: Figures, place: str, attribute: str) -> Observe:
    def read(_options: CallbackOptions) -> Iterator[Observation]:
        from opentelemetry.metrics import Observation

        for own, attributes in _of_targets(figures()):
            for value, count in own[place].items():
                yield Observation(count, {**attributes, attribute: value})

    return read


def _seconds(figures: Figures, place: str) -> Observe:
    def read(_options: CallbackOptions) -> Iterator[Observation]:
        from opentelemetry.metrics import Observation

        for own, attributes in _of_targets(figures()):
            yield Observation(own[place]["seconds"], attributes)

    return read


def _counter(figures: Figures, place: str) -> Observe:
    def read(_options: CallbackOptions) -> Iterator[Observation]:
        from opentelemetry.metrics import Observation

        yield Observation(figures()["cache"][place])

    return read


def _gauge(figures: Figures, place: str) -> Observe:
    def read(_options: CallbackOptions) -> Iterator[Observation]:
        from opentelemetry.metrics import Observation

        yield Observation(figures()["gauges"][place])

    return read
