"""Applications with generated routing, and paths to ask them for."""

import re
from random import Random

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router

HOSTS = ("one.example", "two.example")
_PIECES = ("a", "b", "1", "{x}", "{x:int}", "{y}", "{y:path}", "{x:float}", "{x:evens}")
_WORDS = ("a", "b", "1", "2", "07", "1.5", "A", "a%20b", "", "..", "é")


class Evens(Convertor[int]):
    """A convertor of the application's own."""

    regex = "[0-9]*[02468]"

    def convert(self, value):
        return int(value)

    def to_string(self, value):
        return str(value)


register_url_convertor("evens", Evens())


class Marked(APIRoute):
    """A route that handles its requests itself."""

    async def handle(self, scope, receive, send):
        async def marked(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-marked", scope["method"].encode())]
            await send(message)

        await super().handle(scope, receive, marked)


class ByHeader(Route):
    """A route that takes only requests with a header."""

    def matches(self, scope):
        match, child = super().matches(scope)
        wanted = any(key == b"x-pick" and value == b"me" for key, value in scope["headers"])
        return (match, child) if wanted else (Match.NONE, {})


def template(dice: Random) -> str:
    """A path template in which no name comes twice."""
    pieces, names = [], set()
    for piece in dice.choices(_PIECES, k=dice.randint(1, 3)):
        name = piece.strip("{}").partition(":")[0]
        if piece.startswith("{") and name in names:
            continue
        names.add(name)
        pieces.append(piece)
    return "/" + "/".join(pieces) + dice.choice(("", "", "/"))


def path(dice: Random, templates: list[str]) -> str:
    """Any path, or one that fits a template."""
    if dice.random() < 0.2 or not templates:
        return "/" + "/".join(dice.choices(_WORDS, k=dice.randint(1, 4)))
    return re.sub(r"\{\w+\}", lambda _: dice.choice(_WORDS), dice.choice(templates))


def endpoint(number: int):
    """An endpoint that says which one it is and what routing made of the path."""

    async def starlette(request: Request):
        return JSONResponse(
            [number, {k: repr(v) for k, v in request.path_params.items()}, request.scope["root_path"]]
        )

    starlette.__name__ = f"endpoint{number}"
    return starlette


def generated(seed: int) -> Starlette:
    """Routes that overlap, in routers in mounts in applications."""
    dice = Random(seed)
    app = dice.choice((Starlette, FastAPI))()
    app.router.redirect_slashes = dice.random() < 0.7
    numbers = iter(range(1000))
    for _ in range(dice.randint(3, 8)):
        app.router.routes.append(route(dice, numbers))
    if isinstance(app, FastAPI):
        app.root_path = dice.choice(("", "", "/api"))
        for _ in range(dice.randint(0, 3)):
            app.include_router(_included(dice, numbers), prefix=dice.choice(("", "/a", "/{z}")))
        dice.shuffle(app.router.routes)
    return app


def _included(dice: Random, numbers) -> APIRouter:
    router = APIRouter(route_class=dice.choice((APIRoute, APIRoute, Marked)))
    for _ in range(dice.randint(1, 3)):
        router.add_route(template(dice), endpoint(next(numbers)), methods=["GET"])
        methods = dice.choice((["GET"], ["GET", "HEAD"]))
        router.add_api_route(template(dice), api_endpoint(next(numbers)), methods=methods)
    return router


def api_endpoint(number: int):
    async def api(request: Request):
        return [number, {k: repr(v) for k, v in request.path_params.items()}]

    return api


def route(dice: Random, numbers, depth: int = 0) -> BaseRoute:
    sort = dice.random()
    if sort < 0.6 or depth == 2:
        methods = dice.choice((["GET"], ["GET"], ["POST"], ["GET", "POST"]))
        kind = ByHeader if dice.random() < 0.05 else Route
        return kind(template(dice), endpoint(next(numbers)), methods=methods)
    inner = [route(dice, numbers, depth + 1) for _ in range(dice.randint(1, 3))]
    if sort < 0.7:
        return Host(dice.choice(HOSTS), app=Router(routes=inner))
    where = dice.choice(("", "/a", "/1", "/{m}"))
    if sort < 0.8:
        return Mount(where, app=Starlette(routes=inner))
    return Mount(where, app=Router(routes=inner, redirect_slashes=dice.random() < 0.5))
