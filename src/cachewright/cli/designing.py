"""Designing with a replay as the judge: what `design` and `explain` share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from cachewright.design.planner import design
from cachewright.design.result import Design
from cachewright.evidence.trace import Trace
from cachewright.simulator.outcome import Outcome
from cachewright.simulator.replay import replay
from cachewright.spec.document import Document
from cachewright.spec.model import CachingSpecification
from cachewright.spec.target import compile_plan


def designed(trace: Trace, *, now: datetime, namespace: str | None = None) -> Design:
    """The design for a trace, every option scored by a replay of it."""
    return design(trace, now=now, namespace=namespace, score=scored_by(trace))


def scored_by(trace: Trace) -> Callable[[CachingSpecification], Outcome]:
    """What a specification would have done to the traffic of `trace`."""

    def score(spec: CachingSpecification) -> Outcome:
        return replay(trace, compile_plan(Document(spec=spec, positions={})))

    return score
