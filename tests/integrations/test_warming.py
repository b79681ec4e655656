"""Warm, then ask: the first request is a hit, with the same bytes; and nobody waits for warming."""

import asyncio
import threading
from contextlib import asynccontextmanager

import httpx
import jwt
import pytest
from fastapi import FastAPI, HTTPException, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note
from tests.runtime.driving import until
from tests.servers import serve_app

from cachewright.errors import UsageError
from cachewright.integrations.install import install
from cachewright.integrations.surroundings import Surroundings
from cachewright.runtime.warming.warmer import WarmRequest

KEY = "k" * 32
ADMIN = {"Authorization": "Bearer a-token-of-the-administrator"}


@pytest.fixture
def app(shop):
    @shop.app.get("/notes/{note_id}")
    def read_note(note_id: int, session: Session = shop.given, page: int = 1):
        found = session.scalar(select(Note.title).where(Note.id == note_id))
        if found is None:
            raise HTTPException(404, "no such note")
        return [found, page]

    @shop.app.get("/mine")
    def mine(request: Request, session: Session = shop.given):
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        user = jwt.decode(token, KEY, algorithms=["HS256"])["sub"]
        return [user, session.scalar(select(Note.title).where(Note.id == int(user)))]

    return shop.app


NOTE = {
    **get("/notes/{note_id}", "shop_notes(id={note_id})", key="notes:note={note_id}:page={page}"),
    "name": "note",
}
MINE = {**get("/mine", "shop_notes(id={user_id})", key="user:{user_id}:mine", scope="user"), "name": "mine"}
BOTH = {"consistency": {"single_host": True}, "identity": {"user": "claim:sub"}}


def warming(*queries, **more):
    return {"cache_warming": {"enabled": True, "on_startup": {"queries": list(queries)}, **more}}


def signed(user):
    return {"Authorization": f"Bearer {jwt.encode({'sub': user}, KEY, algorithm='HS256')}"}


async def warmed(driver, state="done"):
    await driver.get("/no/such/route")  # the first request starts the application
    await until(lambda: driver.installed.figures()["warming"][0]["state"] == state)
    return driver.installed.figures()["warming"][0]


@pytest.mark.requirement("#120", "#126", "#342", "#408")
async def test_the_first_request_after_warming_is_a_hit(app):
    document = specification(
        NOTE, **BOTH, **warming({"name": "note", "params": {"note_id": [1, 2], "page": 1}})
    )
    async with driven(app, document) as driver:
        progress = await warmed(driver)
        assert (progress["done"], progress["failed"], progress["total"]) == (2, 0, 2)
        assert await driver.hit("/notes/1")
        assert await driver.hit("/notes/2")
        assert not await driver.hit("/notes/1?page=2")


async def test_a_parameter_that_a_path_has_to_encode_is_warmed_as_it_is_asked_for(app):
    @app.get("/named/{name}")
    def named(name: str):
        return name

    target = {**get("/named/{name}", "shop_notes", key="named:{name}"), "name": "named"}
    document = specification(
        target, **BOTH, **warming({"name": "named", "params": {"name": ["a b", "50% é"]}})
    )
    async with driven(app, document) as driver:
        await warmed(driver)
        assert await driver.hit("/named/a%20b")
        assert await driver.hit("/named/50%25%20%C3%A9")


@pytest.mark.requirement("#123", "#360")
async def test_users_are_warmed_as_themselves_and_for_nobody_else(app):
    document = specification(MINE, **BOTH, **warming({"name": "top"}))
    tops = [WarmRequest("/mine", signed(user)) for user in ("1", "2")]
    async with driven(app, document, loaders={"top": lambda: tops}) as driver:
        assert (await warmed(driver))["done"] == 2
        assert await driver.hit("/mine", headers=signed("1"))
        assert await driver.hit("/mine", headers=signed("2"))
        assert not await driver.hit("/mine", headers=signed("3"))


async def test_who_signs_is_declared(app):
    query = {"name": "mine", "params": {"user": ["1", "2"]}}
    async with driven(app, specification(MINE, **BOTH, **warming(query)), warm_as=signed) as driver:
        assert (await warmed(driver))["done"] == 2
        assert await driver.hit("/mine", headers=signed("2"))
    async with driven(app, specification(MINE, **BOTH, **warming(query))) as driver:
        assert "nothing signs for them" in (await warmed(driver, "failed"))["problems"][0]


async def test_what_is_held_while_it_is_warmed_is_warmed_a_moment_later(app):
    document = specification(NOTE, **BOTH, **warming({"name": "note", "params": {"note_id": 1, "page": 1}}))
    async with driven(app, document) as driver:
        held = ("shop_notes(id=1)",)
        driver.installed.cache.hold(held)
        await driver.get("/no/such/route")
        await asyncio.sleep(0.3)
        assert driver.installed.figures()["warming"][0]["done"] == 0
        driver.installed.cache.release(held)
        assert (await warmed(driver))["done"] == 1
        assert await driver.hit("/notes/1")


