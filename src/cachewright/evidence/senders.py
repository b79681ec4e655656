"""Who sent a request, and with which values: read from what was seen, hashed before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cachewright.capture.credentials import claims_expire, credential_of, request_values, token_of
from cachewright.capture.params import Param
from cachewright.evidence.events import Asked
from cachewright.evidence.hashing import Hasher
from cachewright.evidence.trace import Hash, Value

_KINDS = {"int": "i", "bool": "b", "float": "f"}
#: Times of the token itself say nothing of a request.
_TIMES_OF_TOKEN = frozenset({"iat", "exp", "nbf", "auth_time"})
#: Names in a token are its sender's to choose.
_CLAIM = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,63}\Z")
_MOST_CLAIMS = 32
_MOST_READS = 64
_REMEMBERED = 5_000


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request, and with which values: `raw` ones are never to be written as they are."""

    raw: Mapping[str, Any]
    values: Mapping[str, Value]
    params: Mapping[str, Param]
    credential: Hash | None
    expires: float | None
    carrier: str | None


@dataclass(frozen=True, slots=True)
class _Token:
    """What the token of a credential says; `expires` by the trace's clock."""

    claims: Mapping[str, Value]
    expires: float | None
    carrier: str | None


class Senders:
    """Reads the senders of requests; see `Anonymiser` for what it is given."""

    def __init__(self, hasher: Hasher, wall_at_zero: float, declared: frozenset[str]) -> None:
        self._hasher = hasher
        self._wall_at_zero = wall_at_zero
        self._declared = declared
        self._tokens: dict[Hash, _Token] = {}

    def of(self, asked: Asked) -> Sender:
        """Who sent it, and with what."""
        material = credential_of(asked.scope, asked.route.credentials if asked.route else ())
        credential = None if material is None else self._hasher.secret(material)
        token = _NO_TOKEN if credential is None else self._token(credential, asked.scope)
        raw = self._raw_values(asked)
        params = {f"{param.where}.{param.name}": param for param in asked.route.params} if asked.route else {}
        values = {name: self._hasher.value(value, _kind(params.get(name))) for name, value in raw.items()}
        values.update(token.claims)
        return Sender(raw, values, params, credential, token.expires, token.carrier)

    def _raw_values(self, asked: Asked) -> dict[str, Any]:
        """Values of the request by the names of key patterns; never to be written as they are."""
        values = asked.route.values(asked.scope, asked.path_params) if asked.route else {}
        wanted = {"host", *self._declared}
        params = asked.route.params if asked.route else ()
        defaults = {
            f"{param.where}.{param.name}": param for param in params if param.where in ("header", "cookie")
        }
        wanted.update(defaults)
        for read in sorted(asked.reads | asked.outer_reads)[:_MOST_READS]:
            where, _, name = read.partition(":")
            if where in ("header", "cookie", "query") and f"{where}.{name}" not in values:
                wanted.add(f"{where}.{name}")
        found = request_values(asked.scope, sorted(wanted))
        for name, value in found.items():
            values[name] = defaults[name].canonical(()) if value is None and name in defaults else value
        return values

    def _token(self, credential: Hash, scope: Mapping[str, Any]) -> _Token:
        """What the token among a credential says."""
        known = self._tokens.get(credential)
        if known is None:
            carrier, claims = token_of(scope)
            names = [name for name in claims if name not in _TIMES_OF_TOKEN and _CLAIM.match(name)]
            values = {f"claim.{name}": self._hasher.value(claims[name]) for name in names[:_MOST_CLAIMS]}
            expires = _expiry(claims)
            known = _Token(
                claims=values,
                expires=None if expires is None else (expires - self._wall_at_zero) * 1e9,
                carrier=carrier,
            )
            if len(self._tokens) >= _REMEMBERED:
                self._tokens.clear()
            self._tokens[credential] = known
        return known


_NO_TOKEN = _Token({}, None, None)


def carrier_of(asked: Asked, sender: Sender) -> str | None:
    """Where the token stood, if the application looks there: other names of cookies are their sender's to choose."""
    carrier = sender.carrier
    named = asked.reads | asked.outer_reads | set(asked.route.credentials if asked.route else ())
    if carrier is None or carrier == "header:authorization" or carrier in named:
        return carrier
    return carrier if carrier.replace(":", ".", 1) in sender.params else None


def _kind(param: Param | None) -> str | None:
    return None if param is None or param.multiple else _KINDS.get(param.type)


def _expiry(claims: Mapping[str, Any]) -> float | None:
    try:
        return claims_expire(claims)
    except OverflowError:  # a number that no clock will reach
        return None
