"""Who asks: the field of a request that names the user, found or declared; the tenant, declared only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cachewright.analysis.exchanges import Exchange, Record
from cachewright.analysis.findings import Observation
from cachewright.analysis.sources import LEAST_VALUES, BoundSpot
from cachewright.spec.identity import TOKEN_CLAIMS

#: Names under which tokens carry their bearer, best first (RFC 7519 §4.1.2, OpenID Connect Core §5.1).
_USER_NAMES = (
    "sub",
    "user_id",
    "userid",
    "uid",
    "user",
    "id",
    "username",
    "preferred_username",
    "email",
    "login",
)
#: Claims that never name the bearer.
_OTHER_CLAIMS = frozenset(
    {"iss", "aud", "azp", "typ", "type", "scope", "scopes", "scp", "role", "roles", "groups"}
)
_TENANT_NAMES = frozenset(
    {"tid", "tenant", "tenant_id", "org", "org_id", "organization", "organization_id", "account_id",
     "workspace_id", "company_id", "team_id"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Fields of a request by which scopes are told apart (`claim.sub`), and how the specification names them.

    `user_source` and `tenant_source` are in the words of the specification (`claim:sub`), None where unknown.
    """

    user: str | None = None
    user_source: str | None = None
    tenant: str | None = None
    tenant_source: str | None = None
    declared: bool = False

    def user_of(self, exchange: Exchange) -> str | None:
        """Who sent this request; None where it does not say."""
        return exchange.exact.get(self.user) if self.user else None

    def tenant_of(self, exchange: Exchange) -> str | None:
        """The tenant this request belongs to; None where it does not say."""
        return exchange.exact.get(self.tenant) if self.tenant else None


def variant(exchange: Exchange) -> tuple[tuple[str, str], ...]:
    """What the token says of its bearer: an answer is never shared between two variants."""
    return tuple(
        sorted(
            (name, value)
            for name, value in exchange.exact.items()
            if name.startswith("claim.") and name.partition(".")[2] not in TOKEN_CLAIMS
        )
    )


def identity_of(record: Record, spots: Iterable[BoundSpot]) -> Identity:
    """The declared identity of the trace, else the claim that predicates were bound to most often."""
    declared = record.trace.declared_identity
    tenant_source = declared.get("tenant")
    tenant = _field("tenant_id", tenant_source, record)
    if "user" in declared:
        source = declared["user"]
        user = _field("user_id", source, record)
        return Identity(
            user, source if user else None, tenant, tenant_source if tenant else None, declared=True
        )
    claim = _user_claim(record, spots)
    return Identity(
        f"claim.{claim}" if claim else None,
        f"claim:{claim}" if claim else None,
        tenant,
        tenant_source if tenant else None,
    )


def tenant_like(record: Record, identity: Identity) -> Iterator[Observation]:
    """Claims that look like a tenant's although none is declared: one for each user, shared by several."""
    if identity.tenant is not None or identity.user is None:
        return
    for name in sorted(_claims(record) & _TENANT_NAMES):
        users: dict[str, set[str]] = defaultdict(set)
        tenants: dict[str, set[str]] = defaultdict(set)
        for exchange in _all(record):
            tenant, user = exchange.exact.get(f"claim.{name}"), identity.user_of(exchange)
            if tenant is not None and user is not None:
                users[tenant].add(user)
                tenants[user].add(tenant)
        shared = any(len(found) > 1 for found in users.values())
        if len(users) > 1 and shared and all(len(found) == 1 for found in tenants.values()):
            yield Observation(
                "tenant_like_claim",
                f"claim:{name}",
                f"The claim {name} has one value for each user, and users share its {len(users)} values: it "
                "looks like a tenant, but tenants are never inferred.",
                {"tenants": len(users), "users": len(tenants)},
            )


def _field(name: str, source: str | None, record: Record) -> str | None:
    """The name under which requests show a declared identity; None where only the application could tell."""
    if source is None:
        return None
    kind, _, rest = source.partition(":")
    match kind:
        case "claim":
            return f"claim.{rest}"
        case "header":
            return f"header.{rest.lower()}"
        case "host":
            return "host"
    return name if any(name in exchange.exact for exchange in _all(record)) else None


def _user_claim(record: Record, spots: Iterable[BoundSpot]) -> str | None:
    binds = Counter(
        name.partition(".")[2]
        for spot in spots
        for names in spot.columns.values()
        for name in names
        if name.startswith("claim.")
    )
    names = {name for name in binds if name not in _OTHER_CLAIMS and name not in TOKEN_CLAIMS}
    finest = [
        name for name in names if not any(_finer(record, other, name) for other in names & set(_USER_NAMES))
    ]
    if finest:
        return min(finest, key=lambda name: (name not in _USER_NAMES, -binds[name], _rank(name), name))
    subjects = {exchange.exact.get("claim.sub") for exchange in _all(record)} - {None}
    return "sub" if len(subjects) >= LEAST_VALUES else None


def _finer(record: Record, name: str, than: str) -> bool:
    """Whether `name` determines `than`, and not the other way round."""
    return name != than and _determines(record, name, than) and not _determines(record, than, name)


def _determines(record: Record, name: str, other: str) -> bool:
    found: dict[str, str | None] = {}
    for exchange in _all(record):
        value = exchange.exact.get(f"claim.{name}")
        if value is not None:
            beside = exchange.exact.get(f"claim.{other}")
            if found.setdefault(value, beside) != beside:
                return False
    return True


def _rank(name: str) -> int:
    return _USER_NAMES.index(name) if name in _USER_NAMES else len(_USER_NAMES)


def _claims(record: Record) -> set[str]:
    return {
        name.partition(".")[2]
        for exchange in _all(record)
        for name in exchange.exact
        if name.startswith("claim.")
    }


def _all(record: Record) -> Iterator[Exchange]:
    for route in record.routes:
        yield from route.exchanges


def credentials_of_users(exchanges: Iterable[Exchange], identity: Identity) -> Mapping[str, set[str]]:
    """The credentials each user showed."""
    found: dict[str, set[str]] = defaultdict(set)
    for exchange in exchanges:
        user = identity.user_of(exchange)
        if user is not None and exchange.request.credential is not None:
            found[user].add(exchange.request.credential)
    return found
