"""An application with eyes: a context around every request, and a door at every route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from cachewright.capture.appimport import root_of
from cachewright.capture.context import CURRENT, Clock, RequestContext
from cachewright.capture.credentials import header_of
from cachewright.capture.reads import WatchedScope, watch_reads
from cachewright.capture.routes import Route, walk
from cachewright.capture.routing import Routing, is_bare, plain_stack

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

#: How long (ns) the layers around an application are taken to be the same.
_BARE_FOR = 1_000_000_000


class RequestObserver(Protocol):
    """What watches requests: a recorder, or the cache itself."""

    async def enter(
        self, context: RequestContext, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """The router chose `context.route`; run `app`, or answer in its place."""

    async def answering(self, context: RequestContext) -> None:
        """Status and headers are known and about to leave."""

    def finished(self, context: RequestContext) -> None:
        """The application returned; the response is out."""


Reply = tuple[Message, Message]


class Shortcut(Protocol):
    """Answers requests before they are routed."""

    def reply(self, scope: Scope, routed: Scope | None, version: int) -> Reply | None:
        """The two messages of an answer, or None: then the request goes its way.

        `scope` is the request as it came, `routed` the scope before the router, None where nothing stands between.
        `version` is that of the route tables.
        """

    def forget(self) -> None:
        """Routes were looked at anew."""


class Watched:
    """An ASGI application around a Starlette or FastAPI one (`root`, where it is wrapped in others).

    `credentials` is what the security schemes of all its routes read. Routes get their doors with the first request,
    or when the lifespan has started up: an application may register some of them only then. `shortcut` is asked
    inside the application's own middleware; where there is none, before anything else.
    """

    def __init__(
        self,
        app: Any,
        observer: RequestObserver,
        *,
        clock: Clock,
        root: Any | None = None,
        shortcut: Shortcut | None = None,
    ) -> None:
        self._app = app
        self._root = root_of(app) if root is None else root
        self._observer = observer
        self._clock = clock
        self._shortcut = shortcut
        self._routing = Routing(self._root)
        self._gate: _Gate | None = None
        self._bare = False
        self._bare_until = 0
        self._key = f"cachewright.context.{id(self)}"  # where a request's scope holds its context
        self.routes: tuple[Route, ...] = ()
        self.credentials: frozenset[str] = frozenset()
        self._stop_reads: Callable[[], None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application (ASGI)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._started(send))
            return
        if self._stop_reads is None:
            self._open()
        if scope["type"] == "http":
            reply = None if self._gate is None else self._at_once(scope, self._gate)
            if reply is None:
                await self._watch(scope, receive, send)
            else:
                await send(reply[0])
                await send(reply[1])
        else:
            await self._app(scope, receive, send)

    def _at_once(self, scope: Scope, gate: _Gate) -> Reply | None:
        """The answer to a request that no code of the application would see before it is routed.

        An application that calls itself gets none: its outer request must notice.
        """
        shortcut, now = self._shortcut, self._clock()
        if now >= self._bare_until:
            self._bare = gate.bare = is_bare(self._app, self._root)
            self._bare_until = now + _BARE_FOR
        if shortcut is None or not self._bare or CURRENT.get() is not None or not self._routing.settled():
            return None
        return shortcut.reply(scope, None, self._routing.version)

    def _started(self, send: Send) -> Send:
        async def passing(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete" and self._stop_reads is None:
                self._open()
            await send(message)

        return passing

    def close(self) -> None:
        """Take the doors away and stop watching what requests read."""
        for route in self.routes:
            door = route.holder.app
            if isinstance(door, _Door) and door.key == self._key:
                route.holder.app = door.app
        if self._gate is not None:
            self._gate.open()
            self._gate = None
        if self._stop_reads is not None:
            self._stop_reads()
            self._stop_reads = None

    def _open(self) -> None:
        self._stop_reads = watch_reads()
        self.routes = tuple(walk(self._root))
        self.credentials = frozenset(read for route in self.routes for read in route.credentials)
        routing = None
        if self._shortcut is not None and plain_stack(getattr(self._root, "router", None)):
            self._shortcut.forget()
            routing = self._routing
            self._gate = _Gate(self._root.router, self._shortcut, routing, self._key)
        for route in self.routes:
            route.holder.app = _Door(
                route.holder.app, route, self._observer, clock=self._clock, key=self._key, routing=routing
            )

    async def _watch(self, scope: Scope, receive: Receive, send: Send) -> None:
        clock = self._clock
        context = RequestContext(started=clock(), scope=scope)
        watched = WatchedScope(scope)
        watched[self._key] = context
        outer = CURRENT.get()
        if (
            outer is not None
        ):  # an application that calls itself: what the inner request reads is not noted there
            outer.escaped = True
        token = CURRENT.set(context)

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                context.response_headers = list(message.get("headers", ()))
                await self._observer.answering(context)
            elif message["type"] == "http.response.body":
                context.size += len(message.get("body", b""))
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                context.answered = clock()

        try:
            await self._app(watched, receive, note)
        finally:
            context.returned = clock()
            CURRENT.reset(token)
            self._observer.finished(context)


class _Gate:
    """What stands before the router, inside of all middleware of its application."""

    __slots__ = ("_app", "_key", "_router", "_routing", "_shortcut", "bare")

    def __init__(self, router: Any, shortcut: Shortcut, routing: Routing, key: str) -> None:
        self._app = router.middleware_stack
        self._router = router
        self._shortcut = shortcut
        self._routing = routing
        self._key = key
        self.bare = False  # whether requests were asked for already when they come here
        router.middleware_stack = self

    def open(self) -> None:
        """Give the router back as it was."""
        if self._router.middleware_stack is self:
            self._router.middleware_stack = self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = scope.get(self._key)
        if context is None:
            await self._app(scope, receive, send)
            return
        reply = None
        if context.routed is None and isinstance(scope, dict) and _is_straight(context.scope, scope):
            if not self.bare and self._routing.settled():
                reply = self._shortcut.reply(context.scope, scope, self._routing.version)
            context.routed = dict.copy(scope)
        else:  # somebody rewrote it, or routes it again
            context.routed = {}
        if reply is None:
            await self._app(scope, receive, send)
        else:
            await send(reply[0])
            await send(reply[1])


def _is_straight(came: Mapping[str, Any], routed: dict[str, Any]) -> bool:
    """Whether the router is given the request that came: what it looks at is all the same."""
    given = dict.get  # a watched scope would look for the frame that asks
    if given(routed, "path_params") or "fastapi.telemetry" in routed:
        return False
    for name in ("path", "method", "query_string", "scheme", "type"):
        if given(routed, name) != came.get(name):
            return False
    headers = given(routed, "headers")
    return headers == came["headers"] or header_of({"headers": headers}, "host") == header_of(came, "host")


class _Door:
    """What stands in for a route's own application."""

    __slots__ = ("_clock", "_observer", "_route", "_routing", "app", "key")

    def __init__(
        self,
        app: ASGIApp,
        route: Route,
        observer: RequestObserver,
        *,
        clock: Clock,
        key: str,
        routing: Routing | None,
    ) -> None:
        self.app = app
        self.key = key
        self._routing = routing
        self._route = route
        self._observer = observer
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = scope.get(self.key)  # not the current one: an application may call itself with other scopes
        if context is None or scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._routing is not None and context.routed is not None:
            context.placed = self._routing.placed(self._route, context.routed, scope)
        if not isinstance(scope, WatchedScope):  # a middleware copied it
            scope = WatchedScope(scope)
        context.route = self._route
        context.path_params = dict(scope.get("path_params", {}))
        context.entered = self._clock()
        await self._observer.enter(context, self.app, scope, receive, send)
