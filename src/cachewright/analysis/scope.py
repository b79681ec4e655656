"""Who may share an answer.

Equal answers never prove `public` (80 % of cross-user pairs on empty lists are equal by accident); one
difference between two users with no write between proves the opposite.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from cachewright.analysis.changes import Pair, pairs_of
from cachewright.analysis.exchanges import Exchange, RouteEvidence
from cachewright.analysis.findings import Observation
from cachewright.analysis.identity import Identity, variant
from cachewright.analysis.journal import Journal
from cachewright.analysis.reads import RouteReads, is_credential
from cachewright.analysis.sources import BoundSpot
from cachewright.evidence.dependencies import EVERYTHING
from cachewright.spec.semantics import Scope
from cachewright.spec.tags import table_tag

LEAST_PRINCIPALS = 3
_LEAST_PATH_ANSWERS = 20


@dataclass(frozen=True, slots=True)
class ScopeChoice:
    """The scope of a route with the evidence for it.

    `path_user` is the path parameter that equals the user.
    """

    scope: Scope
    observations: tuple[Observation, ...]
    path_user: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ScopeEvidence:
    """What scope is decided from.

    Answers that do not depend on the clock, their SQL sources, whole-table writes.
    """

    route: RouteEvidence
    exchanges: Sequence[Exchange]
    spots: Sequence[BoundSpot]
    reads: RouteReads
    identity: Identity
    tables: Journal


def key_fields(route: RouteEvidence, reads: RouteReads) -> tuple[str, ...]:
    """The fields that every key of the route holds, whatever its scope: parameters and keyed reads."""
    names = [
        name
        for name in route.names("path", "query")
        if not (name.startswith("query.") and is_credential(name.replace(".", ":", 1), route.seen))
    ]
    return tuple(dict.fromkeys([*names, *reads.keyed, *reads.outer_keyed]))


def key_of(exchange: Exchange, fields: Sequence[str]) -> tuple[str | None, ...]:
    """The values of `fields` in one request."""
    return tuple(exchange.exact.get(field) for field in fields)


def choose_scope(evidence: ScopeEvidence) -> ScopeChoice:
    """The widest scope that the evidence allows."""
    found: list[Observation] = []
    user = _user_evidence(evidence, found)
    if user is not None:
        return _unless_private(evidence, user, found)
    if _is_tenants(evidence, found):
        return _unless_private(evidence, ScopeChoice(Scope.TENANT, ()), found)
    if _is_public(evidence, found):
        return ScopeChoice(Scope.PUBLIC, tuple(found))
    found.append(
        Observation(
            "scope_credential",
            evidence.route.subject,
            "Nothing proves who may share its answers, so every credential has its own.",
        )
    )
    return ScopeChoice(Scope.CREDENTIAL, tuple(found))


def _user_evidence(evidence: ScopeEvidence, found: list[Observation]) -> ScopeChoice | None:
    """The user scope if something shows that answers belong to users, and enough users were seen."""
    identity, subject = evidence.identity, evidence.route.subject
    users = {identity.user_of(exchange) for exchange in evidence.exchanges if exchange.fillable} - {None}
    if identity.user is None or not users:
        return None
    path = _path_user(evidence)
    bound = sorted({f"{spot.spot.table}.{column}" for spot, column in _bound_to(evidence, identity.user)})
    conflicts = [pair for pair in _conflicts(evidence) if _differ(pair, identity)]
    if bound:
        text = f"SQL binds {', '.join(bound)} to {identity.user_source} in every observation."
        found.append(Observation("scope_user_bind", subject, text, {"columns": len(bound)}))
    if path:
        text = f"The path parameter {path} equals {identity.user_source} in every answer."
        found.append(Observation("scope_user_path", subject, text, {"users": len(users)}))
    if conflicts:
        text = f"{len(conflicts)} times two users got different answers to one key with no write between."
        found.append(Observation("scope_user_conflict", subject, text, {"conflicts": len(conflicts)}))
    if not (bound or path or conflicts):
        return None
    if len(users) < LEAST_PRINCIPALS:
        text = f"Only {len(users)} users were seen."
        found.append(Observation("few_users", subject, text, {"users": len(users)}))
        return None
    return ScopeChoice(Scope.USER, (), path)


def _unless_private(evidence: ScopeEvidence, choice: ScopeChoice, found: list[Observation]) -> ScopeChoice:
    """`choice`, or the credential scope where credentials of one user (or tenant) get different answers."""
    subject = evidence.route.subject
    if evidence.reads.private:
        names = ", ".join(evidence.reads.private)
        text = f"The application reads {names}, which only the credential accounts for."
        found.append(Observation("scope_private_read", subject, text))
        return ScopeChoice(Scope.CREDENTIAL, tuple(found))
    vetoes = list(_vetoes(evidence, choice.scope))
    if vetoes:
        text = f"{len(vetoes)} times two credentials of one {choice.scope} disagreed with no write between."
        found.append(Observation("scope_credential_conflict", subject, text, {"conflicts": len(vetoes)}))
        return ScopeChoice(Scope.CREDENTIAL, tuple(found))
    return ScopeChoice(choice.scope, tuple(found), choice.path_user)


def _is_tenants(evidence: ScopeEvidence, found: list[Observation]) -> bool:
    identity = evidence.identity
    if identity.tenant is None or any(
        name.startswith("scope_user") for name in (seen.code for seen in found)
    ):
        return False
    bound = sorted({f"{spot.spot.table}.{column}" for spot, column in _bound_to(evidence, identity.tenant)})
    conflicts = [
        pair
        for pair in _conflicts(evidence)
        if identity.tenant_of(pair.before) != identity.tenant_of(pair.after)
    ]
    if not bound and not conflicts:
        return False
    names = ", ".join(bound) or "nothing"
    text = f"Answers belong to tenants: {len(conflicts)} conflicts between them, SQL binds {names} to one."
    found.append(Observation("scope_tenant", evidence.route.subject, text, {"conflicts": len(conflicts)}))
    return True


def _is_public(evidence: ScopeEvidence, found: list[Observation]) -> bool:
    anonymous = [
        exchange
        for exchange in evidence.exchanges
        if exchange.fillable and exchange.request.credential is None
    ]
    claimed = any(
        name.startswith(("claim.", "user_id", "tenant_id"))
        for spot in evidence.spots
        for names in spot.columns.values()
        for name in names
    )
    if evidence.reads.credential or evidence.reads.private or claimed or not anonymous:
        return False
    if any(pair.before.request.credential != pair.after.request.credential for pair in _conflicts(evidence)):
        return False
    text = (
        "Nothing reads a credential, no SQL is bound to a claim, no two requesters ever disagreed, and "
        f"{len(anonymous)} answers went to requests without credentials."
    )
    found.append(Observation("scope_public", evidence.route.subject, text, {"anonymous": len(anonymous)}))
    return True


def _bound_to(evidence: ScopeEvidence, field: str) -> Iterator[tuple[BoundSpot, str]]:
    for spot in evidence.spots:
        for column, names in spot.columns.items():
            if field in names:
                yield spot, column


def _path_user(evidence: ScopeEvidence) -> str | None:
    user = evidence.identity.user
    answers = [exchange for exchange in evidence.exchanges if exchange.fillable]
    users = {evidence.identity.user_of(exchange) for exchange in answers}
    if user is None or len(answers) < _LEAST_PATH_ANSWERS or len(users) < LEAST_PRINCIPALS or None in users:
        return None
    for name in evidence.route.names("path"):
        if all(exchange.loose.get(name, "") == exchange.loose.get(user) for exchange in answers):
            return name
    return None


def _across(evidence: ScopeEvidence) -> Iterator[Pair]:
    """Consecutive answers to one key, whoever asked."""
    fields = key_fields(evidence.route, evidence.reads)
    answers = [exchange for exchange in evidence.exchanges if exchange.fillable]
    return pairs_of(answers, lambda exchange: key_of(exchange, fields), whole_tables, evidence.tables)


def _conflicts(evidence: ScopeEvidence) -> Iterator[Pair]:
    """Those of them that differ with no write to any of their tables."""
    return (pair for pair in _across(evidence) if pair.unexplained)


def _vetoes(evidence: ScopeEvidence, scope: Scope) -> Iterator[Pair]:
    fields = key_fields(evidence.route, evidence.reads)

    def shared(exchange: Exchange) -> Hashable | None:
        identity = evidence.identity
        who = identity.user_of(exchange) if scope is Scope.USER else identity.tenant_of(exchange)
        return None if who is None else (who, variant(exchange), key_of(exchange, fields))

    answers = [exchange for exchange in evidence.exchanges if exchange.fillable]
    for pair in pairs_of(answers, shared, whole_tables, evidence.tables):
        if pair.unexplained and pair.before.request.credential != pair.after.request.credential:
            yield pair


def whole_tables(exchange: Exchange) -> frozenset[str]:
    """The any-row tags of everything the request read."""
    return frozenset({EVERYTHING, *(table_tag(run.read.table) for run in exchange.reads)})


def _differ(pair: Pair, identity: Identity) -> bool:
    before, after = identity.user_of(pair.before), identity.user_of(pair.after)
    return before is not None and after is not None and before != after
