"""What every request to a cached application is answered with, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cachewright.capture.context import RequestContext
from cachewright.integrations.binding import Binder
from cachewright.integrations.dressing import Dressing
from cachewright.integrations.visits import Onlooker
from cachewright.integrations.writes import DatabaseEyes
from cachewright.runtime.engine import Engine
from cachewright.runtime.switches import Switches
from cachewright.spec.semantics import Reason, Token
from cachewright.spec.target import Plan

#: A scope may carry a list under this key; what became of the request is appended to it.
OUTCOMES = "cachewright.outcomes"
#: A scope with this key belongs to a request that nobody sent: it warms. It is counted apart from those of users.
WARMING = "cachewright.warming"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request to a cached route.

    `refused` says why its load was not filled, or, where the specification is taken at its word, what the guards
    would have refused. `tokens` are those its tags carried when it was looked up. `stored` says that its load was
    filled: one that nothing refused is not where its tags were held, or changed meanwhile.
    """

    target: str
    key: str
    tokens: Mapping[str, Token]
    hit: bool
    reason: Reason | None
    refused: tuple[Reason, ...] = ()
    unkeyed: tuple[str, ...] = ()
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """What every exchange of one application works with.

    `at_its_word` takes the specification at its word: guards are reported but refuse nothing (`verify`).
    `wall` tells wall seconds, `clock` monotonic ns, `dice` a number in [0, 1). `loading` holds the
    requests whose load is under way. `dressing` puts headers of the cache's own on answers, where there are any.
    `onlooker` is told what users ask for, where anybody wants to know.
    """

    plan: Plan
    cache: Engine
    binder: Binder
    eyes: DatabaseEyes
    wall: Callable[[], float]
    clock: Callable[[], int]
    dice: Callable[[], float]
    at_its_word: bool = False
    loading: set[RequestContext] = field(default_factory=set)
    switches: Switches | None = None
    dressing: Dressing | None = None
    onlooker: Onlooker | None = None

    def is_off(self, target: str) -> bool:
        """Whether somebody, or an alarm, has turned the target off for now."""
        return self.switches is not None and self.switches.is_off(target)


def taint(loading: set[RequestContext]) -> None:
    """SQL ran that belongs to no request: whatever is being loaded now may rest on it."""
    for context in tuple(loading):
        context.escaped = True
