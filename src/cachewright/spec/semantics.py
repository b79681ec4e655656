"""What a policy means: the only statement of it, driven by the runtime and by the simulator alike.

A driver gathers facts (what the stores answered, what a load did), asks here, and obeys. Nothing here has a
clock, dice or a wire: `now` and random numbers are arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Token = bytes | int
Mode = Literal["live", "shadow", "off"]


class Scope(StrEnum):
    """Who may share an entry."""

    PUBLIC = "public"
    TENANT = "tenant"
    USER = "user"
    CREDENTIAL = "credential"


class Reason(StrEnum):
    """Why a lookup was not a hit, or why a load was not filled; stable names, also in metrics."""

    # no lookup
    OFF = "off"
    BYPASS_CONDITION = "bypass_condition"
    UNBOUND_KEY = "unbound_key"
    NO_STORE = "no_store"
    # lookups that miss
    ABSENT = "absent"
    EXPIRED = "expired"
    INVALIDATED = "invalidated"
    NOT_PREDICTED = "not_predicted"
    NOT_ACCEPTED = "not_accepted"
    FOREIGN = "foreign"
    HELD = "held"
    # loads that are not filled
    STATUS = "status"
    SET_COOKIE = "set_cookie"
    CACHE_CONTROL = "cache_control"
    STREAM = "stream"
    TOO_LARGE = "too_large"
    WROTE = "wrote"
    BACKGROUND = "background"
    NO_DEPENDENCY = "no_dependency"
    DEPENDENCY_DRIFT = "dependency_drift"
    UNKEYED_READ = "unkeyed_read"
    EARLY_SQL = "early_sql"
    SNAPSHOT = "snapshot"
    UNOWNED_SQL = "unowned_sql"
    CHANGED = "changed"


#: Reasons that say that the specification is incomplete: the runtime refuses the fill, `verify` shows what
#: the specification, taken at its word, would have answered.
GUARDS = frozenset({Reason.DEPENDENCY_DRIFT, Reason.UNKEYED_READ})


@dataclass(frozen=True, slots=True)
class Policy:
    """How long an entry lives and when it is left alone. Times are in seconds."""

    ttl: float | None
    identity_ttl: float
    mode: Mode = "live"
    jitter: float = 0.1
    max_body_bytes: int = 1_000_000
    statuses: frozenset[int] = frozenset({200})


@dataclass(frozen=True, slots=True)
class EntryMeta:
    """What an entry says of itself.

    When its load began and when it ends (s), its tags with the tokens seen before that load, and the digest of
    the claims it was loaded under (None where it is not bound to any).
    """

    loaded_at: float
    expires_at: float | None
    tokens: Mapping[str, Token]
    variant: bytes | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """That the application accepted one credential for one full key, with the tokens seen before that request."""

    accepted_at: float
    expires_at: float
    tokens: Mapping[str, Token]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one lookup found: the entry, the acceptance, the tokens the tags carry now, the tags predicted."""

    entry: EntryMeta | None
    tokens: Mapping[str, Token]
    predicted: Collection[str]
    needs_acceptance: bool = False
    acceptance: Acceptance | None = None
    variant: bytes | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Serve:
    """A hit; `age` in seconds since its load began."""

    age: float


@dataclass(frozen=True, slots=True)
class Load:
    """A miss. Where `fill` is false the load must not be stored either."""

    reason: Reason
    fill: bool = True


@dataclass(frozen=True, slots=True)
class Bypass:
    """No lookup at all."""

    reason: Reason


Decision = Serve | Load | Bypass


