"""What a policy means: the only statement of it, driven by the runtime and by the simulator alike.

A driver gathers facts (what the stores answered, what a load did), asks here, and obeys. Nothing here has a
clock, dice or a wire: `now` and random numbers are arguments.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
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
    SET_HEADER = "set_header"
    ON_LOOP = "on_loop"
    # lookups that miss
    ABSENT = "absent"
    EXPIRED = "expired"
    INVALIDATED = "invalidated"
    NOT_PREDICTED = "not_predicted"
    NOT_ACCEPTED = "not_accepted"
    FOREIGN = "foreign"
    REQUESTED = "requested"
    HELD = "held"
    REFRESH = "refresh"
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
    NESTED_CACHE = "nested_cache"
    CHANGED = "changed"
    NEGATIVE = "negative"
    TOO_MANY_TAGS = "too_many_tags"
    TOO_MANY_KEYS = "too_many_keys"
    # acceptances that are not made
    OBJECT_DECIDES = "object_decides"


#: Reasons that say that the specification is incomplete: the runtime refuses the fill, `verify` shows what
#: the specification, taken at its word, would have answered.
GUARDS = frozenset({Reason.DEPENDENCY_DRIFT, Reason.UNKEYED_READ})
#: Statuses that say that there is nothing here.
NOTHING_HERE = frozenset({404, 410})
#: Statuses that say that a load failed (RFC 5861 §4).
FAILURES = frozenset({500, 502, 503, 504})

_STEPS = 16
_FIRST_RETRY_WAIT = 0.05
_LONGEST_RETRY_WAIT = 2.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How long an entry lives and when it is left alone. Times are in seconds.

    An entry older than `soft_ttl` is served and loaded anew, once; with `early` > 0 that may begin earlier, the
    more likely the longer a load takes (XFetch: Vattani, Chierichetti, Lowenstein, VLDB 2015, whose beta it is).
    With a `longest` life every read gives an entry another `ttl`, up to `longest` after its load began.
    For `stale_if_error` after its end an entry answers for a load that failed, with `stale_after_invalidation`
    also one that was invalidated. What a load did not find lives `negative_ttl`, None for as long as any other
    answer. A load that fails is repeated `retries` times.
    """

    ttl: float | None
    identity_ttl: float
    mode: Mode = "live"
    jitter: float = 0.1
    max_body_bytes: int = 1_000_000
    statuses: frozenset[int] = frozenset({200})
    soft_ttl: float | None = None
    early: float = 0.0
    longest: float | None = None
    stale_if_error: float = 0.0
    stale_after_invalidation: bool = False
    negative_ttl: float | None = None
    single_flight: Literal["process", "fleet"] = "process"
    retries: int = 0


@dataclass(frozen=True, slots=True)
class EntryMeta:
    """What an entry says of itself.

    When its load began and when it ends (s), its tags with the tokens seen before that load, and the digest of
    the claims it was loaded under (None where it is not bound to any). Its load took `load_seconds`, 0 where
    that does not matter. With `idle` it ends earlier, that long (s) after it was last read, at `read_at`.
    """

    loaded_at: float
    expires_at: float | None
    tokens: Mapping[str, Token]
    variant: bytes | None = None
    load_seconds: float = 0.0
    idle: float | None = None
    read_at: float | None = None

    def expired(self, now: float) -> bool:
        """Whether its life is over at `now` (s)."""
        if self.expires_at is not None and now >= self.expires_at:
            return True
        return self.idle is not None and now >= (self.read_at or self.loaded_at) + self.idle


@dataclass(frozen=True, slots=True)
class Acceptance:
    """That the application accepted one credential for one full key, with the tokens seen before that request."""

    accepted_at: float
    expires_at: float
    tokens: Mapping[str, Token]


def arrived(entry: EntryMeta, now: float) -> EntryMeta:
    """What another machine's `entry` says of itself by the clock here, which shows `now` (s).

    A load that began in the future began now at the latest: a clock that is ahead there prolongs no life here
    beyond what the entry was given. One that is behind there ends it early.
    """
    ahead = entry.loaded_at - now
    if ahead <= 0:
        return entry
    end = None if entry.expires_at is None else entry.expires_at - ahead
    return replace(entry, loaded_at=now, expires_at=end)


def arrived_acceptance(acceptance: Acceptance, now: float) -> Acceptance:
    """As `arrived`, for an acceptance."""
    ahead = max(0.0, acceptance.accepted_at - now)
    return replace(
        acceptance, accepted_at=acceptance.accepted_at - ahead, expires_at=acceptance.expires_at - ahead
    )


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
    """A hit; `age` in seconds since its load began. With `refresh` it is time to load it anew, once."""

    age: float
    refresh: bool = False


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


