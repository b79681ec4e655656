"""When an alarm is raised, and when it ends: rules without clock or I/O, stepped from reading to reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["warning", "critical"]
#: What a figure is: a number of things, a share from 0 to 1, milliseconds, seconds.
Unit = Literal["", "share", "ms", "s"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How the cache did lately; what is not known is None.

    `at` is the time (s, of any clock that never goes back), `lookups` counts since the start of the process. All
    else is of the last minute: `recent` lookups, accesses to what is somebody else's (`denied`), hits that an audit
    found to be `wrong`. `memory_share` is of the limit, all of it where the server refuses for want of room;
    `hit_rate_off` is how far the hit rate lies under its forecast, from 0 to 1; `pending` invalidations wait for their
    delivery. For `away` seconds the store has not answered, or word of invalidations has not come.
    """

    at: float
    lookups: int = 0
    recent: int = 0
    hit_rate: float | None = None
    memory_share: float | None = None
    operation_ms: float | None = None
    away: float = 0.0
    pending: int = 0
    denied: int = 0
    wrong: int = 0
    hit_rate_off: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alarm: it is raised once `measure` has been beyond `threshold` for `for_seconds`.

    `below` says on which side beyond is. At the threshold itself nothing is raised. Fewer than `min_requests`
    lookups in that time (in the last minute where it has no length) raise nothing, nor does anything in the first
    `grace` seconds of a process. A raised alarm ends when the figure is back by `margin`, so that one that sways
    about its threshold is raised once.
    """

    name: str
    severity: Severity
    measure: Callable[[Reading], float | None]
    threshold: float
    unit: Unit = ""
    below: bool = False
    for_seconds: float = 0.0
    min_requests: int = 0
    grace: float = 0.0
    margin: float = 0.0
    actions: tuple[str, ...] = ("warn",)

    def beyond(self, value: float) -> bool:
        """Whether `value` is one to raise an alarm for."""
        return value < self.threshold if self.below else value > self.threshold

    def back(self, value: float) -> bool:
        """Whether `value` ends an alarm that was raised."""
        if self.below:
            return value >= self.threshold + self.margin
        return value <= self.threshold - self.margin


@dataclass(frozen=True, slots=True)
class State:
    """How a rule stands: since when its figure is beyond the threshold, how many lookups there were then."""

    since: float | None = None
    lookups: int = 0
    raised: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm that was raised (or, where `raised` is false, ended) at `at`, with the figure that did it."""

    rule: Rule
    raised: bool
    value: float
    at: float


CALM = State()


def step(rule: Rule, state: State, reading: Reading, *, age: float) -> tuple[State, Change | None]:
    """How `rule` stands after `reading`, and what changed by it. `age` is that of the process (s).

    A figure that is not known raises nothing and ends nothing.
    """
    value = rule.measure(reading)
    if value is None or age < rule.grace:
        return (state if state.raised else CALM), None
    if state.raised:
        return (CALM, Change(rule, False, value, reading.at)) if rule.back(value) else (state, None)
    if not rule.beyond(value):
        return CALM, None
    if state.since is None:
        state = State(reading.at, reading.lookups)
    since = reading.at if state.since is None else state.since
    lasted = reading.at - since >= rule.for_seconds
    asked = reading.lookups - state.lookups if rule.for_seconds else reading.recent
    if lasted and asked >= rule.min_requests:
        return replace(state, raised=True), Change(rule, True, value, reading.at)
    return state, None
