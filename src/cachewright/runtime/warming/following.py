"""What clients ask for next, as a specification says it: which request follows which, and when."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cachewright.spec.semantics import Scope
from cachewright.spec.target import Plan, Target
from cachewright.spec.warming import PREDICTIVE, CacheWarming

_PARAMETER = re.compile(r"\{(\w+)\}")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Following:
    """A target that is asked for after another request: with which parameters, and at which hours (UTC; none: all)."""

    target: Target
    params: tuple[tuple[str, Any], ...]
    hours: frozenset[int]

    def given(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The parameters of the load after a request with these `values`, None where it lacks one."""
        found = {name: _of(value, values) for name, value in self.params}
        return None if _MISSING in found.values() else found


def _of(value: Any, values: Mapping[str, Any]) -> Any:
    named = _PARAMETER.fullmatch(value) if isinstance(value, str) else None
    if named is None:
        return value
    name = named[1]
    return values.get(f"path.{name}", values.get(f"query.{name}", _MISSING))


class Followings:
    """What follows each endpoint, as far as it may be loaded ahead."""

    def __init__(self, warming: CacheWarming, plan: Plan) -> None:
        self._after: dict[tuple[str, str], list[Following]] = {}
        if not warming.enabled:
            return
        for one in warming.predictive.transitions:
            target = _named(plan, one.load)
            if target is None or not _may(target, warming):
                continue
            method, _, path = one.after.partition(" ")
            following = Following(target, tuple(one.params.items()), frozenset(one.hours))
            self._after.setdefault((method, path), []).append(following)

    @property
    def targets(self) -> frozenset[str]:
        """The names of all targets that are predicted."""
        return frozenset(one.target.name for several in self._after.values() for one in several)

    def known(self, method: str, template: str) -> bool:
        """Whether anything follows this endpoint."""
        return (method, template) in self._after

    def after(
        self, method: str, template: str, values: Mapping[str, Any], now: float
    ) -> Iterator[tuple[Target, dict[str, Any]]]:
        """What is likely to be asked for after a request with these `values`, at `now` (wall s)."""
        hour = datetime.fromtimestamp(now, UTC).hour
        for one in self._after.get((method, template), ()):
            if one.hours and hour not in one.hours:
                continue
            given = one.given(values)
            if given is not None:
                yield one.target, given


def _named(plan: Plan, name: str) -> Target | None:
    return next((one for one in plan.targets.values() if name in (one.name, one.endpoint)), None)


def _may(target: Target, warming: CacheWarming) -> bool:
    """Whether the specification lets this target be predicted."""
    if target.scope is not Scope.PUBLIC and not warming.predictive.user_based:
        return False
    patterns = warming.predictive.cache_keys
    if patterns and target.key.source not in patterns:
        return False
    named = {name for one in warming.strategies if one.type == PREDICTIVE for name in one.warmup_queries}
    return target.problem is None and (not named or bool(named & {target.name, target.endpoint}))
