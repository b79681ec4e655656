"""From an HTTP request to a lookup: its values, who sent it, its key and the tags predicted for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from cachewright.capture.context import RequestContext
from cachewright.capture.credentials import (
    Scalar,
    claims_expire,
    credential_of,
    header_of,
    request_values,
    token_of,
)
from cachewright.spec.grounds import Ground, ground_of
from cachewright.spec.identity import variant_claims
from cachewright.spec.keys import ANONYMOUS, UnboundFieldError, encode, escape
from cachewright.spec.semantics import Bypass, Reason, Scope, takes_part
from cachewright.spec.target import Plan, Target

#: RFC 9110 §13.1
CONDITIONS = ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since")
_CONDITIONS = frozenset(name.encode() for name in CONDITIONS)
NOTHING: Mapping[str, Any] = MappingProxyType({})
#: Headers in which a client says what it wants, and nothing that proves anything. Any other one may be a secret,
#: whatever its name, and keys are read by everybody who may look at the server.
NEGOTIATED = frozenset(
    {"accept", "accept-charset", "accept-encoding", "accept-language", "host", "origin", "range", *CONDITIONS}
)
_PRIVATE = (Scope.USER, Scope.TENANT)
#: Begins the keys of a target whose objects turned out to decide who may have them, although it says otherwise.
_BY_OBJECT = "@object:"


@dataclass(frozen=True, slots=True)
class Lookup:
    """A request as the cache sees it.

    `key` is the logical key, with the host in front unless the service has one host, and with its route where that is
    not the target's own; `credential` the keyed
    hash of whatever says who sent it; `variant` the digest of what else the token says of its bearer;
    `expires_at` when the token ends (wall seconds). `proven` says that the application has accepted this very
    request, and `vouched` are the reads that its principal accounts for. Its tokens were asked for at `asked`
    (monotonic ns), 0: when the route's own code was reached. Its credential has to be accepted for its key, or for its
    `ground`.
    """

    target: Target
    key: str
    tags: tuple[str, ...]
    credential: str | None
    variant: bytes | None
    expires_at: float | None
    carrier: str | None
    proven: bool = False
    vouched: frozenset[str] = frozenset()
    asked: int = 0
    ground: Ground | None = None

    def asks_as(self, other: Lookup) -> bool:
        """Whether `other` is looked up by the same."""
        return (self.key, self.tags, self.variant) == (other.key, other.tags, other.variant)

    @property
    def needs_acceptance(self) -> bool:
        """Whether the application must have accepted this credential for this key before."""
        return self.target.scope in _PRIVATE and not self.proven


class Binder:
    """Binds requests to the targets of a plan.

    `secret` keys all hashes; it is one per fleet. `carriers` gives what the security schemes of all routes read:
    a credential is the same on every route, so that a logout on one ends it on all.
    """

    def __init__(self, plan: Plan, secret: bytes, carriers: Callable[[], Collection[str]]) -> None:
        self._plan = plan
        self._secret = secret
        self._carriers = carriers
        self._names = {target.name: _extra_names(plan, target) for target in plan.targets.values()}
        self._veiled = {target.name: _veiled(target) for target in plan.targets.values()}
        self._by_object: set[str] = set()

    def bind(
        self,
        target: Target,
        context: RequestContext,
        scope: Mapping[str, Any],
        *,
        returned: Mapping[str, Any] = NOTHING,
        vouched: frozenset[str] = frozenset(),
        proven: bool = False,
    ) -> Lookup | Bypass:
        """The lookup for this request, or why there is none; `returned` are ids that its dependencies returned."""
        route = context.route
        assert route is not None
        plain = context.scope
        carrier, claims = token_of(plain)
        values = request_values(plain, self._names[target.name])
        if not route.spells((scope["path"], plain["path"]), context.path_params):
            return Bypass(Reason.UNBOUND_KEY)
        values |= route.values(plain, context.path_params)
        values |= {f"claim.{name}": value for name, value in claims.items()}
        values |= returned
        self._plan.identify(values)
        credential = self.credential(plain)
        values["cred"] = credential or ANONYMOUS
        if target.bypassed(values):
            return Bypass(Reason.BYPASS_CONDITION)
        shown = self._shown(target, values)
        try:
            bound = target.bind(values, shown=shown)
        except UnboundFieldError:
            return Bypass(Reason.UNBOUND_KEY)
        if not takes_part(bound.key, target.percent):
            return Bypass(Reason.OFF)
        if target.scope in _PRIVATE and credential is None and not returned:
            return Bypass(Reason.UNBOUND_KEY)
        origin = "" if self._plan.single_host else f"@{escape(origin_of(scope))}:"
        if route.template != target.template:  # code named the target, and may do so on other routes
            origin += f"@{escape(route.template)}:"
        if target.name in self._by_object:  # others, who know no better yet, are not to find it
            origin += _BY_OBJECT
        ground = None
        if target.scope in _PRIVATE and not proven and self._beyond_objects(target):
            ground = ground_of(target, {**values, **shown}, values, route.decisive)
            ground = replace(ground, name=f"{origin}{ground.name}")
        return Lookup(
            target=target,
            key=f"{origin}{bound.key}",
            tags=bound.tags,
            credential=credential,
            variant=self._variant(claims, target.scope),
            expires_at=claims_expire(claims),
            carrier=carrier,
            proven=proven,
            vouched=vouched,
            ground=ground,
        )

    def _beyond_objects(self, target: Target) -> bool:
        """Whether access to this target does not depend on the object, as far as is known here."""
        return target.authorization == "target" and target.name not in self._by_object

    def distrust(self, target: Target) -> bool:
        """From now on every object of `target` needs an acceptance of its own; whether that is news."""
        news = target.name not in self._by_object
        self._by_object.add(target.name)
        return news

    def stands(self, lookup: Lookup | Bypass) -> bool:
        """Whether what was bound before would be bound to the same ground now."""
        return isinstance(lookup, Bypass) or lookup.ground is None or self._beyond_objects(lookup.target)

    @property
    def headers(self) -> frozenset[str]:
        """The headers that the specification reads, beside those that may say who sent a request."""
        names = {name for names in self._names.values() for name in names}
        return frozenset(name.partition(".")[2].lower() for name in names if name.startswith("header."))

    def unkeyed(self, lookup: Lookup, context: RequestContext) -> frozenset[str]:
        """What the request's code read that neither key nor scope accounts for."""
        route = context.route
        assert route is not None
        return lookup.target.unkeyed(
            self._plan.identity,
            reads=context.reads,
            outer_reads=context.outer_reads,
            declared={f"{param.where}:{param.name}" for param in route.params}
            | {f"path:{name}" for name in context.path_params},
            credentials=route.credentials,
            token=lookup.carrier,
            vouched=lookup.vouched,
        )

    def credential(self, scope: Mapping[str, Any]) -> str | None:
        """The keyed hash of a request's credential, None where it has none."""
        material = credential_of(scope, self._carriers())
        return None if material is None else self._hash(material, 16)

    def _variant(self, claims: Mapping[str, Scalar], scope: Scope) -> bytes | None:
        said = {
            name: claims[name] for name in variant_claims(claims, scope, self._plan.identity.get("user_id"))
        }
        if not said:
            return None
        return bytes.fromhex(self._hash(json.dumps(said, sort_keys=True).encode(), 8))

    def _shown(self, target: Target, values: Mapping[str, Any]) -> dict[str, str]:
        """What stands in a key for headers and cookies that may prove something: a keyed hash of each."""
        return {
            name: self._hash(encode(values[name], text=True).encode(), 16)
            for name in self._veiled[target.name]
            if values.get(name) is not None
        }

    def _hash(self, material: bytes, size: int) -> str:
        return hashlib.blake2b(material, key=self._secret[:64], digest_size=size).hexdigest()