def decide(policy: Policy, seen: Seen, now: float, dice: float = 1.0) -> Decision:  # noqa: PLR0911 - a list of rules, first match wins
    """What to do with a request for which `seen` was found, at `now` (s, the clock of `loaded_at`).

    `dice` in (0, 1] says whether an early refresh is due; 1 is never.
    """
    if policy.mode == "off":
        return Bypass(Reason.OFF)
    if seen.held:
        return Load(Reason.HELD, fill=False)
    entry = seen.entry
    if entry is None:
        return Load(Reason.ABSENT)
    if entry.expired(now):
        return Load(Reason.EXPIRED)
    if not current(entry.tokens, seen.tokens):
        return Load(Reason.INVALIDATED)
    if any(tag not in entry.tokens for tag in seen.predicted):
        return Load(Reason.NOT_PREDICTED)
    if entry.variant != seen.variant:
        return Load(Reason.FOREIGN)
    if seen.needs_acceptance and not accepted(seen.acceptance, seen.tokens, now):
        return Load(Reason.NOT_ACCEPTED)
    return Serve(max(0.0, now - entry.loaded_at), refresh=_due(policy, entry, now, dice))


def takes_part(key: str, percent: float) -> bool:
    """Whether a target that is on for `percent` of its keys is on for this one: the same in every process."""
    return percent >= 100 or zlib.crc32(key.encode()) % 10_000 < percent * 100


def serves_until(policy: Policy, seen: Seen) -> float:
    """Until when (s) `decide`, which serves what was `seen` and asks for no refresh, says so again.

    That is as long as nothing that was seen changes. Minus infinity where chance or the next read decides.
    """
    entry = seen.entry
    if entry is None or policy.early > 0 or entry.idle is not None:
        return -math.inf
    ends = [entry.expires_at, None if policy.soft_ttl is None else entry.loaded_at + policy.soft_ttl]
    if seen.needs_acceptance:
        ends.append(-math.inf if seen.acceptance is None else seen.acceptance.expires_at)
    return min((end for end in ends if end is not None), default=math.inf)


def _due(policy: Policy, entry: EntryMeta, now: float, dice: float) -> bool:
    """Whether an entry that is served should be loaded anew: past its soft end, or before it by chance."""
    end = entry.expires_at
    if policy.soft_ttl is not None:
        soft = entry.loaded_at + policy.soft_ttl
        end = soft if end is None else min(soft, end)
    if end is None:
        return False
    early = entry.load_seconds * policy.early * -math.log(dice) if policy.early > 0 else 0.0
    return now + early >= end


def through(decision: Decision, *, refreshing: bool) -> Decision:
    """`decision` where nothing may be loaded in the background, as for a request to an endpoint.

    One request goes through in place of a refresh; those that come while one is under way are served.
    """
    if isinstance(decision, Serve) and decision.refresh and not refreshing:
        return Load(Reason.REFRESH)
    return decision


def fallback(policy: Policy, seen: Seen, now: float) -> Serve | None:
    """What may answer in place of a load that failed at `now` (s), if anything.

    The entry's tokens must have been asked for and stand, unless the policy allows what was invalidated. Who
    may have it is never relaxed.
    """
    entry = seen.entry
    if entry is None or seen.held or policy.mode == "off" or entry.variant != seen.variant:
        return None
    hard = None if entry.expires_at is None else entry.expires_at + policy.stale_if_error
    stands = current(entry.tokens, seen.tokens) and all(tag in entry.tokens for tag in seen.predicted)
    if (hard is not None and now >= hard) or not (stands or policy.stale_after_invalidation):
        return None
    if seen.needs_acceptance and not accepted(seen.acceptance, seen.tokens, now):
        return None
    return Serve(max(0.0, now - entry.loaded_at))


def read(entry: EntryMeta, now: float) -> EntryMeta:
    """`entry` after it was served at `now` (s): itself, or with a longer life where reads prolong it.

    A read within a sixteenth of `idle` after the last one prolongs nothing: there is hardly anything to gain.
    """
    if entry.idle is None or now - (entry.read_at or entry.loaded_at) < entry.idle / _STEPS:
        return entry
    return replace(entry, read_at=now)


def retry_wait(policy: Policy, failures: int, dice: float) -> float | None:
    """How long (s) to wait before a load that failed `failures` times is repeated; None: it is not.

    Exponential with full jitter (`dice` in [0, 1)), so that processes that failed together do not come back
    together (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    if failures > policy.retries:
        return None
    return dice * min(_LONGEST_RETRY_WAIT, _FIRST_RETRY_WAIT * 2.0 ** (failures - 1))


def current(own: Mapping[str, Token], now: Mapping[str, Token]) -> bool:
    """Whether every tag still carries the token it had before the load; an absent token is a changed one."""
    return own.items() <= now.items()


def accepted(acceptance: Acceptance | None, tokens: Mapping[str, Token], now: float) -> bool:
    """Whether the application's word for this credential and key still holds."""
    return acceptance is not None and now < acceptance.expires_at and current(acceptance.tokens, tokens)
