"""Who a request claims to be: the carriers of credentials, and the claims of a token nobody has verified yet.

Unverified claims may predict; they never authorise anything.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection

from cachewright.spec.identity import is_carrier

Scalar = str | int | float | bool | None

_LONGEST_TOKEN = 8192
_LAST_SECOND = 2**53


def header_of(scope: Mapping[str, Any], name: str) -> str | None:
    """A request header, several of one name joined as RFC 9110 §5.2 allows; None where it is absent."""
    wanted = name.lower().encode("latin-1")
    found = [value for key, value in scope["headers"] if key == wanted]
    return b", ".join(found).decode("latin-1") if found else None


def cookies_of(scope: Mapping[str, Any]) -> dict[str, str]:
    """The request's cookies as this Starlette reads them: some take one header of several, some all."""
    return HTTPConnection({"type": "http", "headers": scope["headers"]}).cookies


def _fields_of(scope: Mapping[str, Any], name: str) -> str | list[str] | None:
    """A header as code may see it: its text, all its texts where it came several times, None where it is absent."""
    wanted = name.lower().encode("latin-1")
    found = [value.decode("latin-1") for key, value in scope["headers"] if key == wanted]
    return found[0] if len(found) == 1 else found or None


def query_of(scope: Mapping[str, Any], name: str) -> str | list[str] | None:
    """A raw query parameter: its text, all its texts where it came several times, None where it is absent."""
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    found = [value for key, value in pairs if key == name]
    return found[0] if len(found) == 1 else found or None


def credential_of(scope: Mapping[str, Any], declared: Collection[str] = ()) -> bytes | None:
    """Everything in a request that may say who sent it, as bytes to hash; None where there is nothing.

    `Authorization`, all cookies, headers and query keys whose names look like credentials, and what the route's
    security schemes read (`declared`, as `header:x-key`).
    """
    parts: list[bytes] = []
    for key, value in scope["headers"]:
        name = key.decode("latin-1")
        if name in ("authorization", "cookie") or f"header:{name}" in declared or is_carrier(name):
            parts += (b"h", key, value)
    query = scope.get("query_string", b"")
    if query:
        for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            if f"query:{name}" in declared or is_carrier(name):
                parts += (b"q", name.encode(), text.encode("utf-8", "surrogatepass"))
    if not parts:
        return None
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def claims_of(scope: Mapping[str, Any]) -> dict[str, Scalar]:
    """The claims of the JSON Web Token in `Authorization` or else in a cookie, unverified.

    Lists and objects (roles, scopes) come as their JSON text.
    """
    return token_of(scope)[1]


def token_of(scope: Mapping[str, Any]) -> tuple[str | None, dict[str, Scalar]]:
    """The carrier of the request's JSON Web Token (`header:authorization`, `cookie:NAME`) and its claims.

    Applications name the scheme as they like (`Bearer`, `Token`, `JWT`), or not at all.
    """
    authorization = header_of(scope, "authorization")
    if authorization is not None:
        kind, _, token = authorization.partition(" ")
        claims = _payload(token.strip() or kind)
        return ("header:authorization", claims) if claims else (None, {})
    for name, value in cookies_of(scope).items():
        claims = _payload(value.removeprefix("Bearer ").strip())
        if claims:
            return f"cookie:{name}", claims
    return None, {}


def _payload(token: str) -> dict[str, Scalar]:
    pieces = token.split(".")
    if len(pieces) != 3 or len(token) > _LONGEST_TOKEN:
        return {}
    try:
        text = base64.urlsafe_b64decode(pieces[1] + "=" * (-len(pieces[1]) % 4))
        claims = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        return {}
    if not isinstance(claims, dict):
        return {}
    return {
        name: json.dumps(value, sort_keys=True) if isinstance(value, (list, dict)) else value
        for name, value in claims.items()
    }


def claims_expire(claims: Mapping[str, Scalar]) -> float | None:
    """The token's `exp` in seconds since the epoch, None where it has none."""
    expires = claims.get("exp")
    if isinstance(expires, bool) or not isinstance(expires, (int, float)):
        return None
    return float(min(max(expires, 0), _LAST_SECOND))


def request_values(scope: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Values of a request by the names of key patterns, other than its declared parameters.

    Headers, cookies, undeclared query parameters, the host.
    """
    values: dict[str, Any] = {}
    for name in names:
        where, _, rest = name.partition(".")
        match where:
            case "header":
                values[name] = _fields_of(scope, rest)
            case "cookie":
                values[name] = cookies_of(scope).get(rest)
            case "query":
                values[name] = query_of(scope, rest)
            case "host":
                values[name] = header_of(scope, "host")
    return values
