"""The cache at the door of each route.

In the edge form it stands in front of the route's own security, and answers only what the application itself has
already accepted for the same credential; in the other forms it lets the route come to its endpoint (`inside`).
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any, assert_never

from cachewright.capture.asgi import ASGIApp, Message, Receive, Scope, Send
from cachewright.capture.context import RequestContext
from cachewright.integrations.answers import Answer
from cachewright.integrations.bound import Bindings
from cachewright.integrations.comparing import COMPARED, Comparisons, Passing
from cachewright.integrations.exchange import Exchange, Turn
from cachewright.integrations.forms import Formed, Forms
from cachewright.integrations.inside import Inside
from cachewright.integrations.loading import Loading, noting_the_body
from cachewright.integrations.parts import WARMING, Parts
from cachewright.integrations.principals import Principals
from cachewright.integrations.warmth import PREDICTED
from cachewright.runtime.warming.account import tried
from cachewright.spec.semantics import Bypass, Reason
from cachewright.spec.tags import credential_tag
from cachewright.spec.target import Target

#: A scope with this key set goes to the application as if there were no cache.
UNCACHED = "cachewright.uncached"


class Edge:
    """Serves, loads and fills; decisions come from `spec.semantics`."""

    def __init__(self, parts: Parts, bindings: Bindings, comparisons: Comparisons) -> None:
        self._parts = parts
        self._comparisons = comparisons
        self._bindings = bindings
        self._forms = Forms(parts.plan)
        self._principals = Principals(parts.plan.identity.values())

    # RequestObserver

    async def enter(
        self, context: RequestContext, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer from the cache, or run the route and fill."""
        formed = self._formed(context, scope)
        if formed is None:
            await app(scope, receive, send)
        elif self._parts.is_off(formed.target.name):
            self._parts.cache.stats.bypassed(formed.target.name, Reason.OFF)
            await app(scope, receive, send)
        elif formed.inside and self._comparisons.hides(formed.target.name, formed.target.policy.mode):
            self._parts.cache.stats.bypassed(
                formed.target.name, Reason.OFF
            )  # only the edge looks from outside
            await app(scope, receive, send)
        elif formed.inside:
            await Inside(
                self._parts, self._principals, context, formed.target, app, scope, receive, send
            ).run()
        else:
            bound = self._bindings.bind(formed.target, context, scope)
            if isinstance(bound.lookup, Bypass):
                self._parts.cache.stats.bypassed(formed.target.name, bound.lookup.reason)
                await app(scope, receive, self._saying(formed.target, bound.lookup.reason, send))
                return
            assert bound.request is not None
            if scope.get(WARMING) == PREDICTED and not tried(bound.lookup.key):
                await Answer(204, (), b"").send(send)  # left alone, to be compared with
                return
            exchange = Exchange(self._parts, context, bound.lookup, bound.request, visit=bound.visit)
            await self._edge(exchange, app, scope, receive, send)

    async def _edge(
        self, exchange: Exchange, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        with ExitStack() as ends:
            sought = await exchange.seek(ends)
            match sought:
                case None:
                    await app(scope, receive, send)
                case Answer() if self._compares(exchange, scope):
                    passing = Passing(send)
                    await app(scope, receive, passing)
                    await self._comparisons.compare(
                        exchange.request, exchange.context, exchange.plain or sought, passing.answer
                    )
                case Answer():
                    sought.repeat(scope)
                    await sought.send(send)
                case Turn():
                    loading = Loading(exchange, sought, self._parts.wall(), scope)
                    noted = partial(noting_the_body, receive, exchange)
                    await loading.run(partial(app, scope, noted), send)
                    if loading.filled:
                        self._comparisons.filled(exchange.request)
                case other:
                    assert_never(other)

    def _compares(self, exchange: Exchange, scope: Scope) -> bool:
        target, found = exchange.lookup.target, self._comparisons
        return found.hides(target.name, target.policy.mode) or bool(scope.get(COMPARED)) or found.samples()

    async def answering(self, context: RequestContext) -> None:
        """A response that sets a cookie ends what its credential was accepted for (a logout, most likely)."""
        if any(name.lower() == b"set-cookie" for name, _ in context.response_headers):
            credential = self._parts.binder.credential(context.scope)
            if credential is not None:
                await self._parts.cache.invalidate((credential_tag(credential),))

    def finished(self, context: RequestContext) -> None:
        """Whoever looks ahead hears of it; fills are awaited before the last byte leaves."""
        if self._parts.onlooker is not None:
            self._parts.onlooker.answered(context)

    def _saying(self, target: Target, reason: Reason, send: Send) -> Send:
        """`send` for an answer that the cache had no part in."""
        dressing = self._parts.dressing
        fields = () if dressing is None else dressing.bypass(target, reason)
        if not fields:
            return send

        async def saying(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                given = {name.lower() for name, _ in own}
                message = {
                    **message,
                    "headers": [*own, *(field for field in fields if field[0] not in given)],
                }
            await send(message)

        return saying

    def _formed(self, context: RequestContext, scope: Scope) -> Formed | None:
        route = context.route
        if route is None or context.scope.get(UNCACHED) or scope["method"] not in ("GET", "HEAD"):
            return None
        formed = self._forms.of(route, scope["method"])
        if formed is None or formed.target.policy.mode == "off":
            return None
        if route.outdated or (route.exact_query and route.undeclared(context.scope)):
            return None
        if formed.target.problem is not None and not self._parts.at_its_word:
            return None
        return None if _is_special(context.scope) else formed


def _is_special(scope: Any) -> bool:
    """Whether a request asks for a range, or has a body."""
    for name, value in scope["headers"]:
        if name in (b"range", b"transfer-encoding"):
            return True
        if name == b"content-length" and value.strip() not in (b"", b"0"):
            return True
    return False
