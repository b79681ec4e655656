"""Rules about settings that contradict each other: eviction, levels and sizes, alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cachewright.checks.findings import Path, Problem
from cachewright.checks.subject import Subject
from cachewright.spec.section import Section
from cachewright.spec.target import levels_of, target_name

_LEVELS_OF: Mapping[str, frozenset[str]] = {
    "redis": frozenset({"l2"}),
    "in_memory": frozenset({"l1"}),
    "file": frozenset({"l3"}),
    "cdn": frozenset({"l4"}),
}
#: What the server evicts by, for the policies that say the same as a type.
_BY_TYPE = {"lru": "lru", "lfu": "lfu", "ttl": "ttl"}


def contradictory_eviction(subject: Subject) -> Iterator[Problem]:
    """Eviction is told to do what it cannot.

    ## What it does
    Looks for type `ttl` where entries never expire; for a server policy `volatile-…` that may evict nothing, for
    the same reason, or `noeviction` beside entries that never expire or an alarm that evicts; for a server that
    evicts by something else than the type; and for a target with more room than the whole.

    ## Why
    Memory then fills up, or what leaves is not what the specification says.

    ## Example
    ```yaml
    cache_strategy: {ttl: {duration_seconds: null}, eviction_policy: {type: ttl}}
    ```

    ## Fix
    Give entries a lifetime, or evict by use: `eviction_policy: {type: lru}`.
    """
    spec, server = subject.spec, subject.spec.configuration.redis.maxmemory_policy or ""
    policy: Path = ("configuration", "redis", "maxmemory_policy")
    endless = None
    for view in subject.targets:
        strategy = spec.strategy_of(view.item)
        forever = strategy.ttl.duration_seconds is None and not view.item.max_staleness_seconds
        name = target_name(view.item)
        if forever and strategy.eviction_policy.type == "ttl":
            words = f"{name} evicts what expires first, but nothing of it ever expires"
            yield Problem(view.at("strategy", "eviction_policy"), words)
        if forever and "l2" in levels_of(spec, view.item):
            endless = endless or name
        yield from _more_than_all(
            subject, view.at("strategy", "eviction_policy"), strategy.eviction_policy, name
        )
    if endless and server.startswith("volatile-"):
        yield Problem(policy, f"{server} evicts only what expires; entries of {endless} never do")
    if endless and server == "noeviction":
        yield Problem(policy, f"noeviction, and entries of {endless} never expire: memory only grows")
    alarm = spec.alerts.high_memory_usage
    if alarm.enabled and "evict_oldest" in alarm.action and server == "noeviction":
        place = ("alerts", "high_memory_usage", "action")
        yield Problem(place, "evict_oldest, but the server's maxmemory_policy is noeviction")
    kind = spec.cache_strategy.eviction_policy.type
    told = server.rpartition("-")[2]
    if (
        told
        and told not in ("noeviction", _BY_TYPE.get(kind))
        and "eviction_policy" in spec.cache_strategy.model_fields_set
    ):
        yield Problem(policy, f"the server evicts by {told}, eviction_policy.type says {kind}", "info")


def _more_than_all(subject: Subject, path: Path, own: Section, name: str) -> Iterator[Problem]:
    for field, whole in (
        ("max_items", subject.spec.max_items),
        ("max_memory_bytes", subject.spec.max_memory_bytes),
    ):
        part = getattr(own, field)
        if part is not None and whole is not None and part > whole:
            yield Problem((*path, field), f"{name} may keep {field} {part}, more than all together ({whole})")


def contradictory_levels(subject: Subject) -> Iterator[Problem]:
    """Levels, stores and sizes do not go together.

    ## What it does
    Looks for level l4, which is shared by everybody, on a target that is not `public`; for a `cache_type` whose
    level is not among the `levels`; for a process with more memory than the server that backs it; and for a
    compression threshold over the memory there is.

    ## Why
    An entry of one user on a CDN is everybody's. The other contradictions leave open which of two places counts.

    ## Example
    ```yaml
    - {endpoint: GET /me, scope: user, cache_key_pattern: "user:{user_id}:me", levels: [l1, l4]}
    ```

    ## Fix
    Keep l4 for public targets: `levels: [l1, l2]`; name the store or the levels, not both.
    """
    spec = subject.spec
    for view in subject.targets:
        levels, name = levels_of(spec, view.item), target_name(view.item)
        place = view.at(
            "levels" if view.item.levels else "cache_type" if view.item.cache_type else "strategy"
        )
        if ("l4" in levels or view.item.cache_type == "cdn") and view.item.scope != "public":
            scope = view.item.scope or "credential"
            yield Problem(place, f"{name} is on l4, which everybody shares, but its scope is {scope}")
        yield from _of_other_level(view.item.levels, view.item.cache_type, view.at("cache_type"), name)
    strategy = spec.cache_strategy
    if {"hierarchy_level", "cache_type"} <= strategy.model_fields_set:
        at = ("cache_strategy", "cache_type")
        yield from _of_other_level((strategy.hierarchy_level,), strategy.cache_type, at, "cache_strategy")
    yield from _sizes(subject)


def _of_other_level(levels: tuple[str, ...], store: str | None, path: Path, name: str) -> Iterator[Problem]:
    own = _LEVELS_OF.get(store or "")
    if own is not None and levels and own.isdisjoint(levels):
        words = f"{name}: {store} is level {min(own)}, but it names {', '.join(levels)}"
        yield Problem(path, words, "warning")


def _sizes(subject: Subject) -> Iterator[Problem]:
    spec = subject.spec
    process, server = spec.max_memory_bytes, spec.configuration.redis.maxmemory_bytes
    if process is not None and server is not None and process > server:
        words = f"one process may keep {process} bytes, more than the server behind it ({server})"
        yield Problem(("configuration", "redis", "maxmemory_bytes"), words, "warning")
    compression = spec.cache_strategy.compression
    if compression.enabled and process is not None and compression.threshold_bytes > process:
        words = f"nothing is ever compressed: {compression.threshold_bytes} bytes do not fit into {process}"
        yield Problem(("cache_strategy", "compression", "threshold_bytes"), words, "warning")
    sizes = spec.metrics.cache_size
    for field, limit in (("max_items", spec.max_items), ("max_memory_bytes", spec.max_memory_bytes)):
        wanted = getattr(sizes, field)
        if wanted is not None and limit is not None and wanted != limit:
            words = f"metrics expect {field} {wanted}, the strategy says {limit}"
            yield Problem(("metrics", "cache_size", field), words, "warning")


def alert_never_fires(subject: Subject) -> Iterator[Problem]:
    """An alarm is on and can never fire, or never stops.

    ## What it does
    Looks for thresholds that no figure can pass: a hit rate under 0, memory over all of it or over no limit, an
    operation slower than the time after which it is given up; for alarms about Redis where no target uses it;
    and for alarms without targets.

    ## Why
    One relies on an alarm precisely when nothing else tells.

    ## Example
    ```yaml
    alerts: {slow_operations: {enabled: true, threshold_ms: 80}}   # socket_timeout_ms is 50
    ```

    ## Fix
    Set the threshold between what is usual and what is possible: `threshold_ms: 20`.
    """
    spec, alerts = subject.spec, subject.spec.alerts
    redis = spec.configuration.redis
    levels = {level for view in subject.targets for level in levels_of(spec, view.item)}
    if alerts.low_hit_rate.enabled and alerts.low_hit_rate.threshold == 0:
        yield Problem(("alerts", "low_hit_rate", "threshold"), "no hit rate is under 0")
    if alerts.low_hit_rate.enabled and alerts.low_hit_rate.threshold == 1:
        yield Problem(("alerts", "low_hit_rate", "threshold"), "every hit rate is under 1: it fires always")
    if alerts.high_memory_usage.enabled and alerts.high_memory_usage.threshold == 1:
        yield Problem(
            ("alerts", "high_memory_usage", "threshold"), "no cache holds more than all of its memory"
        )
    slow = alerts.slow_operations
    if (
        slow.enabled
        and "l2" in levels
        and "l3" not in levels
        and slow.threshold_ms >= redis.socket_timeout_ms
    ):
        words = (
            f"an operation is given up after {redis.socket_timeout_ms} ms, before {slow.threshold_ms:g} ms"
        )
        yield Problem(("alerts", "slow_operations", "threshold_ms"), words)
    if alerts.cache_unavailable.enabled and levels and "l2" not in levels:
        words = "no target uses l2: there is no server that could be unavailable"
        yield Problem(("alerts", "cache_unavailable", "enabled"), words)
    if not subject.targets:
        for name in type(alerts).model_fields:
            if getattr(alerts, name).enabled:
                yield Problem(
                    ("alerts", name, "enabled"), "there are no targets, so nothing is ever measured"
                )
                return
