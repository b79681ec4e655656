"""The edge form of the interceptor, at the door of each cached route.

It stands in front of the route's own security, and answers only what the application itself has already accepted
for the same credential.
"""

from __future__ import annotations

from typing import Any

from cachewright.capture.asgi import ASGIApp, Receive, Scope, Send
from cachewright.capture.context import RequestContext
from cachewright.integrations.bound import Bindings
from cachewright.integrations.exchange import Exchange, Parts
from cachewright.spec.semantics import Bypass, Reason
from cachewright.spec.tags import credential_tag
from cachewright.spec.target import Target

#: A scope with this key set goes to the application as if there were no cache.
UNCACHED = "cachewright.uncached"


class Edge:
    """Serves, loads and fills; decisions come from `spec.semantics`."""

    def __init__(self, parts: Parts, bindings: Bindings) -> None:
        self._parts = parts
        self._bindings = bindings

    # RequestObserver

    async def enter(
        self, context: RequestContext, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer from the cache, or run the route and fill."""
        target = self._target(context, scope)
        if target is None:
            await app(scope, receive, send)
            return
        if self._parts.is_off(target.name):
            self._parts.cache.stats.bypassed(target.name, Reason.OFF)
            await app(scope, receive, send)
            return
        bound = self._bindings.bind(target, context, scope)
        if isinstance(bound.lookup, Bypass):
            self._parts.cache.stats.bypassed(target.name, bound.lookup.reason)
            await app(scope, receive, send)
            return
        assert bound.request is not None
        await Exchange(self._parts, context, bound.lookup, bound.request, app, scope, receive, send).run()

    async def answering(self, context: RequestContext) -> None:
        """A response that sets a cookie ends what its credential was accepted for (a logout, most likely)."""
        if any(name.lower() == b"set-cookie" for name, _ in context.response_headers):
            credential = self._parts.binder.credential(context.scope)
            if credential is not None:
                await self._parts.cache.invalidate((credential_tag(credential),))

    def finished(self, context: RequestContext) -> None:
        """Nothing is left to do: fills are awaited before the last byte leaves."""

    def _target(self, context: RequestContext, scope: Scope) -> Target | None:
        route = context.route
        if route is None or context.scope.get(UNCACHED):
            return None
        target = self._parts.plan.targets.get((scope["method"], route.template))
        if target is None or target.policy.mode != "live" or target.method not in ("GET", "HEAD"):
            return None
        if route.outdated or (route.exact_query and route.undeclared(context.scope)):
            return None
        if target.problem is not None and not self._parts.at_its_word:
            return None
        return None if _is_special(context.scope) else target


def _is_special(scope: Any) -> bool:
    """Whether a request asks for a range, or has a body."""
    for name, value in scope["headers"]:
        if name in (b"range", b"transfer-encoding"):
            return True
        if name == b"content-length" and value.strip() not in (b"", b"0"):
            return True
    return False
