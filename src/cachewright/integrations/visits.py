"""What a request asks for, as a value that outlives it: its key, its tags, and how anybody could ask for it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from cachewright.capture.context import RequestContext
from cachewright.capture.credentials import header_of
from cachewright.capture.routes import Route
from cachewright.integrations.binding import CONDITIONS, NEGOTIATED, Lookup
from cachewright.runtime.warming.heat import Visit
from cachewright.runtime.warming.warmer import WarmRequest
from cachewright.spec.semantics import Scope
from cachewright.spec.target import Target

_HEADER, _COOKIE = "header.", "cookie."
#: Headers in which clients say what they understand, not who they are, where they are, or what they have.
_UNDERSTOOD = NEGOTIATED - {*CONDITIONS, "range", "origin"}

#: A request whose path, query and headers are longer is not kept, to be made again.
_LONGEST = 2048


class Onlooker(Protocol):
    """Hears what users ask for."""

    def hit(self, visit: Visit) -> None:
        """A user was answered from the cache."""

    def missed(self, visit: Visit) -> None:
        """A user asked for what was not there."""

    def answered(self, context: RequestContext) -> None:
        """The application has answered a request, of whatever route."""

    def follow(self, route: Route, scope: Mapping[str, Any], path_params: Mapping[str, Any]) -> None:
        """A request (its scope as it came) was answered before it was routed."""


def visit_of(lookup: Lookup, scope: Mapping[str, Any]) -> Visit:
    """The visit of a request (its scope as it came)."""
    target = lookup.target
    tags = (*lookup.tags, *target.learning.guards)
    return Visit(target.name, lookup.key, tags, _again(lookup, scope) if _is_for_all(lookup) else None)


def visible(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers that say what a client understands, and nothing of who it is."""
    found = {name: header_of(scope, name) for name in sorted(_UNDERSTOOD)}
    return {name: value for name, value in found.items() if value is not None}


def _is_for_all(lookup: Lookup) -> bool:
    """Whether somebody else, or nobody in particular, may ask for the same."""
    if lookup.target.scope is Scope.PUBLIC:
        return _is_negotiated(lookup.target)
    return lookup.credential is None and not lookup.needs_acceptance and _is_negotiated(lookup.target)


def _is_negotiated(target: Target) -> bool:
    """Whether the key holds no header or cookie that may be a secret; targets answered inside are left alone."""
    fields = target.key.fields
    headers = {field.removeprefix(_HEADER) for field in fields if field.startswith(_HEADER)}
    return not target.inside and headers <= NEGOTIATED and not any(f.startswith(_COOKIE) for f in fields)


def _again(lookup: Lookup, scope: Mapping[str, Any]) -> WarmRequest | None:
    if scope["method"] != lookup.target.method:
        return None
    try:
        path, query = quote(scope["path"]), scope.get("query_string", b"").decode("latin-1")
    except UnicodeEncodeError:  # some servers put bytes that are no text into paths
        return None
    again = WarmRequest(
        f"{path}?{query}" if query else path,
        visible(scope),
        scope.get("scheme", "http"),
        scope.get("root_path", ""),
    )
    return again if size_of(again) <= _LONGEST else None


def size_of(request: WarmRequest) -> int:
    """How long the texts of a request are that whoever sent it made up."""
    return len(request.path) + sum(len(value) for value in request.headers.values())
