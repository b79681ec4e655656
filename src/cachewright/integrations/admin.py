"""The administrator's door: figures and interventions as JSON, off unless somebody opens it, never without a key.

There are two ways in. `serve` (and `install`) open it under `/_cachewright` where an admin token is given; who sends
it as a bearer token is let in. `admin_router` puts the same routes behind the dependencies of the application, so
that its own sign-in decides.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, Router

from cachewright.capture.asgi import ASGIApp, Receive, Scope, Send
from cachewright.errors import CachewrightError, InvalidationPendingError, StoreUnavailableError, UsageError
from cachewright.integrations.dashboard import FILES, POLICY, content, runbooks
from cachewright.integrations.desk import Desk
from cachewright.integrations.prometheus import CONTENT_TYPE, exposition

PREFIX = "/_cachewright"
#: The key of a scope under which the desk of an installed cache stands.
DESK = "cachewright.desk"
#: A token that can be guessed opens the door to everybody.
SHORTEST_TOKEN = 16
_MOST_BODY = 64 * 1024
_NEVER_STORED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_audit = logging.getLogger("cachewright.admin")

Handler = Callable[[Request], Awaitable[Response]]


def checked_token(token: str | None) -> None:
    """Raise `UsageError` for a token that is too short; none at all keeps the door shut."""
    if token and len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"the admin token has fewer than {SHORTEST_TOKEN} characters",
            hint='make one: python -c "import secrets; print(secrets.token_urlsafe(32))"',
        )


class Admin:
    """The routes behind a token (ASGI). `desk` is asked for with each request: the cache may not be there yet."""

    def __init__(self, token: str, desk: Callable[[], Desk | None]) -> None:
        self._token = token.encode()
        self._desk = desk
        self._router = Router(routes=[*PROBES, *routes()])

    def serves(self, scope: Scope) -> bool:
        """Whether a request is for the administrator's door."""
        return scope["type"] == "http" and _below(scope) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer (ASGI)."""
        path = _below(scope) or ""
        own = {**scope, "path": path, "root_path": "", "raw_path": path.encode(), DESK: self._desk()}
        await self._answer(path, scope)(own, receive, send)

    def _answer(self, path: str, scope: Scope) -> ASGIApp:
        if not path:
            return RedirectResponse(
                f"{PREFIX[1:]}/", 307
            )  # relative: a proxy may have put a root path before it
        if path in _OPEN or path.startswith("/runbooks/") or self._is_known(scope):
            return self._router
        return JSONResponse(
            _problem("unauthorized", "this needs the admin token", "send Authorization: Bearer …"),
            401,
            {"WWW-Authenticate": 'Bearer realm="cachewright"', **_NEVER_STORED},
        )

    def _is_known(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        kind, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


def _below(scope: Scope) -> str | None:
    """The path below the door; None for a request that is for somebody else."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    if path == PREFIX or path.startswith(f"{PREFIX}/"):
        return path.removeprefix(PREFIX)
    return None


def admin_router(dependencies: Sequence[Any]) -> Any:
    """A FastAPI router with the administrator's routes, for `app.include_router(…, prefix="/_cachewright")`.

    `dependencies` let the right people in, as in `[Depends(require_admin)]`. Raises `UsageError` without any.
    """
    from fastapi import APIRouter

    if not dependencies:
        raise UsageError(
            "admin_router without dependencies would let everybody in",
            hint="pass those that only let administrators through: [Depends(require_admin)]",
        )
    router = APIRouter(dependencies=list(dependencies), include_in_schema=False)
    for route in routes():
        assert isinstance(route, Route)
        router.add_api_route(route.path, _typed(route.endpoint), methods=sorted(route.methods or ()))
    return router


def _typed(handler: Handler) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        return await handler(request)

    return endpoint


def routes() -> list[BaseRoute]:
    """What is answered, below the prefix."""
    return [
        *(Route(path, _served(*file), methods=["GET"]) for path, file in FILES.items()),
        Route("/runbooks/{alarm}", _runbook, methods=["GET"]),
        Route("/health", _asked(_health), methods=["GET"]),
        Route("/stats", _asked(_stats), methods=["GET"]),
        Route("/metrics", _asked(_metrics), methods=["GET"]),
        Route("/servers", _asked(_servers), methods=["GET"]),
        Route("/targets", _asked(_targets), methods=["GET"]),
        Route("/targets", _told(lambda desk: desk.switch), methods=["POST"]),
        Route("/warm", _told(lambda desk: desk.warm), methods=["POST"]),
        Route("/invalidate", _told(lambda desk: desk.invalidate), methods=["POST"]),
    ]


