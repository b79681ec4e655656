"""An application with eyes: a context around every request, and a door at every route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from cachewright.capture.appimport import root_of
from cachewright.capture.context import CURRENT, Clock, RequestContext
from cachewright.capture.reads import WatchedScope, watch_reads
from cachewright.capture.routes import Route, walk

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


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


class Watched:
    """An ASGI application around a Starlette or FastAPI one (`root`, where it is wrapped in others).

    `credentials` is what the security schemes of all its routes read. Routes get their doors with the first request,
    or when the lifespan has started up: an application may register some of them only then.
    """

    def __init__(self, app: Any, observer: RequestObserver, *, clock: Clock, root: Any | None = None) -> None:
        self._app = app
        self._root = root_of(app) if root is None else root
        self._observer = observer
        self._clock = clock
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
            await self._watch(scope, receive, send)
        else:
            await self._app(scope, receive, send)

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
        if self._stop_reads is not None:
            self._stop_reads()
            self._stop_reads = None

    def _open(self) -> None:
        self._stop_reads = watch_reads()
        self.routes = tuple(walk(self._root))
        self.credentials = frozenset(read for route in self.routes for read in route.credentials)
        for route in self.routes:
            route.holder.app = _Door(route.holder.app, route, self._observer, self._clock, self._key)

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


class _Door:
    """What stands in for a route's own application."""

    __slots__ = ("_clock", "_observer", "_route", "app", "key")

    def __init__(self, app: ASGIApp, route: Route, observer: RequestObserver, clock: Clock, key: str) -> None:
        self.app = app
        self.key = key
        self._route = route
        self._observer = observer
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = scope.get(self.key)  # not the current one: an application may call itself with other scopes
        if context is None or scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not isinstance(scope, WatchedScope):  # a middleware copied it
            scope = WatchedScope(scope)
        context.route = self._route
        context.path_params = dict(scope.get("path_params", {}))
        context.entered = self._clock()
        await self._observer.enter(context, self.app, scope, receive, send)
