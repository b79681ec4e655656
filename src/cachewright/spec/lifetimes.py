"""How long entries and acceptances live under a policy. Values in, values out."""

from __future__ import annotations

from collections.abc import Collection

from cachewright.spec.directives import freshness
from cachewright.spec.semantics import EntryMeta, Policy, Scope


def entry_lifetime(
    policy: Policy,
    scope: Scope,
    jitter: float,
    credential_seconds: float | None,
    *,
    negative: bool = False,
    cache_control: Collection[str] = (),
) -> float | None:
    """How long a new entry lives (s) at most, None for no limit. A `negative` one says that nothing was found.

    `cache_control` are the response's own directives: it lives no longer than they say. `jitter` in [-1, 1]
    spreads expiries by the policy's share. An entry keyed by a credential is its own acceptance, so the limits of
    acceptances bound it: `identity_ttl`, and what is left of the credential.
    """
    span = policy.ttl if policy.longest is None else policy.longest
    if negative and policy.negative_ttl is not None:
        span = policy.negative_ttl if span is None else min(span, policy.negative_ttl)
    lifetime = None if span is None else span * (1 + policy.jitter * jitter)
    if lifetime is not None and policy.longest is not None:
        lifetime = min(lifetime, policy.longest)
    said = freshness(cache_control)
    if said is not None:
        lifetime = said if lifetime is None else min(lifetime, said)
    if scope is not Scope.CREDENTIAL:
        return lifetime
    limits = [
        limit for limit in (lifetime, acceptance_lifetime(policy, credential_seconds)) if limit is not None
    ]
    return min(limits)


def idle_limit(policy: Policy) -> float | None:
    """How long (s) an entry lives without being read, None where reads prolong nothing."""
    return None if policy.longest is None else policy.ttl


def kept(policy: Policy) -> float:
    """How long (s) stores keep an entry after its end, to answer for loads that fail.

    Not where reads prolong its life: that a store still holds it is what says that it was read.
    """
    return 0.0 if policy.longest is not None else policy.stale_if_error


def hard_limit(policy: Policy) -> float | None:
    """How long (s) a store may hold an entry of this policy, jitter aside; None for no limit."""
    if policy.ttl is None:
        return None
    return (policy.ttl if policy.longest is None else policy.longest) + kept(policy)


def acceptance_lifetime(policy: Policy, credential_seconds: float | None) -> float:
    """How long an acceptance holds (s): never past the credential's own end (`credential_seconds` from now)."""
    return policy.identity_ttl if credential_seconds is None else min(policy.identity_ttl, credential_seconds)


def ends_at(entry: EntryMeta) -> float | None:
    """When an entry ends (s) if nobody reads it any more, None for never."""
    idle = None if entry.idle is None else (entry.read_at or entry.loaded_at) + entry.idle
    return min((end for end in (entry.expires_at, idle) if end is not None), default=None)
