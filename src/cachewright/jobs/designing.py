"""Designing with a replay as the judge, or from a written request: what `design` and `explain` share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cachewright.design.ahead import with_warming_ahead
from cachewright.design.budget import Budget
from cachewright.design.planner import design
from cachewright.design.result import Design
from cachewright.evidence.trace import Trace
from cachewright.simulator.outcome import Outcome
from cachewright.simulator.replay import replay
from cachewright.spec.document import Document
from cachewright.spec.model import CachingSpecification
from cachewright.spec.target import compile_plan

if TYPE_CHECKING:
    from cachewright.design.written.revision import Revision
    from cachewright.request.backend import Backend
    from cachewright.request.reading import RequestDocument

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Asked:
    """A written request with what the documents say of the backend."""

    document: RequestDocument
    backend: Backend


def asked(request: Path | None, project: Path | None) -> Asked:
    """Read the request (`-` is stdin; None asks for everything in `project`). Raises `RequestError`."""
    from cachewright.spec.document import MAX_BYTES, decoded, read_text

    if request is None:
        return asked_in("inputs: {}", str(project), base=Path(), project=project)
    if str(request) == STDIN:
        text = decoded(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>")
        return asked_in(text, "<stdin>", base=Path(), project=project)
    return asked_in(read_text(request), str(request), base=request.parent, project=project)


def asked_in(text: str, name: str, *, base: Path, project: Path | None) -> Asked:
    """Read a request from its text; files that it names are looked for below `project`, else below `base`.

    Raises `RequestError`.
    """
    from cachewright.request.documents import backend_of
    from cachewright.request.reading import loads_request

    document = loads_request(text, name)
    return Asked(document, backend_of(document.inputs, base=base, project=project))


def designed(
    trace: Trace | None,
    *,
    now: datetime,
    namespace: str | None = None,
    wanted: Asked | None = None,
    budget: Budget | None = None,
    ahead: bool = False,
) -> Design:
    """The design for a trace, every option scored by a replay of it; for a request; or for both.

    With `ahead` what the trace shows to follow is loaded ahead.
    """
    if trace is None:
        assert wanted is not None
        from cachewright.design.written.planner import design_written

        return design_written(wanted.document, wanted.backend, now=now, namespace=namespace)
    score = scored_by(trace)
    if wanted is not None:
        from cachewright.design.both import design_both

        found = design_both(
            trace, wanted.document, wanted.backend, now=now, namespace=namespace, score=score, budget=budget
        )
    else:
        found = design(trace, now=now, namespace=namespace, score=score, budget=budget)
    return with_warming_ahead(found, trace) if ahead else found


def revised(standing: Document, wanted: Asked, *, now: datetime) -> Revision:
    """A specification that stands, changed as a request says. Raises `RequestError`."""
    from cachewright.design.written.revision import revise

    return revise(wanted.document, wanted.backend, standing, now=now)


def scored_by(trace: Trace) -> Callable[[CachingSpecification], Outcome]:
    """What a specification would have done to the traffic of `trace`."""

    def score(spec: CachingSpecification) -> Outcome:
        return replay(trace, compile_plan(Document(spec=spec, positions={})))

    return score