def _veiled(target: Target) -> tuple[str, ...]:
    """The headers and cookies of a key whose values not everybody may read."""
    return tuple(
        name
        for name in target.key.fields
        if name.startswith("cookie.")
        or (name.startswith("header.") and name.removeprefix("header.") not in NEGOTIATED)
    )


def _extra_names(plan: Plan, target: Target) -> frozenset[str]:
    """Values to look up beyond declared parameters: headers, cookies, raw query parameters, the host."""
    names = {*target.key.fields, *plan.identity.values()}
    names.update(
        source.name for template in target.depends_on for _, source in template.columns if source.name
    )
    names.update(clause.name for condition in target.bypass for clause in condition.clauses)
    return frozenset(
        name for name in names if name.startswith(("header.", "cookie.", "query.")) or name == "host"
    )


def origin_of(scope: Mapping[str, Any]) -> str:
    """Scheme, host and root path: two of them are two services."""
    host = header_of(scope, "host")
    if host is None:  # then an application takes the address it was asked at
        host = f"@{scope.get('server')}"
    return f"{scope.get('scheme', 'http')}://{host}{scope.get('root_path', '')}"


def is_conditional(scope: Mapping[str, Any]) -> bool:
    """Whether the request has a condition, which an application that gives validators compares itself."""
    return any(name in _CONDITIONS for name, _ in scope["headers"])
