"""The sections around the targets of a written request: what was asked for, completed by what follows from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from cachewright.design import sections
from cachewright.design.written.vetoes import forbids
from cachewright.evidence.trace import SchemaSeen
from cachewright.request.backend import Backend
from cachewright.request.model import SHORT_NAMES, AskedStrategy, AskedTarget, Inputs, ttl_of
from cachewright.request.reading import RequestDocument
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.implementation import CacheLayer, Implementation
from cachewright.spec.invalidation import Invalidation, Operation, Rule
from cachewright.spec.keys import KeyTemplate
from cachewright.spec.model import (
    CacheKeys,
    CachingSpecification,
    ComputedKeys,
    Consistency,
    Meta,
    QueryResultKeys,
)
from cachewright.spec.observing import Alerts
from cachewright.spec.problems import problems_of
from cachewright.spec.section import Path
from cachewright.spec.strategy import CacheStrategy, StrategyOverride, TtlOverride
from cachewright.spec.target import target_name
from cachewright.spec.tenancy import Identity, MultiTenant, MultiUser
from cachewright.spec.warming import CacheWarming, OnStartup, Scheduled, WarmingStrategy, WarmupQuery

#: So many minutes before a reminder its lists are loaded.
AHEAD = 10
#: For so many of the most active users they are loaded, where each has their own.
REMINDED = 100
_OPERATIONS: tuple[Operation, ...] = ("create", "update", "delete")


def specification(
    document: RequestDocument,
    targets: Sequence[CacheTarget],
    backend: Backend,
    *,
    now: datetime,
    generator: str,
) -> CachingSpecification:
    """The whole specification. Raises `RequestError` where two parts of the request contradict each other."""
    inputs = document.inputs
    given = _given(inputs)
    with blaming(document, ("inputs", "cache_strategy")):
        strategy = _strategy(inputs, backend)
    with blaming(document, ("inputs",)):
        return CachingSpecification.model_validate(
            {
                "meta": Meta(
                    feature_spec=inputs.feature_spec,
                    backend_spec=_spelt(inputs.backend_spec),
                    generated_at=now,
                    sources=sources(document, backend),
                ).model_dump(),
                "generator": generator,
                "enabled": forbids(backend, "caching") is None,
                "namespace": inputs.namespace or "cachewright",
                "identity": inputs.identity or Identity(),
                "consistency": inputs.consistency or Consistency(),
                "cache_targets": tuple(targets),
                "cache_strategy": strategy,
                "cache_keys": inputs.cache_keys or _cache_keys(targets),
                "invalidation": invalidation(inputs, targets, backend),
                "cache_warming": _reminded(warming(inputs, targets, inputs.cache_warming), targets, backend),
                "alerts": inputs.alerts or sections.alerts(targets),
                "multi_tenant": MultiTenant.model_validate(inputs.multi_tenant.model_dump())
                if inputs.multi_tenant is not None
                else MultiTenant(),
                "multi_user": MultiUser.model_validate(inputs.multi_user.model_dump())
                if inputs.multi_user is not None
                else sections.multi_user(targets),
                "implementation": inputs.implementation or _implementation(targets, backend),
                **given,
            }
        )


def completed(
    document: RequestDocument,
    written: CachingSpecification,
    traced: CachingSpecification,
    targets: Sequence[CacheTarget],
    schema: SchemaSeen,
) -> CachingSpecification:
    """The specification of a request with the targets of a recording in it. Raises `RequestError`."""
    inputs = document.inputs
    own = inputs.invalidation or Invalidation()
    designed = sections.invalidation(targets, schema)
    with blaming(document, ("inputs",)):
        return CachingSpecification.model_validate(
            {
                **{name: getattr(written, name) for name in type(written).model_fields},
                "meta": written.meta.model_copy(
                    update={
                        "backend_spec": written.meta.backend_spec or traced.meta.backend_spec,
                        "sources": (*traced.meta.sources, *written.meta.sources),
                    }
                ),
                "namespace": inputs.namespace or traced.namespace,
                "identity": inputs.identity or traced.identity,
                "cache_targets": tuple(targets),
                "cache_keys": inputs.cache_keys or _cache_keys(targets),
                "invalidation": Invalidation(
                    rules=(*designed.rules, *own.rules),
                    triggers=(*designed.triggers, *own.triggers),
                    versioning=own.versioning,
                ),
                "cache_warming": warming(inputs, targets, inputs.cache_warming),
                "metrics": inputs.metrics or traced.metrics,
                "alerts": inputs.alerts or _alerts(targets, traced.alerts),
                "multi_user": written.multi_user if inputs.multi_user else sections.multi_user(targets),
                "multi_tenant": written.multi_tenant if inputs.multi_tenant else traced.multi_tenant,
                "implementation": inputs.implementation or sections.implementation(targets),
            }
        )


def _alerts(targets: Sequence[CacheTarget], traced: Alerts) -> Alerts:
    """The alerts that all targets can raise, with the threshold that the recording knows."""
    plain = sections.alerts(targets)
    low = plain.low_hit_rate.model_copy(update={"threshold": traced.low_hit_rate.threshold})
    return plain.model_copy(update={"low_hit_rate": low})


def sources(document: RequestDocument, backend: Backend) -> tuple[str, ...]:
    """The request and the documents that were used."""
    return (f"request {document.path}", *backend.sources)


def general_ttl(inputs: Inputs) -> TtlOverride | None:
    """The lifetime that the request gives to all targets."""
    ttl = ttl_of(inputs.cache_strategy)
    return ttl if ttl is not None and "duration_seconds" in ttl.model_fields_set else None


@contextmanager
def blaming(document: RequestDocument, place: Path) -> Iterator[None]:
    """Turn a contradiction between parts of a request into an error at `place`."""
    try:
        yield
    except ValidationError as error:
        first = problems_of(error)[0]
        raise document.error(first.message, (*place, *first.path), hint=first.hint) from None


def _given(inputs: Inputs) -> dict[str, Any]:
    """The sections that are taken over as they are."""
    found = {"metrics": inputs.metrics, "configuration": inputs.configuration}
    return {name: section for name, section in found.items() if section is not None}


def _cache_keys(targets: Sequence[CacheTarget]) -> CacheKeys:
    """The pattern of the first target of each kind."""

    def first(kind: str) -> CacheTarget | None:
        return next((target for target in targets if target.kind == kind), None)

    keys = sections.cache_keys([target for target in targets if target.endpoint is not None])
    query, computed = first("database_query"), first("computed_data")
    if query is not None:
        pattern = query.cache_key_pattern or ""
        asked = QueryResultKeys(
            pattern=pattern,
            includes_user_id="{user_id}" in pattern,
            includes_tenant_id="{tenant_id}" in pattern,
            depends_on=query.depends_on,
        )
        keys = keys.model_copy(update={"query_result": asked})
    if computed is not None:
        values = ComputedKeys(
            pattern=computed.cache_key_pattern,
            refresh_schedule=computed.refresh,
            depends_on=computed.depends_on,
        )
        keys = keys.model_copy(update={"computed": values})
    return keys


def _spelt(document: Any) -> str | None:
    if document is None:
        return None
    one_line = isinstance(document, str) and "\n" not in document.strip()
    return document.strip() if one_line else "given in the request"


def _strategy(inputs: Inputs, backend: Backend) -> CacheStrategy:
    asked = inputs.cache_strategy
    plain = CacheStrategy() if asked is None else CacheStrategy().overridden_by(written_out(asked))
    if forbids(backend, "redis") is None:
        return plain
    return CacheStrategy.model_validate(
        {**plain.model_dump(), "hierarchy_level": "l1", "cache_type": "in_memory"}
    )


def written_out(asked: AskedStrategy) -> StrategyOverride:
    """The strategy in the specification's words (C21)."""
    said = asked.model_dump()
    for short, section, name in SHORT_NAMES:
        value = said.pop(short, None)
        if value is not None:
            said[section] = {**(said.get(section) or {}), name: value}
    return StrategyOverride.model_validate(said)


