"""Whether what a load answered may be kept: every reason against it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cachewright.spec.directives import forbidden
from cachewright.spec.semantics import Policy, Reason, Scope
from cachewright.spec.tags import SETTINGS


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
    nested_cache: bool = False
    reads: Collection[Collection[str]] = ()
    unkeyed: Collection[str] = ()


def may_fill(
    policy: Policy, facts: LoadFacts, predicted: Collection[str], *, declared: bool
) -> tuple[Reason, ...]:
    """Why this load must not be filled; empty where it may be.

    `declared` says that the specification names dependencies or a staleness bound for the target, so that a
    load without any SQL is no surprise.
    """
    shared = facts.scope in (Scope.PUBLIC, Scope.TENANT)
    # who shares an entry with others must say which value a setting of the session has for all of them
    reads = [frozenset(read) - {SETTINGS} for read in facts.reads] if shared else facts.reads
    checks = (
        (facts.streamed, Reason.STREAM),
        (facts.status not in policy.statuses, Reason.STATUS),
        (facts.set_cookie, Reason.SET_COOKIE),
        (forbidden(facts.cache_control, shared=shared), Reason.CACHE_CONTROL),
        (facts.size > policy.max_body_bytes, Reason.TOO_LARGE),
        (facts.wrote, Reason.WROTE),
        (facts.background, Reason.BACKGROUND),
        (facts.early_sql, Reason.EARLY_SQL),
        (facts.snapshot, Reason.SNAPSHOT),
        (facts.unowned_sql, Reason.UNOWNED_SQL),
        (facts.nested_cache, Reason.NESTED_CACHE),
        (not facts.reads and not declared, Reason.NO_DEPENDENCY),
        (any(not any(tag in predicted for tag in read) for read in reads), Reason.DEPENDENCY_DRIFT),
        (bool(facts.unkeyed), Reason.UNKEYED_READ),
    )
    return tuple(reason for holds, reason in checks if holds)
