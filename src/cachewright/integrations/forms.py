"""Which target a route is, and in which form: at its door, or inside, behind its own dependencies."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from cachewright.capture.routes import Route
from cachewright.integrations.inside import dependants, hook_fastapi, target_named_by
from cachewright.integrations.principals import rest_of
from cachewright.spec.target import Plan, Target

_log = logging.getLogger("cachewright")


@dataclass(frozen=True, slots=True)
class Formed:
    """A target, and whether it is answered where the endpoint would be called."""

    target: Target
    inside: bool


class Forms:
    """The forms of a plan's targets.

    The code of a route may name its target. Else it is the one that the specification has for its path; it is
    answered inside where the specification says so, and where only a dependency tells who asks.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[tuple[Route, str], Formed | None] = {}

    def of(self, route: Route, method: str) -> Formed | None:
        """The target that `route` is for requests of `method`, None where it is not cached."""
        place = (route, method)
        if place not in self._known:
            formed = self._known[place] = self._look(route, method)
            if formed is not None and (formed.inside or formed.target.authorization == "target"):
                hook_fastapi()
        return self._known[place]

    def _look(self, route: Route, method: str) -> Formed | None:
        plan, name = self._plan, target_named_by(route, method)
        if name is not None:
            named = next((t for t in plan.targets.values() if name in (t.name, t.endpoint)), None)
            if named is None:
                _log.warning("%s names the target %r, which the specification lacks", route.template, name)
            target, inside = named, True
        else:
            target, inside = plan.targets.get((method, route.template)), False
        if target is None:
            return None
        if plan.asks_dependencies(target) and asks_twice(route, plan.identity.values()):
            _log.warning("%s is not cached: it asks anew who it is that asks (use_cache=False)", target.name)
            return None
        solved = getattr(route.holder, "dependant", None) is not None
        inside = inside or (solved and (target.inside or plan.asks_dependencies(target)))
        return Formed(target, inside=inside)


def asks_twice(route: Route, sources: Collection[str]) -> bool:
    """Whether a dependency that tells who asks is called several times for a request.

    It may say something else each time, and only one of its words is known.
    """
    asked: Counter[Any] = Counter()
    anew: set[Any] = set()
    for dependant in dependants(route):
        if any(rest_of(source, dependant.call) is not None for source in sources):
            asked[dependant.call] += 1
            if not dependant.use_cache:
                anew.add(dependant.call)
    return any(asked[call] > 1 for call in anew)