async def _alive(_request: Request) -> Response:
    """The process answers; it does so whether or not the cache does."""
    return JSONResponse({"status": "alive"}, headers=_NEVER_STORED)


#: For load balancers, which have no token. They tell nothing of the cache: without it the application serves too.
PROBES: list[BaseRoute] = [
    Route("/live", _alive, methods=["GET"]),
    Route("/ready", _alive, methods=["GET"]),
]
#: The page is the same for everybody and holds no figure; it asks for the token before it can.
_OPEN = frozenset({"/live", "/ready", *FILES})


def _served(name: str, media_type: str) -> Handler:
    async def serve(_request: Request) -> Response:
        headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", **_NEVER_STORED}
        return Response(content(name), media_type=media_type, headers=headers)

    return serve


async def _runbook(request: Request) -> Response:
    """What to do about one alarm, or about each: the same for everybody, and no secret."""
    alarm = request.path_params["alarm"]
    known = runbooks()
    text = known.get(alarm, f"There is no alarm {alarm}; there are {', '.join(known)}.\n")
    return Response(text, 200 if alarm in known else 404, _NEVER_STORED, "text/plain; charset=utf-8")


async def _health(desk: Desk) -> Response:
    return JSONResponse(await desk.health(), headers=_NEVER_STORED)


async def _stats(desk: Desk) -> Response:
    return JSONResponse(desk.stats(), headers=_NEVER_STORED)


async def _servers(desk: Desk) -> Response:
    try:
        return JSONResponse(await desk.servers(), headers=_NEVER_STORED)
    except StoreUnavailableError as error:
        return _refusal(error, 503)


async def _targets(desk: Desk) -> Response:
    return JSONResponse(desk.targets(), headers=_NEVER_STORED)


async def _metrics(desk: Desk) -> Response:
    return Response(exposition(desk.stats()), media_type=CONTENT_TYPE, headers=_NEVER_STORED)


def _asked(answer: Callable[[Desk], Awaitable[Response]]) -> Handler:
    async def handle(request: Request) -> Response:
        desk = request.scope.get(DESK)
        return _NO_CACHE if desk is None else await answer(desk)

    return handle


def _told(action: Callable[[Desk], Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]]) -> Handler:
    async def handle(request: Request) -> Response:
        desk = request.scope.get(DESK)
        if desk is None:
            return _NO_CACHE
        try:
            asked = await _body(request)
            result = await action(desk)(asked)
        except InvalidationPendingError as error:
            return _refusal(error, 202)
        except StoreUnavailableError as error:
            return _refusal(error, 503)
        except CachewrightError as error:
            return _refusal(error, 422)
        _audit.info("%s %s", request.url.path, json.dumps(desk.shown(asked), default=str))
        return JSONResponse(result, headers=_NEVER_STORED)

    return handle


async def _body(request: Request) -> Mapping[str, Any]:
    """The JSON object of a request that another site's page could not have sent. Raises `UsageError`."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise UsageError(
            "this was sent by the page of another site", hint="send it from the dashboard or a program"
        )
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UsageError("the body is not JSON", hint="send Content-Type: application/json")
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > _MOST_BODY:
            raise UsageError(
                f"the body has more than {_MOST_BODY} bytes", hint="ask for fewer things at once"
            )
    try:
        asked = json.loads(received)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise UsageError("the body is no JSON object", hint='as in {"tags": ["tasks"]}')
    return asked


def _refusal(error: CachewrightError, status: int) -> Response:
    return JSONResponse(_problem(error.code, error.message, error.hint), status, _NEVER_STORED)


def _problem(code: str, message: str, hint: str | None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": hint}}


_NO_CACHE = JSONResponse(
    _problem(
        "off", "nothing is cached here", "start with a specification, and not with CACHEWRIGHT_MODE=off"
    ),
    503,
    _NEVER_STORED,
)
