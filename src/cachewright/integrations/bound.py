"""Requests bound to what they are looked up by, once for all that look alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cachewright.capture.context import RequestContext
from cachewright.capture.routes import Route
from cachewright.capture.routing import Placed
from cachewright.integrations.binding import Binder, Lookup, is_conditional, origin_of
from cachewright.integrations.recall import Generations, Likeness
from cachewright.integrations.visits import size_of, visit_of
from cachewright.runtime.questions import LookupRequest
from cachewright.runtime.standing import Standing
from cachewright.runtime.warming.heat import Visit
from cachewright.spec.semantics import Bypass
from cachewright.spec.target import Target

_MOST = 16_384
_MOST_BYTES = 16 * 1024 * 1024
#: What one costs beside its texts: its objects, and its place in a dictionary.
_OBJECTS = 1200
#: What it costs to be able to ask again, beside its texts.
_AGAIN = 600
_TAG = 60


@dataclass(slots=True, eq=False)
class Bound:
    """What requests that look alike are bound to, at the route that the application's router chose for them.

    A `conditional` one may be answered with 304, by the application if it gives validators.
    `placed` is None while it may not be repeated that they take this route. `standing` is the answer that was
    decided last, if it is known how long it stands; `visit` is what is counted of them.
    """

    route: Route
    path: Mapping[str, str]
    origin: str
    lookup: Lookup | Bypass
    request: LookupRequest | None
    conditional: bool
    visit: Visit | None = None
    placed: Placed | None = None
    standing: Standing | None = None


class Bindings:
    """Binds requests by `binder`, and remembers it."""

    def __init__(self, binder: Binder, likeness: Likeness) -> None:
        self._binder = binder
        self._likeness = likeness
        self._known: Generations[Bound] = Generations(items=_MOST, limit=_MOST_BYTES)

    def known(self, scope: Mapping[str, Any]) -> Bound | None:
        """What a request (its scope as it came) was bound to the last time, whichever route it takes now."""
        digest = self._likeness.of(scope)
        return None if digest is None else self._known.get(digest)

    def bind(self, target: Target, context: RequestContext, scope: Mapping[str, Any]) -> Bound:
        """What a request is bound to at the door of its route."""
        route = context.route
        assert route is not None
        self._likeness.learn(context.scope)
        digest = self._likeness.of(context.scope)
        path = {name: str(value) for name, value in context.path_params.items()}
        origin = origin_of(scope)
        bound = None if digest is None else self._known.get(digest)
        known = bound is not None and (bound.route, bound.path, bound.origin) == (route, path, origin)
        if bound is None or not known or not self._binder.stands(bound.lookup):
            lookup = self._binder.bind(target, context, scope)
            bound = Bound(
                route,
                path,
                origin,
                lookup,
                request_of(lookup),
                is_conditional(context.scope),
                None if isinstance(lookup, Bypass) else visit_of(lookup, context.scope),
            )
            if digest is not None:
                self._known.put(digest, bound, _size(bound))
        bound.placed = context.placed
        return bound

    def forget(self) -> None:
        """Routes, and what their security schemes read, were looked at anew."""
        self._likeness.forget()
        self._known.clear()


def request_of(lookup: Lookup | Bypass) -> LookupRequest | None:
    """What the tiers are asked for, None where nothing is looked up."""
    if isinstance(lookup, Bypass):
        return None
    return LookupRequest(
        target=lookup.target.name,
        key=lookup.key,
        tags=lookup.tags,
        levels=lookup.target.levels,
        needs_acceptance=lookup.needs_acceptance,
        credential=lookup.credential,
        variant=lookup.variant,
        open_ended=lookup.target.open_ended,
        guards=lookup.target.learning.guards,
        ground=None if lookup.ground is None else lookup.ground.name,
        ground_tags=() if lookup.ground is None else lookup.ground.tags,
    )


def _size(bound: Bound) -> int:
    texts = sum(len(value) for value in bound.path.values()) + len(bound.origin)
    if bound.request is not None:
        texts += 3 * len(bound.request.key) + sum(len(tag) + _TAG for tag in bound.request.tags)
        texts += 2 * len(bound.request.ground or "") + sum(
            len(tag) + _TAG for tag in bound.request.ground_tags
        )
    if bound.visit is not None and bound.visit.again is not None:
        texts += _AGAIN + size_of(bound.visit.again)
    return _OBJECTS + texts
