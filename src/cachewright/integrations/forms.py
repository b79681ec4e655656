"""Which target a route is, and in which form: at its door, or inside, behind its own dependencies."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cachewright.capture.routes import Route
from cachewright.integrations.inside import hook_fastapi, target_named_by
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
            return None if named is None else Formed(named, inside=True)
        target = plan.targets.get((method, route.template))
        if target is None:
            return None
        solved = getattr(route.holder, "dependant", None) is not None
        return Formed(target, inside=solved and (target.inside or plan.asks_dependencies(target)))
