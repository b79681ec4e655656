"""Which fields of a specification are executed; the runtime names those that are set and are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cachewright.spec.model import CachingSpecification
from cachewright.spec.section import Path, Section

#: Fields that say something to people and to the design, and change nothing at run time.
DESCRIPTIVE: frozenset[str] = frozenset(
    {
        "meta",
        "schema_version",
        "generator",
        "metrics",
        "cache_keys.resource.pattern",
        "cache_keys.resource.includes_user_id",
        "cache_keys.resource.includes_tenant_id",
        "cache_keys.collection.pattern",
        "cache_keys.query_result.pattern",
        "cache_keys.query_result.includes_user_id",
        "cache_keys.query_result.includes_tenant_id",
        "cache_keys.computed.pattern",
        "cache_targets[].role",
        "cache_targets[].because",
        "cache_targets[].query_frequency",
        "cache_targets[].avg_query_time_ms",
        "cache_targets[].complexity",
        "cache_targets[].execution_count",
        "cache_targets[].window_seconds",
        "cache_targets[].computation_cost_ms",
        "cache_targets[].update_frequency",
        "cache_warming.strategies[].trigger",
        "cache_warming.predictive.behavior_pattern",
        "cache_warming.predictive.transitions[].probability",
        "implementation.cache_layer",
        "implementation.cache_interceptor[].name",
    }
)

#: Fields that the runtime executes, whatever their value.
EXECUTED: frozenset[str] = frozenset(
    {
        "enabled",
        "alerts",
        "cache_warming.enabled",
        "cache_warming.strategies[].warmup_queries",
        "cache_warming.on_startup.queries[].name",
        "cache_warming.on_startup.queries[].params",
        "cache_warming.on_startup.queries[].expected_results",
        "cache_warming.scheduled.schedule",
        "cache_warming.scheduled.execution_window",
        "cache_warming.scheduled.queries[].name",
        "cache_warming.scheduled.queries[].params",
        "cache_warming.scheduled.queries[].expected_results",
        "cache_warming.monitoring",
        "cache_warming.strategies[].type",
        "cache_warming.predictive.user_based",
        "cache_warming.predictive.cache_keys",
        "cache_warming.predictive.transitions[].after",
        "cache_warming.predictive.transitions[].load",
        "cache_warming.predictive.transitions[].params",
        "cache_warming.predictive.transitions[].hours",
        "cache_warming.ahead",
        "namespace",
        "consistency.l1_lease_ms",
        "consistency.strict",
        "consistency.crash_safe",
        "consistency.identity_ttl_seconds",
        "consistency.ignore_writes",
        "consistency.write_ack",
        "consistency.single_host",
        "cache_targets[].endpoint",
        "cache_targets[].name",
        "cache_targets[].cache_key_pattern",
        "cache_targets[].scope",
        "cache_targets[].depends_on",
        "cache_targets[].authorization",
        "cache_targets[].bypass_when",
        "cache_targets[].ignored_reads",
        "cache_targets[].mode",
        "cache_targets[].percent",
        "cache_targets[].max_staleness_seconds",
        "cache_targets[].allow_stale_after_invalidation",
        "cache_targets[].single_flight",
        "cache_targets[].strategy.ttl",
        "cache_strategy.ttl",
        "cache_targets[].strategy.eviction_policy.type",
        "cache_targets[].strategy.eviction_policy.max_items",
        "cache_targets[].strategy.eviction_policy.max_memory_bytes",
        "cache_strategy.eviction_policy.type",
        "cache_strategy.eviction_policy.max_items",
        "cache_strategy.eviction_policy.max_memory_bytes",
        "cache_strategy.compression",
        "configuration.redis.socket_timeout_ms",
        "configuration.redis.socket_connect_timeout_ms",
        "configuration.redis.max_connections",
        "configuration.http",
        "configuration.cdn",
        "configuration.in_memory.max_items",
        "configuration.in_memory.max_memory_mb",
        "configuration.in_memory.cleanup_interval_seconds",
        "implementation.cache_interceptor[].type",
        "implementation.cache_interceptor[].endpoints",
        "implementation.cache_interceptor[].skip_condition",
        "identity",
        "multi_tenant.enabled",
        "multi_user.enabled",
    }
)

_NOTHING = "nothing executes this yet"
_LEVELS = frozenset({"l1", "l2", "l3"})
_THREE_LEVELS = "only l1, l2 and l3 are executed yet"
_ONCE = "loads of queries and computed values are repeated; requests to endpoints go through once"
_NOT_ALONE = "what a CDN is to hold is held by a level of this service too"
_BY_TYPE = "entries are evicted by their type"


#: Fields of which some values are executed: the test, and what to say of the others.
PARTLY: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "cache_strategy.hierarchy_level": (lambda value: value in _LEVELS, _THREE_LEVELS),
    "cache_targets[].levels": (lambda value: value != ("l4",), _NOT_ALONE),
    "cache_targets[].strategy.hierarchy_level": (lambda value: value in (None, *_LEVELS), _THREE_LEVELS),
    "cache_strategy.eviction_policy.priority_strategy": (lambda value: value != "custom", _BY_TYPE),
    "cache_targets[].strategy.eviction_policy.priority_strategy": (lambda value: value != "custom", _BY_TYPE),
    "cache_targets[].cache_type": (
        lambda value: value in ("redis", "in_memory", "file"),
        "only redis, in_memory and file are executed yet",
    ),
    "cache_targets[].strategy.pattern": (
        lambda value: value in (None, "cache_through"),
        "only cache_through is executed yet",
    ),
}

#: What happens instead, for fields where that is not plain.
INSTEAD: Mapping[str, str] = {
    "cache_strategy.retries": _ONCE,
    "cache_targets[].strategy.retries": _ONCE,
    "cache_strategy.pattern": "only cache_through is executed yet",
    "cache_strategy.eviction_policy.priority_callable": _BY_TYPE,
    "cache_targets[].strategy.eviction_policy.priority_callable": _BY_TYPE,
    "cache_warming": "an entry is stored under its target's own key",
}


def unexecuted(spec: CachingSpecification) -> list[tuple[Path, str]]:
    """The path of every field that `spec` sets and nothing executes, with what happens instead."""
    return [
        (path, reason)
        for path, value in _set_fields(spec, ())
        if (reason := _reason(pattern_of(path), value)) is not None
    ]


def changed_fields(spec: CachingSpecification) -> Iterator[tuple[Path, Any]]:
    """Every field that differs from its default, with its value; sections whose items nobody reads as a whole."""
    return _set_fields(spec, ())


def pattern_of(path: Path) -> str:
    """`path` with `[]` for every index: `cache_targets[].scope`."""
    return "".join("[]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _reason(pattern: str, value: Any) -> str | None:
    if pattern == "cache_targets[]":
        return f"targets of kind {value.kind} are not executed yet"
    if (partly := PARTLY.get(pattern)) is not None:
        executed, reason = partly
        return None if executed(value) else reason
    if _covered(pattern, EXECUTED) or _covered(pattern, DESCRIPTIVE):
        return None
    return next((reason for prefix, reason in INSTEAD.items() if _below(pattern, prefix)), _NOTHING)


def _set_fields(section: Section, path: Path) -> Iterator[tuple[Path, Any]]:
    for name in type(section).model_fields:
        value, place = getattr(section, name), (*path, name)
        if not _is_set(section, name):
            continue
        if isinstance(value, Section):
            yield from _set_fields(value, place)
        elif isinstance(value, tuple) and value and isinstance(value[0], Section):
            yield from _set_items(value, place)
        else:
            yield place, value


def _set_items(items: tuple[Any, ...], path: Path) -> Iterator[tuple[Path, Any]]:
    """The fields of each item; the item as a whole where none of its fields is executed."""
    known = any(_below(pattern, f"{pattern_of(path)}[]") for pattern in (*EXECUTED, *DESCRIPTIVE))
    for index, item in enumerate(items):
        is_other_kind = path == ("cache_targets",) and item.kind != "endpoint"
        if known and not is_other_kind:
            yield from _set_fields(item, (*path, index))
        else:
            yield (*path, index), item


def _is_set(section: Section, name: str) -> bool:
    if section.writes == "set":
        return name in section.model_fields_set
    default = type(section).model_fields[name].get_default(call_default_factory=True)
    return bool(getattr(section, name) != default)


def _covered(pattern: str, table: frozenset[str]) -> bool:
    return any(_below(pattern, prefix) for prefix in table)


def _below(pattern: str, prefix: str) -> bool:
    return pattern == prefix or pattern.startswith((f"{prefix}.", f"{prefix}["))
