"""The sections of a specification that follow from its targets.

Keys, invalidation, alerts, tenancy, interceptors.

They describe what the targets' tags already do, in the words of the request's schema.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from cachewright.design.forecast import Forecast
from cachewright.evidence.trace import SchemaSeen
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.implementation import CacheInterceptor, CacheLayer, Implementation
from cachewright.spec.invalidation import Action, Invalidation, Operation, Rule, Trigger
from cachewright.spec.model import CacheKeys, CollectionKeys, ResourceKeys
from cachewright.spec.observing import (
    Alerts,
    CacheUnavailableAlert,
    HighMemoryAlert,
    LowHitRateAlert,
    Metrics,
    PerformanceMetrics,
    SlowOperationsAlert,
)
from cachewright.spec.tenancy import MultiTenant, MultiUser

_METHODS = ("get", "set", "delete", "invalidate")
_ACTIONS: Mapping[Operation, Action] = {"create": "insert", "update": "update", "delete": "delete"}


def cache_keys(targets: Sequence[CacheTarget]) -> CacheKeys:
    """The pattern of the first single resource and of the first list among `targets`."""
    single = next((p for t in targets if (p := t.cache_key_pattern) and t.subject.endswith("}")), None)
    several = next((p for t in targets if (p := t.cache_key_pattern) and not t.subject.endswith("}")), None)
    return CacheKeys(
        resource=ResourceKeys(
            pattern=single,
            includes_user_id="{user_id}" in (single or ""),
            includes_tenant_id="{tenant_id}" in (single or ""),
        ),
        collection=CollectionKeys(
            pattern=several, invalidate_on=("create", "update", "delete", "bulk_update") if several else ()
        ),
    )


def invalidation(targets: Iterable[CacheTarget], schema: SchemaSeen) -> Invalidation:
    """What a write to each table of a target invalidates, with the database's own cascades."""
    tags: dict[str, set[str]] = defaultdict(set)
    for target in targets:
        for tag in target.depends_on:
            tags[tag.partition("(")[0]].add(tag)
    rules: list[Rule] = []
    triggers: list[Trigger] = []
    for table in sorted(tags):
        patterns = tuple(sorted(tags[table]))
        scope = "collection" if all("(" in pattern for pattern in patterns) else "pattern"
        key = schema.primary_keys.get(table, ())
        for operation, action in _ACTIONS.items():
            cascades = _cascades(table, tags, schema) if operation == "delete" else ()
            rules.append(
                Rule(operation=operation, invalidate_patterns=patterns, scope=scope, cascades=cascades)
            )
            triggers.append(
                Trigger(
                    event="after_commit",
                    table=table,
                    action=action,
                    entity_id=":".join(f"{{{column}}}" for column in key) or None,
                )
            )
        rules.append(Rule(operation="bulk_update", invalidate_patterns=(f"{table}#bulk",), scope="pattern"))
    return Invalidation(rules=tuple(rules), triggers=tuple(triggers))


def metrics(forecast: Forecast | None) -> Metrics:
    """The hit rate to compare with what is measured, where there is a forecast of it."""
    if forecast is None:
        return Metrics()
    rate = forecast.hit_rate
    return Metrics(performance=PerformanceMetrics(hit_rate=rate, miss_rate=round(1 - rate, 4)))


def alerts(targets: Sequence[CacheTarget], forecast: Forecast | None = None) -> Alerts:
    """The request's alerts, those that can fire switched on, with its thresholds but for what a `forecast` knows."""
    any_target = bool(targets)
    server = any("l2" in (target.levels or ("l2",)) for target in targets)
    low = LowHitRateAlert(enabled=any_target, action=("warn",))
    if forecast is not None:
        low = low.model_copy(update={"threshold": forecast.alarm})
    return Alerts(
        low_hit_rate=low,
        high_memory_usage=HighMemoryAlert(enabled=any_target, action=("alert", "evict_oldest")),
        slow_operations=SlowOperationsAlert(enabled=any_target, action=("warn",)),
        cache_unavailable=CacheUnavailableAlert(enabled=server, action=("fallback_to_db", "alert_admin")),
    )


def multi_tenant(*, tenant: bool) -> MultiTenant:
    """Tenants are kept apart where one is declared."""
    return MultiTenant(enabled=tenant)


def multi_user(targets: Iterable[CacheTarget]) -> MultiUser:
    """Users are kept apart where some target's key holds the user."""
    return MultiUser(enabled=any("{user_id}" in (target.cache_key_pattern or "") for target in targets))


def implementation(targets: Sequence[CacheTarget]) -> Implementation:
    """The runtime's two levels, and the middleware in front of the targets."""
    if not targets:
        return Implementation()
    return Implementation(
        cache_layer=(
            CacheLayer(name="InMemoryCache", methods=_METHODS),
            CacheLayer(name="RedisCache", methods=_METHODS, dependencies=("redis",)),
        ),
        cache_interceptor=(
            CacheInterceptor(
                name="CacheInterceptor",
                type="middleware",
                endpoints=tuple(target.subject for target in targets),
            ),
        ),
    )


def _cascades(table: str, tags: Mapping[str, set[str]], schema: SchemaSeen) -> tuple[str, ...]:
    """The tags that a deletion from `table` changes through ON DELETE, as far as targets hold them."""
    reached: set[str] = set()
    waiting = [table]
    while waiting:
        parent = waiting.pop()
        for key in schema.foreign_keys:
            action = key.on_delete.upper()
            if key.target != parent or key.table in reached or key.table == table:
                continue
            if action in ("CASCADE", "SET NULL", "SET DEFAULT"):
                reached.add(key.table)
                if action == "CASCADE":
                    waiting.append(key.table)
    return tuple(sorted(tag for name in reached for tag in tags.get(name, ())))
