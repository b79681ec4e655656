"""A choice under way: what is still in, and what was found for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cachewright.analysis.study import Profile, Study
from cachewright.design.budget import Budget
from cachewright.design.result import NotCached
from cachewright.simulator.outcome import RouteOutcome
from cachewright.simulator.shapes import Shape

#: How long entries live (s) where nothing speaks for longer or shorter.
DEFAULT_TTL = 300


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The profiles that are still in, the lives and the room (bytes) of their entries, the reasons of the others.

    `tolerated` are those whose answers may be out of date for their life.
    """

    found: Study
    namespace: str
    now: datetime
    judged: Mapping[str, Profile] = field(default_factory=dict)
    chosen: tuple[Profile, ...] = ()
    refused: Mapping[str, NotCached] = field(default_factory=dict)
    outcomes: Mapping[str, RouteOutcome] = field(default_factory=dict)
    lives: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    rooms: Mapping[str, int] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    tolerated: frozenset[str] = frozenset()

    def share_tolerated(self, subject: str) -> float | None:
        """The share of hits of this target that may be out of date, None where none may."""
        return self.budget.stale if subject in self.tolerated else None