def invalidation(inputs: Inputs, targets: Sequence[CacheTarget], backend: Backend) -> Invalidation:
    """What a write to each table ends, in key patterns and tags; rules of the request stand behind the designed."""
    schema = schema_of(backend)
    plain = sections.invalidation(targets, schema)
    keys = _keys_by_table(targets)
    rules = tuple(
        Rule(
            operation=rule.operation,
            invalidate_patterns=(*keys.get(_table(rule), ()), *rule.invalidate_patterns),
            scope=rule.scope,
            cascades=rule.cascades,
        )
        if rule.operation in _OPERATIONS
        else rule
        for rule in plain.rules
    )
    if inputs.invalidation is None:
        return Invalidation(rules=rules, triggers=plain.triggers)
    own = inputs.invalidation
    return Invalidation(
        rules=(*rules, *own.rules), triggers=(*plain.triggers, *own.triggers), versioning=own.versioning
    )


def _table(rule: Rule) -> str:
    return rule.invalidate_patterns[0].partition("(")[0].partition("#")[0]


def _keys_by_table(targets: Sequence[CacheTarget]) -> Mapping[str, tuple[str, ...]]:
    """For each table the keys that its writes end: a single one as it is, a list up to its resource (C27)."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for target in targets:
        pattern = target.cache_key_pattern or ""
        if "{cred}" in pattern:
            continue
        key = KeyTemplate.parse(pattern)
        segments = pattern.split(":")
        rest = segments[key.scope_segments + 1 :]
        single = len(rest) == 1 and rest[0].startswith("{")
        shown = pattern if single else ":".join(segments[: key.scope_segments + 1])
        for tag in target.depends_on:
            found[tag.partition("(")[0]][shown] = None
    return {table: tuple(patterns) for table, patterns in found.items()}


def schema_of(backend: Backend) -> SchemaSeen:
    """The tables of the documents, as a recording would tell them."""
    return SchemaSeen(
        tables={table.name: table.columns for table in backend.tables},
        primary_keys={table.name: table.primary_key for table in backend.tables},
        foreign_keys=tuple(key for table in backend.tables for key in table.foreign_keys),
    )


def warming(inputs: Inputs, targets: Sequence[CacheTarget], standing: CacheWarming | None) -> CacheWarming:
    """Critical targets are loaded at start, and those of the most active users where so many are asked for."""
    own = standing or CacheWarming()
    queries: list[WarmupQuery] = []
    strategies: list[WarmingStrategy] = []
    by_subject = {subject_of(asked): asked for asked in inputs.cache_targets}
    for target in targets:
        asked = by_subject.get(subject_of(target))
        if asked is None or not (asked.critical or asked.warm_top_users):
            continue
        top = asked.warm_top_users
        queries.append(
            WarmupQuery(
                name=target_name(target),
                key_pattern=target.cache_key_pattern,
                params={} if top is None else {"top_users": top},
                expected_results=top,
            )
        )
        if top is not None:  # says for whom; what is loaded stands above
            strategies.append(WarmingStrategy(type="user_specific", trigger="application start"))
    if not queries:
        return own
    new = {query.name: query for query in queries}
    standing_queries = [new.pop(query.name, query) for query in own.on_startup.queries]
    known = [strategy for strategy in strategies if strategy not in own.strategies]
    return own.model_copy(
        update={
            "enabled": True,
            "strategies": (*own.strategies, *known),
            "on_startup": OnStartup(queries=(*standing_queries, *new.values())),
        }
    )


def _reminded(standing: CacheWarming, targets: Sequence[CacheTarget], backend: Backend) -> CacheWarming:
    """Lists are loaded shortly before users are reminded of what is due; where no schedule was asked for."""
    queries = tuple(
        WarmupQuery(
            name=target_name(target),
            key_pattern=target.cache_key_pattern,
            params={} if target.scope == "public" else {"top_users": REMINDED},
        )
        for target in targets
        if target.endpoint is not None and not target.subject.endswith("}")
    )
    if not backend.reminders or not queries or standing.scheduled.schedule is not None:
        return standing
    first = min(backend.reminders, key=lambda reminder: reminder.time)
    minutes = (int(first.time[:2]) * 60 + int(first.time[3:]) - AHEAD) % (24 * 60)
    end = (minutes + 2 * AHEAD) % (24 * 60)
    window = f"{minutes // 60:02}:{minutes % 60:02}-{end // 60:02}:{end % 60:02} {first.zone}"
    scheduled = Scheduled(
        schedule=f"{minutes % 60} {minutes // 60} * * *", queries=queries, execution_window=window
    )
    return standing.model_copy(update={"enabled": True, "scheduled": scheduled})


def subject_of(target: CacheTarget | AskedTarget) -> str:
    """Method and path of an endpoint; otherwise the query or value itself."""
    if target.endpoint is None:
        return target.subject
    method, _, path = target.endpoint.strip().rpartition(" ")
    return f"{(method.strip() or 'GET').upper()} {path}"


def _implementation(targets: Sequence[CacheTarget], backend: Backend) -> Implementation:
    endpoints = [target for target in targets if target.endpoint is not None]
    plain = sections.implementation(targets)
    levels = {level for target in targets for level in target.levels}
    layers = tuple(
        CacheLayer(name=layer.name, methods=layer.methods, dependencies=layer.dependencies)
        for layer in plain.cache_layer
        if (layer.name != "RedisCache" or "l2" in levels)
        and (layer.name != "InMemoryCache" or "l1" in levels)
    )
    if forbids(backend, "redis") is not None:
        layers = tuple(layer for layer in layers if layer.name != "RedisCache")
    interceptors = sections.implementation(endpoints).cache_interceptor
    return Implementation(cache_layer=layers, cache_interceptor=interceptors)
