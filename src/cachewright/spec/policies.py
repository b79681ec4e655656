"""The policy of a target: its strategy and its own words, as one value that decides over entries."""

from __future__ import annotations

from cachewright.spec.model import CachingSpecification
from cachewright.spec.semantics import NOTHING_HERE, Policy
from cachewright.spec.strategy import Ttl


def policy_of(spec: CachingSpecification, index: int) -> Policy:
    """What the specification says of the entries of one target, as decisions are made by it."""
    item = spec.cache_targets[index]
    ttl = spec.strategy_of(item).ttl
    limits = [
        limit for limit in (ttl.duration_seconds, item.max_staleness_seconds or None) if limit is not None
    ]
    caps = [limit for limit in (ttl.max_duration_seconds, item.max_staleness_seconds or None) if limit]
    return Policy(
        ttl=float(min(limits)) if limits else None,
        jitter=ttl.jitter,
        statuses=frozenset({200})
        if ttl.negative_duration_seconds is None
        else frozenset({200, *NOTHING_HERE}),
        soft_ttl=_seconds(ttl.soft_duration_seconds),
        early=ttl.early_refresh,
        stale_if_error=stale_if_error(ttl, item.max_staleness_seconds or None),
        negative_ttl=_seconds(ttl.negative_duration_seconds),
        identity_ttl=float(spec.consistency.identity_ttl_seconds),
        mode=item.mode,
        longest=float(min(caps)) if ttl.sliding_window else None,
        stale_after_invalidation=item.allow_stale_after_invalidation,
        single_flight=item.single_flight,
    )


def _seconds(value: int | None) -> float | None:
    return None if value is None else float(value)


def stale_if_error(ttl: Ttl, max_staleness: float | None) -> float:
    """For how long (s) after its end an entry may stand in for a load: no answer is staler than it may be."""
    wanted = float(ttl.stale_if_error_seconds)
    if max_staleness is None or not wanted:
        return wanted
    life = max_staleness if ttl.duration_seconds is None else min(max_staleness, ttl.duration_seconds)
    return min(wanted, max_staleness - life)
