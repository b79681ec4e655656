"""Which parts of a request say who sent it, and which reads a scope therefore accounts for.

Reads are named as capture names them: `header:authorization`, `cookie:sid`, `query:api_key`, `session`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from cachewright.spec.semantics import Scope

_CARRIER = re.compile(
    r"(?:^|[-_.])(?:api[-_]?key|apikey|auth|authorization|token|session|sid|jwt|secret|signature|sig|credentials?|"
    r"x[-_]user(?:[-_]?id)?|remote[-_]user|forwarded[-_]user)(?:$|[-_.])",
    re.IGNORECASE,
)
#: Claims that describe the token and not its bearer (RFC 7519 §4.1, OpenID Connect Core §2).
TOKEN_CLAIMS = frozenset({"iat", "exp", "nbf", "jti", "auth_time", "sid", "nonce", "at_hash", "c_hash"})
#: Claims that name the bearer (OpenID Connect Core §5.1): all of a tenant differ in them.
_PROFILE_CLAIMS = frozenset(
    {"sub", "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "username", "email",
     "email_verified", "phone_number", "phone_number_verified", "picture", "profile", "website", "gender", "birthdate",
     "zoneinfo", "locale", "address", "updated_at", "uid", "user_id"}
)  # fmt: skip


def variant_claims(claims: Iterable[str], scope: Scope, user: str | None) -> list[str]:
    """The claims that entries of this scope are compared by, sorted; none for public and credential entries.

    All that say something of the bearer; for a tenant's entries those that do not tell its users apart by name,
    `user` (the field `identity.user` names, as `claim.sub`) among them.
    """
    if scope not in (Scope.USER, Scope.TENANT):
        return []
    told = {name for name in claims if name not in TOKEN_CLAIMS}
    if scope is Scope.TENANT:
        told -= {*_PROFILE_CLAIMS, (user or "").removeprefix("claim.")}
    return sorted(told)


def is_carrier(name: str) -> bool:
    """Whether a header, cookie or query parameter of this name is taken for a credential."""
    return bool(_CARRIER.search(name))


def carried(reads: Iterable[str], declared: Collection[str] = ()) -> frozenset[str]:
    """Those of `reads` that the whole credential accounts for; `declared` is what the route's schemes read."""
    return frozenset(read for read in reads if read in declared or _is_carried(read))


def says_who(reads: Iterable[str], declared: Collection[str]) -> frozenset[str]:
    """Those of `reads` whose very name says that they tell who sent the request; `declared` as for `carried`."""
    return frozenset(
        read
        for read in reads
        if read in declared or read == "session" or (":" in read and is_carrier(read.partition(":")[2]))
    )


def _is_carried(read: str) -> bool:
    where, _, name = read.partition(":")
    if where in ("cookie", "session"):
        return True
    return read == "header:cookie" or (where in ("header", "query") and is_carrier(name))


def covered(
    scope: Scope,
    identity: Collection[str],
    reads: Collection[str],
    declared: Collection[str],
    token: str | None,
) -> frozenset[str]:
    """The reads that the scope of an entry accounts for.

    A credential's entries are keyed by all carriers. A user's or tenant's are keyed by what `identity` names
    (`claim.sub`, `header.x-user`): for claims that is the token's carrier `token` (its other claims are compared
    as the entry's variant), for a header that header. Public entries account for none.
    """
    match scope:
        case Scope.CREDENTIAL:
            return carried(reads, declared)
        case Scope.PUBLIC:
            return frozenset()
    found = {source.replace(".", ":", 1) for source in identity if source.startswith("header.")}
    if any(source.startswith("claim.") for source in identity) and token is not None:
        found.add(token)
    return frozenset(read for read in reads if read in found)
