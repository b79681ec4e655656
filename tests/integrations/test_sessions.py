"""Starlette's sessions: the middleware that keeps them says on each answer whether its route has looked into one."""

import pytest
from fastapi import Depends, FastAPI, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note

import cachewright

MINE = get("/mine", "shop_notes", key="cred:{cred}:mine", scope="credential")
ALL = get("/all", "shop_notes", key="all")


def with_sessions(shop, endpoint):
    app = FastAPI()

    def user(request: Request):
        return request.session.get("user")

    @app.post("/login")
    def login(request: Request):
        request.session["user"] = 1

    @app.get("/mine")
    @endpoint
    def mine(request: Request, who: int | None = Depends(user), session: Session = shop.given):
        return [who, request.session.get("user"), session.scalars(select(Note.title)).all()]

    @app.get("/all")
    def every(session: Session = shop.given):
        return session.scalars(select(Note.title)).all()

    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(SessionMiddleware, secret_key="kept")
    return app


@pytest.mark.parametrize(
    "endpoint", [lambda function: function, cachewright.cached("GET /mine")], ids=["edge", "decorator"]
)
async def test_a_hit_varies_with_the_cookie_where_its_load_did(shop, endpoint):
    async with driven(with_sessions(shop, endpoint), specification(MINE, ALL)) as driver:
        cookie = (await driver.send("POST", "/login")).headers["set-cookie"].partition(";")[0]
        headers = {"cookie": cookie}
        assert await driver.caches("/mine", headers=headers)
        assert await driver.caches("/all", headers=headers)
        for url in ("/mine", "/all"):
            plain = await driver._plain.get(url, headers=headers)
            for _ in range(4):  # at the door of the route, and before routing
                answer = await driver.get(url, headers=headers)
                assert driver.outcomes[-1].hit
                assert answer.headers == plain.headers