def decide(policy: Policy, seen: Seen, now: float) -> Decision:  # noqa: PLR0911 - a list of rules, first match wins
    """What to do with a request for which `seen` was found, at `now` (s, the clock of `loaded_at`)."""
    if policy.mode == "off":
        return Bypass(Reason.OFF)
    if seen.held:
        return Load(Reason.HELD, fill=False)
    entry = seen.entry
    if entry is None:
        return Load(Reason.ABSENT)
    if entry.expires_at is not None and now >= entry.expires_at:
        return Load(Reason.EXPIRED)
    if not current(entry.tokens, seen.tokens):
        return Load(Reason.INVALIDATED)
    if any(tag not in entry.tokens for tag in seen.predicted):
        return Load(Reason.NOT_PREDICTED)
    if entry.variant != seen.variant:
        return Load(Reason.FOREIGN)
    if seen.needs_acceptance and not accepted(seen.acceptance, seen.tokens, now):
        return Load(Reason.NOT_ACCEPTED)
    return Serve(max(0.0, now - entry.loaded_at))


def current(own: Mapping[str, Token], now: Mapping[str, Token]) -> bool:
    """Whether every tag still carries the token it had before the load; an absent token is a changed one."""
    return all(now.get(tag) == token for tag, token in own.items())


def accepted(acceptance: Acceptance | None, tokens: Mapping[str, Token], now: float) -> bool:
    """Whether the application's word for this credential and key still holds."""
    return acceptance is not None and now < acceptance.expires_at and current(acceptance.tokens, tokens)


def entry_lifetime(
    policy: Policy, scope: Scope, jitter: float, credential_seconds: float | None
) -> float | None:
    """How long a new entry lives (s), None for no limit.

    `jitter` in [-1, 1] spreads expiries by the policy's share. An entry keyed by a credential is its own
    acceptance, so the limits of acceptances bound it: `identity_ttl`, and what is left of the credential.
    """
    lifetime = None if policy.ttl is None else policy.ttl * (1 + policy.jitter * jitter)
    if scope is not Scope.CREDENTIAL:
        return lifetime
    limits = [
        limit for limit in (lifetime, acceptance_lifetime(policy, credential_seconds)) if limit is not None
    ]
    return min(limits)


def acceptance_lifetime(policy: Policy, credential_seconds: float | None) -> float:
    """How long an acceptance holds (s): never past the credential's own end (`credential_seconds` from now)."""
    return policy.identity_ttl if credential_seconds is None else min(policy.identity_ttl, credential_seconds)


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """What a load did and answered: everything that decides whether it may be filled.

    `reads` holds, for every SQL read of the request, the tags any one of which covers it; `unkeyed` the
    headers, cookies, parameters or other parts of the request that were read but stand neither in the key nor
    in the scope.
    """

    status: int
    size: int
    scope: Scope
    set_cookie: bool = False
    cache_control: frozenset[str] = frozenset()
    streamed: bool = False
    wrote: bool = False
    background: bool = False
    early_sql: bool = False
    snapshot: bool = False
    unowned_sql: bool = False
    reads: Collection[Collection[str]] = ()
    unkeyed: Collection[str] = ()


def may_fill(
    policy: Policy, facts: LoadFacts, predicted: Collection[str], *, declared: bool
) -> tuple[Reason, ...]:
    """Why this load must not be filled; empty where it may be.

    `declared` says that the specification names dependencies or a staleness bound for the target, so that a
    load without any SQL is no surprise.
    """
    private = facts.scope in (Scope.PUBLIC, Scope.TENANT)
    checks = (
        (facts.streamed, Reason.STREAM),
        (facts.status not in policy.statuses, Reason.STATUS),
        (facts.set_cookie, Reason.SET_COOKIE),
        (
            "no-store" in facts.cache_control or (private and "private" in facts.cache_control),
            Reason.CACHE_CONTROL,
        ),
        (facts.size > policy.max_body_bytes, Reason.TOO_LARGE),
        (facts.wrote, Reason.WROTE),
        (facts.background, Reason.BACKGROUND),
        (facts.early_sql, Reason.EARLY_SQL),
        (facts.snapshot, Reason.SNAPSHOT),
        (facts.unowned_sql, Reason.UNOWNED_SQL),
        (not facts.reads and not declared, Reason.NO_DEPENDENCY),
        (any(not any(tag in predicted for tag in read) for read in facts.reads), Reason.DEPENDENCY_DRIFT),
        (bool(facts.unkeyed), Reason.UNKEYED_READ),
    )
    return tuple(reason for holds, reason in checks if holds)
