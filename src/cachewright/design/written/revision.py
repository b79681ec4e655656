"""A specification that stands, changed as a request says. What the request leaves out stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cachewright.design.hierarchy import LIFETIMES
from cachewright.design.patterns import meet
from cachewright.design.result import Design, NotCached
from cachewright.design.written import assembly
from cachewright.design.written.choices import Said
from cachewright.design.written.facts import known
from cachewright.design.written.observed import relieved
from cachewright.design.written.planner import design_written, executable
from cachewright.design.written.vetoes import forbids, veto
from cachewright.request.backend import Backend
from cachewright.request.model import AskedStrategy, AskedTarget, AskedTenants, Inputs
from cachewright.request.reading import RequestDocument
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.difference import Difference, difference
from cachewright.spec.document import Document
from cachewright.spec.implementation import Implementation
from cachewright.spec.invalidation import Invalidation
from cachewright.spec.model import CachingSpecification
from cachewright.spec.overlay import given, overlaid
from cachewright.spec.rewriting import rewritten
from cachewright.spec.target import compile_plan

#: Sections of a request that say the same as those of a specification.
_SECTIONS = (
    "identity", "consistency", "cache_keys", "invalidation", "cache_warming", "metrics", "alerts", "multi_tenant",
    "multi_user", "configuration", "implementation",
)  # fmt: skip
#: What a request may say of a target that stands, and which of its fields follow from that.
_FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "ttl_seconds": ("strategy",),
    "volatility": ("strategy",),
    "parameters": ("cache_key_pattern",),
    "ignored_parameters": ("cache_key_pattern",),
    "resource_type": ("cache_key_pattern",),
    "scope": ("scope", "cache_key_pattern"),
    "cache_type": ("cache_type", "levels"),
    "data_kind": ("levels",),
}


@dataclass(frozen=True, slots=True)
class Revision:
    """The changed specification with its reasons, its text, and what changes for users.

    `kept` is false where comments and order of the old text could not be kept.
    """

    design: Design
    text: str
    kept: bool
    difference: Difference


def revise(document: RequestDocument, backend: Backend, standing: Document, *, now: datetime) -> Revision:
    """Change `standing` as the request says: targets that it names, and sections.

    Raises `RequestError`, and `SpecError` for a specification that cannot be executed.
    A target that stands keeps every field that the request does not speak of; one that does not is designed
    anew. Endpoints that documents know and the specification does not are named, not designed.
    """
    compile_plan(standing)  # what cannot be executed is its own fault, not the request's
    old, inputs, said = standing.spec, document.inputs, Said()
    before = {assembly.subject_of(target): target for target in old.cache_targets}
    planned = _planned(document, backend, old, before, now)
    targets, refused = _targets(inputs, backend, before, planned)
    fresh = [target for target in targets if before.get(assembly.subject_of(target)) != target]
    plain = overlaid(old.model_dump(), _said(inputs))
    with assembly.blaming(document, ("inputs",)):
        if inputs.namespace is not None:
            plain["namespace"] = inputs.namespace
        strategy = old.cache_strategy
        if inputs.cache_strategy is not None:
            strategy = strategy.overridden_by(assembly.written_out(inputs.cache_strategy))
        spec = CachingSpecification.model_validate(
            {**plain, "cache_targets": targets, "cache_strategy": relieved(strategy, inputs, said)}
        )
        spec = spec.model_copy(
            update={
                "implementation": _implementation(spec, fresh, {no.endpoint for no in refused}),
                "invalidation": _invalidation(spec.invalidation, old, fresh, backend),
                "cache_warming": assembly.warming(inputs, spec.cache_targets, spec.cache_warming),
            }
        )
        spec = _obedient(spec, backend)
    executable(document, spec)
    new = rewritten(standing, spec)
    found = difference(standing, Document(spec=spec, positions={}))
    design = _told(planned, spec, before, inputs, said)
    unassessed = tuple(_unassessed(backend, {*before, *map(assembly.subject_of, inputs.cache_targets)}))
    design = replace(
        design,
        not_cached=(*refused, *unassessed),
        warnings=(*design.warnings, *_vanished(backend, before)),
        sources=(f"specification {standing.path}", *design.sources),
    )
    return Revision(design, new.text, new.kept, found)


def _planned(
    document: RequestDocument,
    backend: Backend,
    old: CachingSpecification,
    before: Mapping[str, CacheTarget],
    now: datetime,
) -> Design:
    """The design of the targets that the request names, with what the specification already says of them."""
    inputs = document.inputs
    asked = tuple(_asked(target, before.get(assembly.subject_of(target))) for target in inputs.cache_targets)
    strategy = old.cache_strategy.model_dump(include={"pattern", "ttl", "eviction_policy", "compression"})
    if inputs.cache_strategy is not None:
        strategy = overlaid(strategy, given(assembly.written_out(inputs.cache_strategy)))
    with assembly.blaming(document, ("inputs",)):
        whole = inputs.model_copy(
            update={
                "cache_targets": asked,
                "cache_strategy": AskedStrategy.model_validate(strategy),
                "identity": type(old.identity).model_validate(
                    overlaid(old.identity.model_dump(), given(inputs.identity))
                ),
                "multi_tenant": AskedTenants.model_validate(
                    overlaid(old.multi_tenant.model_dump(), given(inputs.multi_tenant))
                ),
                "observed": None,
            }
        )
    request = document.request.model_copy(update={"inputs": whole})
    # without targets of its own a request would ask for every endpoint of the documents
    known_of = backend if asked else replace(backend, endpoints=())
    return design_written(replace(document, request=request), known_of, now=now)


def _asked(asked: AskedTarget, standing: CacheTarget | None) -> AskedTarget:
    """A target that is asked for, with what the one that stands says beside it."""
    if standing is None:
        return asked
    said = given(asked)
    own = standing.model_dump()
    if not {"levels"} & said.keys() and {"cache_type", "data_kind"} & said.keys():
        own.pop("levels", None)
    both = overlaid(own, said)
    if asked.volatility is not None and asked.ttl_seconds is None:
        lifetime = {"ttl": {"duration_seconds": LIFETIMES[asked.volatility]}}
        both["strategy"] = overlaid(both.get("strategy") or {}, lifetime)
    return AskedTarget.model_validate(both)


def _targets(
    inputs: Inputs,
    backend: Backend,
    before: Mapping[str, CacheTarget],
    planned: Design,
) -> tuple[tuple[CacheTarget, ...], tuple[NotCached, ...]]:
    """The targets that stand, as the request changes them, new ones behind them; and those that are refused."""
    designed = {assembly.subject_of(target): target for target in planned.spec.cache_targets}
    refused = () if forbids(backend, "caching") is not None else planned.not_cached
    gone = {no.endpoint for no in refused}
    said = {assembly.subject_of(asked): asked.model_fields_set for asked in inputs.cache_targets}
    found: list[CacheTarget] = []
    for subject, target in before.items():
        if subject in gone:
            continue
        fields = [field for name in said.get(subject, ()) for field in _FOLLOWS.get(name, (name,))]
        changed = designed.get(subject)
        update = {
            field: getattr(changed, field)
            for field in fields
            if changed is not None and field in CacheTarget.model_fields and field != "endpoint"
        }
        found.append(CacheTarget.model_validate({**target.model_dump(), **update}) if update else target)
    for subject, target in designed.items():
        if subject not in before:
            found.append(_apart(target, found))
    return tuple(found), planned.not_cached


def _apart(target: CacheTarget, others: Iterable[CacheTarget]) -> CacheTarget:
    """A new target whose keys are none of those that stand."""
    pattern, patterns = target.cache_key_pattern or "", [each.cache_key_pattern or "" for each in others]
    if not any(meet(pattern, other) for other in patterns):
        return target
    return target.model_copy(update={"cache_key_pattern": f"{pattern}:target={len(patterns)}"})


def _implementation(
    spec: CachingSpecification, fresh: Iterable[CacheTarget], refused: Collection[str]
) -> Implementation:
    """The interceptors with new endpoints in the first that lists any, and without those that are refused."""
    interceptors = list(spec.implementation.cache_interceptor)
    gone = set(refused) - {assembly.subject_of(target) for target in spec.cache_targets}
    listed = {endpoint for each in interceptors for endpoint in each.endpoints}
    new = [target.subject for target in fresh if target.endpoint is not None and target.subject not in listed]
    for at, each in enumerate(interceptors):
        if each.endpoints:
            endpoints = (*(name for name in each.endpoints if name not in gone), *new)
            interceptors[at] = each.model_copy(update={"endpoints": endpoints})
            new = []
    kept = tuple(each for each in interceptors if each.endpoints or not gone)
    return spec.implementation.model_copy(update={"cache_interceptor": kept})


def _invalidation(
    standing: Invalidation, old: CachingSpecification, fresh: list[CacheTarget], backend: Backend
) -> Invalidation:
    """The rules and triggers that stand, and those of targets that are new or read something else."""
    if old.cache_targets and not old.invalidation.rules and not old.invalidation.triggers:
        return standing  # the tags of its targets do it all
    was = {assembly.subject_of(target): target.depends_on for target in old.cache_targets}
    retagged = [each for each in fresh if was.get(assembly.subject_of(each)) != each.depends_on]
    plain = assembly.invalidation(Inputs(), retagged, backend)
    known_rules = [(rule.operation, set(rule.invalidate_patterns)) for rule in standing.rules]
    known_triggers = {(trigger.table, trigger.action) for trigger in standing.triggers}
    rules = [
        rule
        for rule in plain.rules
        if not any(
            operation == rule.operation and set(rule.invalidate_patterns) <= patterns
            for operation, patterns in known_rules
        )
    ]
    triggers = [each for each in plain.triggers if (each.table, each.action) not in known_triggers]
    return standing.model_copy(
        update={"rules": (*standing.rules, *rules), "triggers": (*standing.triggers, *triggers)}
    )


def _obedient(spec: CachingSpecification, backend: Backend) -> CachingSpecification:
    """Without what the project forbids: caching is switched off, a level that is Redis is left out."""
    if forbids(backend, "caching") is not None:
        spec = spec.model_copy(update={"enabled": False})
    if forbids(backend, "redis") is None:
        return spec
    memory = {"hierarchy_level": "l1", "cache_type": "in_memory"}
    targets = [
        target.model_copy(update={"levels": tuple(each for each in target.levels if each != "l2") or ("l1",)})
        if "l2" in target.levels
        else target
        for target in spec.cache_targets
    ]
    strategy = type(spec.cache_strategy).model_validate({**spec.cache_strategy.model_dump(), **memory})
    return spec.model_copy(update={"cache_targets": tuple(targets), "cache_strategy": strategy})


def _told(
    planned: Design,
    spec: CachingSpecification,
    before: Mapping[str, CacheTarget],
    inputs: Inputs,
    said: Said,
) -> Design:
    """What is said beside the specification: of targets that stand, only what was asked about them."""
    asked = {assembly.subject_of(each): each.model_fields_set for each in inputs.cache_targets}
    heads = {
        subject: {"value", "reason", *_heads(fields)}
        for subject, fields in asked.items()
        if subject in before
    }

    def concerns(text: str) -> bool:
        return not any(text.startswith(f"{subject}: ") for subject in heads)

    return replace(
        planned,
        spec=spec,
        decisions=(
            *said.decisions,
            *(
                made
                for made in planned.decisions
                if made.subject not in heads or made.choice.partition(":")[0] in heads[made.subject]
            ),
        ),
        assumptions=tuple(filter(concerns, planned.assumptions)),
        clarifications_needed=tuple(filter(concerns, planned.clarifications_needed)),
        warnings=(*planned.warnings, *said.warnings),
    )


def _heads(fields: Collection[str]) -> Iterator[str]:
    """The first words of decisions about these fields."""
    for name in fields:
        for field in _FOLLOWS.get(name, (name,)):
            yield "ttl" if field == "strategy" else field


def _unassessed(backend: Backend, spoken_of: Collection[str]) -> Iterator[NotCached]:
    """Reading endpoints of the documents that neither specification nor request speaks of."""
    for index, endpoint in enumerate(backend.places):
        if endpoint.subject in spoken_of or endpoint.method not in ("GET", "HEAD"):
            continue
        one = known(AskedTarget(endpoint=endpoint.subject), index, backend, named=False)
        yield veto(one, backend) or NotCached(
            endpoint.subject,
            "unassessed",
            f"{endpoint.source} has it, and the specification does not speak of it: name it in `cache_targets` to have "
            "it designed.",
        )


def _vanished(backend: Backend, before: Mapping[str, CacheTarget]) -> Iterator[str]:
    """Targets whose endpoint no document has any more."""
    if not backend.endpoints:
        return
    for subject, target in before.items():
        method, _, path = subject.partition(" ")
        if target.endpoint is not None and backend.endpoint(method, path) is None:
            yield f"{subject}: it stands in the specification, and no document has such an endpoint."


def _said(inputs: Inputs) -> dict[str, Any]:
    """The sections that a request speaks of, with the fields that it sets."""
    return {name: given(getattr(inputs, name)) for name in _SECTIONS if getattr(inputs, name) is not None}
