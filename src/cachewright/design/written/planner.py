"""From a written request to a specification: no trace, so every figure is one that was said, and the rest assumed.

Same request, same documents, same time, same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cachewright.design.result import Decision, Design, NotCached
from cachewright.design.written import assembly
from cachewright.design.written.choices import (
    Said,
    bound_of,
    depends_on,
    levels_of,
    lifetime_of,
    role_of,
    scope_of,
    staleness_of,
)
from cachewright.design.written.facts import Known, change_interval, known
from cachewright.design.written.keys import Keyed, Scoped, given_pattern, key_patterns
from cachewright.design.written.observed import relieved
from cachewright.design.written.remarks import remark
from cachewright.design.written.vetoes import doubt, forbids, moment_parameters, veto
from cachewright.design.written.worth import categories_of, granularity_of, limits_met, value_of
from cachewright.errors import RequestError, SpecError
from cachewright.request.backend import Backend
from cachewright.request.model import AskedTarget, Inputs
from cachewright.request.reading import RequestDocument
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.document import Document
from cachewright.spec.keys import KeyPatternError
from cachewright.spec.model import CachingSpecification
from cachewright.spec.strategy import StrategyOverride, TtlOverride
from cachewright.spec.target import compile_plan

GENERATOR = "cachewright design"
DEFAULT_TTL = 300


@dataclass(frozen=True, slots=True)
class _Settled:
    """Which targets are designed, and which are not."""

    kept: tuple[Known, ...]
    refused: tuple[NotCached, ...]


def design_written(
    document: RequestDocument,
    backend: Backend,
    *,
    now: datetime,
    namespace: str | None = None,
    seen: Collection[str] = (),
) -> Design:
    """Design what a request asks for, with what documents say of the backend.

    Endpoints that were `seen` by a recording are left to it. Raises `RequestError`.
    """
    inputs, said = document.inputs, Said()
    settled = _settle(inputs, backend, said, seen)
    for target in settled.kept:
        _pattern_is_readable(document, target)
    rates: dict[str, float] = {}
    targets = _targets(document, settled.kept, backend, said, rates)
    spec = assembly.specification(document, targets, backend, now=now, generator=GENERATOR)
    strategy = relieved(spec.cache_strategy, inputs, said)
    spec = spec.model_copy(update={"cache_strategy": strategy, "namespace": namespace or spec.namespace})
    executable(document, spec)
    remark(document, backend, settled.kept, said, spec)
    return Design(
        spec=spec,
        decisions=tuple(said.decisions),
        assumptions=tuple(dict.fromkeys(said.assumptions)),
        clarifications_needed=tuple(dict.fromkeys(said.questions)),
        not_cached=settled.refused,
        warnings=tuple(dict.fromkeys(said.warnings)),
        sources=assembly.sources(document, backend),
        hit_rates=rates,
    )


def _settle(inputs: Inputs, backend: Backend, said: Said, seen: Collection[str]) -> _Settled:
    kept, refused = [], []
    for target in _wanted(inputs, backend):
        if target.subject in seen:
            continue
        no = veto(target, backend)
        mild = None if no is not None else doubt(target, inputs.database_load)
        if no is None and mild is not None and target.named:
            said.warnings.append(
                f"{target.subject}: {mild.reason} It is designed because it was asked for by name."
            )
        elif no is None:
            no = mild
        if no is None:
            kept.append(target)
        else:
            refused.append(no)
    return _Settled(tuple(kept), tuple(refused))


def _wanted(inputs: Inputs, backend: Backend) -> Iterable[Known]:
    """The targets that were asked for, else all endpoints that the documents know."""
    if inputs.cache_targets:
        return [known(asked, index, backend, named=True) for index, asked in enumerate(inputs.cache_targets)]
    return [
        known(AskedTarget(endpoint=endpoint.subject), index, backend, named=False)
        for index, endpoint in enumerate(backend.places)
    ]


def _pattern_is_readable(document: RequestDocument, target: Known) -> None:
    try:
        given_pattern(target, document.inputs.cache_keys)
    except KeyPatternError as error:
        raise document.error(
            f"cache_key_pattern: {error}",
            ("inputs", "cache_targets", target.index, "cache_key_pattern"),
            hint="for example `user:{user_id}:tasks:page={page}`",
        ) from None


def _targets(
    document: RequestDocument, kept: Sequence[Known], backend: Backend, said: Said, rates: dict[str, float]
) -> tuple[CacheTarget, ...]:
    inputs = document.inputs
    tenants = inputs.multi_tenant is not None and inputs.multi_tenant.enabled
    scoped = [Scoped(target, scope_of(target, inputs, said), tenants) for target in kept]
    found = []
    for one, keyed in zip(scoped, key_patterns(scoped, inputs.cache_keys), strict=True):
        with assembly.blaming(document, ("inputs", "cache_targets", one.target.index)):
            found.append(_target(one, keyed, inputs, backend, said=said, rates=rates))
    return tuple(found)


def _target(
    one: Scoped, keyed: Keyed, inputs: Inputs, backend: Backend, *, said: Said, rates: dict[str, float]
) -> CacheTarget:
    target, subject = one.target, one.target.subject
    rule = forbids(backend, "redis")
    said.decisions.append(Decision(subject, f"cache_key_pattern: {keyed.pattern}", keyed.reason))
    ttl = lifetime_of(target, inputs, said)
    quote = None if rule is None else f'"{rule.quote}" ({rule.source}).'
    levels = levels_of(target, inputs, said, redis=quote)
    tags = depends_on(target, one.scope, backend, said)
    moments = moment_parameters(target)
    bypass = (*target.asked.bypass_when, *(f"query.{name} present" for name in moments))
    if moments:
        reason = "Its values may mean a moment, after which the answer is another one."
        said.decisions.append(Decision(subject, f"bypass_when: {', '.join(bypass)}", reason))
    if (share := value_of(target, _seconds(ttl, inputs), inputs.database_load, said)) is not None:
        rates[subject] = round(share, 4)
    categories_of(target, said)
    granularity_of(target, tags, said)
    said.warnings.extend(limits_met(target, backend))
    text = target.asked.update_frequency
    if text is not None and change_interval(text) is None:
        said.warnings.append(
            f"{subject}: update_frequency {text!r} is kept as it is; it says no figure, such as `5/min` or `hourly`."
        )
    fields = target.asked.model_dump()
    own = {name: fields[name] for name in fields if name in CacheTarget.model_fields}
    kind = target.asked.cache_type
    if kind == "redis" and rule is not None:
        kind = "in_memory"
    if (
        kind is None
        and target.operations is not None
        and target.operations.complexity != "low"
        and rule is None
    ):
        kind = "database_query_cache"
    measured = target.operations.complexity if target.operations is not None else None
    return CacheTarget.model_validate(
        {
            **own,
            "endpoint": subject if target.asked.endpoint is not None else None,
            "cache_key_pattern": keyed.pattern,
            "cache_type": kind,
            "complexity": target.asked.complexity or measured,
            "name": target.asked.name
            or (subject if target.asked.endpoint is not None else target.asked.name),
            "scope": one.scope,
            "shared": None,
            "levels": levels,
            "role": role_of(target, levels),
            "strategy": _override(target, ttl, bound_of(target, keyed.pattern, inputs, said), inputs),
            "depends_on": tags,
            "max_staleness_seconds": target.asked.max_staleness_seconds
            or staleness_of(target, tags, _seconds(ttl, inputs), said),
            "bypass_when": bypass,
        }
    )


def _override(
    target: Known, ttl: TtlOverride | None, bound: int | None, inputs: Inputs
) -> dict[str, Any] | None:
    """What the target says differently from the whole specification's strategy."""
    own = {} if target.asked.strategy is None else target.asked.strategy.model_dump()
    if bound is not None:
        own["eviction_policy"] = {**(own.get("eviction_policy") or {}), "max_items": bound}
    said = None if ttl is None else ttl.model_dump()
    if said == {"duration_seconds": DEFAULT_TTL} and assembly.general_ttl(inputs) is None:
        said = None
    if said is not None:
        own["ttl"] = said
    return StrategyOverride.model_validate(own).model_dump() if own else None


def _seconds(ttl: TtlOverride | None, inputs: Inputs) -> int | None:
    general = assembly.general_ttl(inputs)
    if ttl is not None and "duration_seconds" in ttl.model_fields_set:
        return ttl.duration_seconds
    return general.duration_seconds if general is not None else DEFAULT_TTL


def executable(document: RequestDocument, spec: CachingSpecification) -> None:
    """Refuse what could not be executed: patterns and tags that the request gave."""
    try:
        compile_plan(Document(spec=spec, positions={}))
    except SpecError as error:
        raise RequestError(
            f"the design cannot be executed: {error.detail}", path=document.path, hint=error.hint
        ) from None