@pytest.mark.requirement("#123", "#360", "C50", "C51", "C72")
async def test_the_most_active_users_are_warmed_each_as_themselves(app):
    async def active_users(most):
        return ["2", {"user": "1"}, "3"][: most + 1]  # one more than was asked for

    query = {"name": "mine", "params": {"top_users": 2}, "expected_results": 2}
    document = specification(MINE, **BOTH, **warming(query))
    loaders = {"active_users": active_users}
    async with driven(app, document, loaders=loaders, warm_as=signed) as driver:
        assert (await warmed(driver))["done"] == 2
        for user, warm in (("1", True), ("2", True), ("3", False)):
            assert await driver.hit("/mine", headers=signed(user)) is warm
    async with driven(app, document, warm_as=signed) as driver:
        assert "most active users" in (await warmed(driver, "failed"))["problems"][0]


@pytest.mark.requirement("#373")
async def test_who_is_about_to_be_reminded_finds_an_entry_and_nobody_else(app):
    due, now, asked = {"1": 600, "2": 610, "3": 700}, [0], []

    async def reminders(within):
        asked.append(now[0])
        return [WarmRequest("/mine", signed(user)) for user, at in due.items() if 0 <= at - now[0] <= within]

    query = {"name": "reminders", "params": {"within": 15}}
    scheduled = {"schedule": "0.05s", "queries": [query]}
    document = specification(MINE, **BOTH, cache_warming={"enabled": True, "scheduled": scheduled})
    async with driven(app, document, loaders={"reminders": reminders}) as driver:
        await driver.get("/no/such/route")
        await until(lambda: len(asked) > 1)
        assert driver.installed.figures()["warming"][0]["done"] == 0, "it is too early for all of them"
        now[0] = 596
        await until(lambda: driver.installed.figures()["warming"][0]["done"] == 2)
        for user, warm in (("1", True), ("2", True), ("3", False)):
            assert await driver.hit("/mine", headers=signed(user)) is warm


async def test_what_an_application_does_not_accept_is_no_success(app):
    document = specification(
        NOTE, MINE, **BOTH, **warming({"name": "mine"}, {"name": "note", "params": {"note_id": 99}})
    )
    async with driven(app, document) as driver:
        progress = await warmed(driver, "failed")
        assert (progress["done"], progress["failed"]) == (0, 2)


async def test_under_which_host_is_not_guessed(app):
    query = warming({"name": "note", "params": {"note_id": 1}})
    async with driven(app, specification(NOTE, **query)) as driver:
        assert "host" in (await warmed(driver, "failed"))["problems"][0]
    async with driven(app, specification(NOTE, **query), warm_url="http://test") as driver:
        await warmed(driver)
        assert await driver.hit("/notes/1")


@pytest.mark.requirement("#120", "#125", "#400")
async def test_an_application_is_ready_while_it_is_warmed_and_when_that_fails(shop):
    release = threading.Event()

    @asynccontextmanager
    async def lifespan(_app):
        yield {"pool": "of the lifespan"}

    application = FastAPI(lifespan=lifespan)
    seen = []

    @application.get("/slow")
    async def slow(request: Request):
        seen.append(request.state.pool)
        await asyncio.to_thread(release.wait)
        raise RuntimeError

    @application.get("/other")
    async def other():
        return "at once"

    document = specification(
        {**get("/slow", "anything"), "name": "slow"}, **BOTH, **warming({"name": "slow"})
    )
    install(application, document, workers=1)
    with serve_app(application) as url, httpx.Client(base_url=url) as client:
        assert client.get("/other").json() == "at once"
        await until(lambda: seen)
        assert seen == ["of the lifespan"]
        release.set()
        assert client.get("/other").json() == "at once"


@pytest.mark.requirement("#127", "#253")
async def test_an_administrator_warms_again_and_sees_how_far_it_is(app):
    document = specification(NOTE, **BOTH, **warming({"name": "note", "params": {"note_id": 1}}))
    async with driven(app, document, admin_token="a-token-of-the-administrator") as driver:
        await warmed(driver)
        await driver.send("POST", "/_cachewright/invalidate", headers=ADMIN, json={"all": True})
        began = await driver.send("POST", "/_cachewright/warm", headers=ADMIN, json={"job": "on_startup"})
        assert began.json()["begun"] == ["on_startup"]
        await warmed(driver)
        stats = (await driver.get("/_cachewright/stats", headers=ADMIN)).json()
        assert [(job["job"], job["state"], job["done"]) for job in stats["warming"]] == [
            ("on_startup", "done", 1)
        ]
        assert await driver.hit("/notes/1")
        wrong = await driver.send("POST", "/_cachewright/warm", headers=ADMIN, json={"job": "no such"})
        assert (wrong.status_code, "on_startup" in wrong.json()["error"]["hint"]) == (422, True)


def test_a_loader_is_a_function_and_a_url_is_one(app):
    with pytest.raises(UsageError):
        Surroundings(loaders={"top": 5})
    with pytest.raises(UsageError):
        Surroundings(warm_url="ftp://x")
