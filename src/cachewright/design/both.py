"""From a recording and a written request: the recording says what is so, the request what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from cachewright.design.budget import Budget
from cachewright.design.forecast import ALARM
from cachewright.design.planner import Score, design
from cachewright.design.result import Decision, Design, NotCached
from cachewright.design.written import assembly
from cachewright.design.written.planner import design_written
from cachewright.design.written.vetoes import forbids
from cachewright.evidence.trace import Trace
from cachewright.request.backend import Backend
from cachewright.request.model import AskedTarget, Inputs
from cachewright.request.reading import RequestDocument
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.strategy import StrategyOverride


def design_both(
    trace: Trace,
    document: RequestDocument,
    backend: Backend,
    *,
    now: datetime,
    namespace: str | None = None,
    score: Score,
    budget: Budget | None = None,
) -> Design:
    """Design the endpoints that `trace` saw from it, the rest of the request from its words.

    What the request names is refused only for reasons of safety, and what it says of lifetimes, levels and
    sections counts. Raises `RequestError`.
    """
    inputs = document.inputs
    wanted = {assembly.subject_of(asked): asked for asked in inputs.cache_targets}
    traced = design(trace, now=now, namespace=namespace, score=score, asked=wanted.keys(), budget=budget)
    seen = {target.subject for target in traced.spec.cache_targets}
    seen |= {no.endpoint for no in traced.not_cached if no.figures.get("requests") != 0}
    written = design_written(document, backend, now=now, namespace=namespace, seen=seen)
    if (rule := forbids(backend, "caching")) is not None:
        text = f'The project forbids caching: "{rule.quote}" ({rule.source}).'
        no = tuple(NotCached(target.subject, "forbidden", text) for target in traced.spec.cache_targets)
        return replace(
            written, not_cached=(*no, *traced.not_cached, *written.not_cached), findings=traced.findings
        )
    decisions: list[Decision] = []
    targets = [
        _as_wanted(target, wanted.get(target.subject), inputs, decisions)
        for target in traced.spec.cache_targets
    ]
    spec = assembly.completed(
        document, written.spec, traced.spec, (*targets, *written.spec.cache_targets), trace.schema
    )
    known = {*(target.subject for target in spec.cache_targets), *seen}
    return replace(
        traced,
        spec=spec,
        decisions=(
            *(made for made in traced.decisions if made.subject != ALARM or inputs.alerts is None),
            *decisions,
            *written.decisions,
        ),
        assumptions=_once(traced.assumptions, written.assumptions),
        clarifications_needed=_once(traced.clarifications_needed, written.clarifications_needed),
        not_cached=(
            *(no for no in traced.not_cached if no.endpoint in seen or no.endpoint not in known),
            *written.not_cached,
        ),
        warnings=_once(written.warnings, traced.warnings),
        sources=_once(traced.sources, written.sources),
        hit_rates={**traced.hit_rates, **written.hit_rates},
    )


def _as_wanted(
    target: CacheTarget, asked: AskedTarget | None, inputs: Inputs, decisions: list[Decision]
) -> CacheTarget:
    """A target of the recording with what the request says of it: lifetime, strategy, levels, warming."""
    said: dict[str, object] = {}
    general = assembly.general_ttl(inputs)
    strategy: Mapping[str, object] = {}
    if target.strategy is not None and general is None:
        strategy = target.strategy.model_dump()
    if asked is not None and asked.strategy is not None:
        strategy = {**strategy, **asked.strategy.model_dump()}
    if asked is not None and asked.ttl_seconds is not None:
        strategy = {**strategy, "ttl": {"duration_seconds": asked.ttl_seconds}}
    said["strategy"] = StrategyOverride.model_validate(strategy).model_dump() if strategy else None
    if asked is not None:
        for name in asked.model_fields_set & _TAKEN_OVER:
            said[name] = getattr(asked, name)
    pattern = target.cache_key_pattern or ""
    tenants = inputs.multi_tenant is not None and inputs.multi_tenant.enabled
    if tenants and target.scope != "public" and "{tenant_id}" not in pattern:
        said["cache_key_pattern"] = f"tenant:{{tenant_id}}:{pattern}"
    changed = target.model_dump() | said
    if asked is not None and said != {"strategy": None}:
        decisions.append(
            Decision(target.subject, f"as asked for: {', '.join(sorted(said))}", "The request says so.")
        )
    return CacheTarget.model_validate(changed)


#: What a request may say of an endpoint that a recording knows better otherwise.
_TAKEN_OVER = frozenset({"levels", "mode", "percent", "single_flight", "refresh", "role", "cache_type"})


def _once(*parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for part in parts for text in part))
