"""What a specification says to code that uses the cache: sizes and times, and the targets it names."""

from __future__ import annotations

from cachewright.runtime.journal import state_directory
from cachewright.runtime.options import LoadOptions, Specified
from cachewright.runtime.settings import Settings
from cachewright.runtime.tiers import with_tiers
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.document import Document
from cachewright.spec.model import CachingSpecification
from cachewright.spec.policies import stale_if_error
from cachewright.spec.target import levels_of, target_name


def specified(document: Document) -> dict[str, Specified]:
    """The query and computed targets of a specification, by name (`name`, else the query or value itself)."""
    spec = document.spec
    found = (_specified(spec, item) for item in spec.cache_targets if item.endpoint is None)
    return {one.name: one for one in found}


def _specified(spec: CachingSpecification, item: CacheTarget) -> Specified:
    strategy = spec.strategy_of(item)
    ttl = strategy.ttl
    limits = [one for one in (ttl.duration_seconds, item.max_staleness_seconds or None) if one is not None]
    return Specified(
        name=target_name(item),
        key=_key(spec, item),
        tags=tuple(item.depends_on),
        ttl=float(min(limits)) if limits else None,
        levels=levels_of(spec, item),
        options=LoadOptions(
            soft_ttl=ttl.soft_duration_seconds,
            early=ttl.early_refresh,
            stale_if_error=stale_if_error(ttl, item.max_staleness_seconds or None),
            negative_ttl=ttl.negative_duration_seconds,
            retries=strategy.retries,
            jitter=ttl.jitter,
            sliding_until=ttl.max_duration_seconds if ttl.sliding_window else None,
            single_flight=item.single_flight,
            stale_after_invalidation=item.allow_stale_after_invalidation,
        ),
        on=spec.enabled and item.mode == "live",
    )


def _key(spec: CachingSpecification, item: CacheTarget) -> str | None:
    """The pattern of a target; whose it is stands in front, once (C25, C67)."""
    pattern = spec.key_pattern_of(item)
    if pattern is None:
        return None
    if item.scope == "user" and "{user_id}" not in pattern:
        pattern = f"user:{{user_id}}:{pattern}"
    if spec.multi_tenant.enabled and item.scope != "public" and "{tenant_id}" not in pattern:
        pattern = f"tenant:{{tenant_id}}:{pattern}"
    return pattern


def isolated(spec: CachingSpecification) -> bool:
    """Whether the specification declares tenants or users that are to be kept apart at access."""
    tenants, users = spec.multi_tenant, spec.multi_user
    return (tenants.enabled and tenants.isolation) or (users.enabled and users.isolation)


def settings_of(spec: CachingSpecification, *, workers: int) -> Settings:
    """The bounds that a specification gives to one of `workers` processes. Code may give longer lives than it."""
    redis, compression, own = spec.configuration.redis, spec.cache_strategy.compression, Settings()
    settings = Settings(
        workers=workers,
        read_timeout=redis.socket_timeout_ms / 1000,
        connect_timeout=redis.socket_connect_timeout_ms / 1000,
        max_connections=redis.max_connections,
        l1_items=spec.max_items or own.l1_items,
        l1_bytes=spec.max_memory_bytes or own.l1_bytes,
        l1_lease=spec.consistency.lease_ms / 1000,
        journal_dir=state_directory(),
        strict=spec.consistency.strict,
        crash_safe=spec.consistency.crash_safe,
        compression=compression.algorithm if compression.enabled else "none",
        compression_threshold=compression.threshold_bytes,
    )
    return with_tiers(settings, spec)
