"""The dependency and decorator forms: an endpoint is not called where the cache has its answer.

Its dependencies have run by then, as the application wrote them: whoever they refuse gets no further, and what
they return may say who asks. What they read from the database is part of the load, so the lookup is made before
them wherever it can be told beforehand what it will be.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, TypeVar

from anyio import from_thread
from starlette.responses import Response

from cachewright.capture.asgi import ASGIApp, Receive, Scope, Send
from cachewright.capture.context import CURRENT, RequestContext
from cachewright.capture.routes import Route
from cachewright.integrations.answers import Answer, HeldBack
from cachewright.integrations.binding import Lookup
from cachewright.integrations.bound import request_of
from cachewright.integrations.exchange import Exchange, Turn
from cachewright.integrations.loading import Loading, noting_the_body
from cachewright.integrations.parts import Parts
from cachewright.integrations.principals import Principals, vouched_reads
from cachewright.runtime.questions import Lookup as Found
from cachewright.runtime.questions import LookupRequest
from cachewright.spec.semantics import Bypass, Reason
from cachewright.spec.target import Target

F = TypeVar("F", bound=Callable[..., Any])

_NAME = "__cachewright_target__"
_HOOKED = "__cachewright_hooked__"
_WAITING: ContextVar[Inside | None] = ContextVar("cachewright_waiting", default=None)


class CachedResponse:
    """A dependency that says: the answers of this endpoint are those of the target `target`."""

    def __init__(self, target: str) -> None:
        self.target = target

    async def __call__(self) -> None:
        """Nothing: the cache is asked where the endpoint would be called."""


def cached_response(target: str) -> CachedResponse:
    """For `Depends(cachewright.cached_response("tasks"))`: answer this endpoint from the cache.

    `target` is the name of a target of the specification that the application was installed with, or its endpoint
    (`GET /api/tasks`). All dependencies of the route run first, on a hit too. Without an installed cache it does
    nothing.
    """
    return CachedResponse(target)


def cached(target: str) -> Callable[[F], F]:
    """Decorate an endpoint whose answers are those of the target `target`: see `cached_response`.

    What stands above this decorator runs on a hit too, what stands below does not.
    """

    def decorate(endpoint: F) -> F:
        answered: Any
        if inspect.iscoroutinefunction(endpoint):

            @wraps(endpoint)
            async def answered(*arguments: Any, **named: Any) -> Any:
                waiting = _waiting_for(answered)
                answer = None if waiting is None else await waiting.at_endpoint()
                return await endpoint(*arguments, **named) if answer is None else Stored(answer)

        else:

            @wraps(endpoint)
            def answered(*arguments: Any, **named: Any) -> Any:
                waiting = _waiting_for(answered)
                answer = None if waiting is None or waiting.reached else from_thread.run(waiting.at_endpoint)
                return endpoint(*arguments, **named) if answer is None else Stored(answer)

        setattr(answered, _NAME, target)
        return answered  # type: ignore[no-any-return]  # it stands in for what it decorates

    return decorate


def target_named_by(route: Route, method: str) -> str | None:
    """The target that the code of a route names, by either form."""
    for dependant in dependants(route):
        if isinstance(dependant.call, CachedResponse):
            return dependant.call.target
    endpoint = getattr(route.holder, "endpoint", None)
    for function in (endpoint, getattr(endpoint, method.lower(), None)):
        name = getattr(function, _NAME, None)
        if isinstance(name, str):
            return name
    return None


def dependants(route: Route) -> Iterator[Any]:
    """The tree of what a FastAPI route depends on."""
    waiting = [getattr(route.holder, "dependant", None)]
    while waiting:
        dependant = waiting.pop()
        if dependant is not None:
            yield dependant
            waiting.extend(dependant.dependencies)


class Stored(Response):
    """An answer of the cache as an endpoint returns it: sent as it was, whatever is done to it on the way."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body, answer.status)
        self.raw_headers = list(answer.headers)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, then run what dependencies have scheduled."""
        del receive
        self._answer.repeat(scope)
        await self._answer.send(send)
        if self.background is not None:
            await self.background()


@dataclass(slots=True)
class Inside:
    """One request on its way to an endpoint, and what is known of its answer."""

    parts: Parts
    principals: Principals
    context: RequestContext
    target: Target
    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send
    reached: bool = False
    _began: float = 0.0
    _lookup: Lookup | None = None
    _found: Found | None = None
    _loading: Loading | None = None
    _ends: ExitStack = field(default_factory=ExitStack)
    _returned: Mapping[Any, Any] = field(default_factory=dict)
    _headers: tuple[tuple[bytes, bytes], ...] = ()

    async def run(self) -> None:
        """Run the route; its answer is that of the cache, where its endpoint is reached and there is one."""
        self._began = self.parts.wall()
        await self._look_ahead()
        held_back = HeldBack(self.send, self._whole)
        before = _WAITING.set(self)
        try:
            with self._ends:
                await self._run(held_back)
        finally:
            _WAITING.reset(before)

    async def _look_ahead(self) -> None:
        """Look up what the request will probably be answered with: before dependencies read anything."""
        credential = self.parts.binder.credential(self.context.scope)
        lookup = self._bound(self.principals.remembered(credential))
        if isinstance(lookup, Lookup):
            self._lookup = lookup
            exchange = self._exchange(lookup)
            self._found = None if self.parts.at_its_word else self.parts.cache.lookup_local(exchange.request)
            if self._found is None:
                self._found = await exchange.ask()

    async def _run(self, held_back: HeldBack) -> None:
        async def receive() -> Any:
            if self._loading is None:
                return await self.receive()
            return await noting_the_body(self.receive, self._loading.exchange)

        try:
            await self.app(self.scope, receive, held_back)
        except Exception as error:
            loading = self._loading
            instead = None if loading is None else await loading.failed(error, begun=held_back.begun)
            if instead is None:
                raise
            await instead.send(self.send)
        finally:
            if self._loading is not None:
                await self._loading.close(streamed=held_back.streamed)

    async def _whole(self, answer: Answer) -> Answer | None:
        return None if self._loading is None else await self._loading.whole(answer)

    def solved(self, solved: Any) -> None:
        """The dependencies of the route have returned (what FastAPI's `solve_dependencies` says)."""
        old = isinstance(solved, tuple)  # before FastAPI 0.112
        self._returned = solved[4] if old else solved.dependency_cache
        response = solved[3] if old else solved.response
        self._headers = tuple(response.headers.raw)

    def is_for(self, function: Any) -> bool:
        """Whether this is the endpoint that the request is on its way to, or what its decorators decorate."""
        endpoint = getattr(self.context.route and self.context.route.holder, "endpoint", None)
        method = str(self.scope["method"]).lower()
        while endpoint is not None:
            if function in (endpoint, getattr(endpoint, method, None)):
                return True
            endpoint = getattr(endpoint, "__wrapped__", None)
        return False

    async def at_endpoint(self) -> Answer | None:
        """What answers in place of the endpoint, if anything; then its load is under way."""
        if self.reached:
            return None
        self.reached = True
        values = self.principals.of(self._returned)
        lookup = Bypass(Reason.WROTE) if self.context.wrote else self._bound(values)
        if isinstance(lookup, Bypass):
            self.parts.cache.stats.bypassed(self.target.name, lookup.reason)
            return None
        self.principals.remember(lookup.credential, values)
        found = self._found
        if self._lookup is None or not self._lookup.asks_as(lookup):
            found, lookup = None, replace(lookup, asked=self.parts.clock())
        exchange = self._exchange(lookup)
        sought = await exchange.seek(self._ends, found)
        if not isinstance(sought, Turn):
            return sought
        self._loading = Loading(exchange, sought, self._began, self.scope)
        self._loading.open()
        return None

    def _bound(self, values: Mapping[str, Any]) -> Lookup | Bypass:
        route = self.context.route
        assert route is not None
        vouched = vouched_reads(route, self.context, self.parts.plan.identity.values())
        return self.parts.binder.bind(
            self.target, self.context, self.scope, returned=values, vouched=vouched, proven=True
        )

    def _exchange(self, lookup: Lookup) -> Exchange:
        request = request_of(lookup)
        assert isinstance(request, LookupRequest)
        return Exchange(self.parts, self.context, lookup, request, said=self._headers)


def _waiting_for(function: Any) -> Inside | None:
    """The request that is on its way to this endpoint: not another one that runs inside of it."""
    waiting = _WAITING.get()
    if waiting is None or waiting.context is not CURRENT.get() or not waiting.is_for(function):
        return None
    return waiting


def _reached(endpoint: Any) -> None:
    """Note that the request's dependencies are done."""
    context = CURRENT.get()
    if context is None or context.route is None or context.called is not None:
        return
    if getattr(context.route.holder, "endpoint", None) is endpoint:
        context.called = len(context.statements)


def hook_fastapi() -> None:
    """Let FastAPI ask, where it has solved dependencies and would call an endpoint. Once per process is enough."""
    try:
        from fastapi import routing as fastapi_routing
    except ImportError:
        return
    routing: Any = fastapi_routing
    solve, call = routing.solve_dependencies, routing.run_endpoint_function
    if hasattr(call, _HOOKED):
        return

    @wraps(solve)
    async def solve_dependencies(*arguments: Any, **named: Any) -> Any:
        solved = await solve(*arguments, **named)
        waiting = _waiting_for(getattr(named.get("dependant"), "call", None))
        if waiting is not None:
            waiting.solved(solved)
        return solved

    @wraps(call)
    async def run_endpoint_function(*arguments: Any, **named: Any) -> Any:
        endpoint = getattr(named.get("dependant"), "call", None)
        _reached(endpoint)
        waiting = _waiting_for(endpoint)
        answer = None if waiting is None else await waiting.at_endpoint()
        return await call(*arguments, **named) if answer is None else Stored(answer)

    setattr(run_endpoint_function, _HOOKED, True)
    routing.solve_dependencies = solve_dependencies
    routing.run_endpoint_function = run_endpoint_function
