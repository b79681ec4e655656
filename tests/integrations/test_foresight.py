"""What nobody asked for yet is loaded ahead: never stale, never foreign, and no longer than it pays."""

import asyncio
import json

import jwt
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from tests.integrations.driving import Driver, driven, get, listening, specification
from tests.integrations.shop import Note
from tests.runtime.driving import until

from cachewright.integrations.install import Installed
from cachewright.integrations.surroundings import Surroundings
from cachewright.runtime.warming.account import tried

KEY = "k" * 32
CALLS = "calls"


def signed(user):
    return {"Authorization": f"Bearer {jwt.encode({'sub': user}, KEY, algorithm='HS256')}"}


def who(request: Request) -> str:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        return jwt.decode(token, KEY, algorithms=["HS256"])["sub"]
    except jwt.PyJWTError:
        raise HTTPException(401) from None


@pytest.fixture
def app(shop) -> FastAPI:
    seen = shop.app.state.seen = []

    @shop.app.get("/notes/{note_id}")
    def read_note(note_id: int, session: Session = shop.given):
        seen.append(("note", note_id))
        return session.scalar(select(Note.title).where(Note.id == note_id))

    @shop.app.post("/notes/{note_id}")
    def write_note(note_id: int, title: str, session: Session = shop.given):
        session.execute(update(Note).where(Note.id == note_id).values(title=title))
        session.commit()
        return "written"

    @shop.app.get("/mine")
    def mine(user: str = Depends(who), session: Session = shop.given):
        seen.append(("mine", user))
        return [user, session.scalar(select(Note.title).where(Note.id == int(user)))]

    @shop.app.post("/mine")
    def write_mine(title: str, user: str = Depends(who), session: Session = shop.given):
        session.execute(update(Note).where(Note.id == int(user)).values(title=title))
        session.commit()
        return "written"

    @shop.app.post("/leave")
    def leave(response: Response, user: str = Depends(who)):
        response.set_cookie("gone", user)

    return shop.app


NOTE = {**get("/notes/{note_id}", "shop_notes(id={note_id})", key="notes:note={note_id}"), "name": "note"}
MINE = {**get("/mine", "shop_notes(id={user_id})", key="user:{user_id}:mine", scope="user"), "name": "mine"}
WHO = {"identity": {"user": "claim:sub"}}


def refilling(**ahead):
    return {"cache_warming": {"enabled": True, "ahead": {"refill": True, **ahead}}}


def predicting(*transitions, user_based=True, **ahead):
    predictive = {"user_based": user_based, "transitions": list(transitions)}
    return {"cache_warming": {"enabled": True, "predictive": predictive, "ahead": ahead}}


AFTER_WRITE = {"after": "POST /mine", "load": "mine"}


def account(driver, name):
    return next(one for one in driver.installed.figures()["ahead"] if one["name"] == name)


async def loaded(driver, name, times=1):
    await until(lambda: account(driver, name)["total"] >= times)


@pytest.fixture
def two_users(app):
    """Two users of whom the experiment leaves neither alone."""
    users = [str(user) for user in range(1, 10) if tried(f"@http%3A%2F%2Ftest:user:{user}:mine")]
    return users[:2]


async def test_a_hot_key_is_loaded_again_as_soon_as_it_is_invalidated(app, valkey_url):
    async with driven(app, specification(NOTE, **refilling()), redis_url=valkey_url) as driver:
        for _ in range(3):
            await driver.get("/notes/1")
        await driver.get("/notes/2")
        before = len(app.state.seen)
        await driver.send("POST", "/notes/1?title=new")
        await loaded(driver, "refilling")
        assert app.state.seen[before:] == [("note", 1)]
        assert await driver.hit("/notes/1")
        assert (await driver.get("/notes/1")).json() == "new"
        assert account(driver, "refilling")["gained"] == 1
        await driver.send("POST", "/notes/2?title=nobody asks for it much")
        await asyncio.sleep(0.1)
        assert account(driver, "refilling")["total"] == 1


async def test_refilled_answers_are_those_after_the_write_however_writes_and_refills_overlap(app, valkey_url):
    async with driven(app, specification(NOTE, **refilling()), redis_url=valkey_url) as driver:
        for _ in range(3):
            await driver.get("/notes/1")
        for number in range(30):
            await driver.send("POST", f"/notes/1?title={number}")
            await asyncio.sleep(0.002 * (number % 5))
            assert (await driver.get("/notes/1")).json() == str(number)
        await until(lambda: account(driver, "refilling")["total"] > 5)


async def test_what_is_somebodys_own_is_not_refilled_for_anybody(app, valkey_url):
    document = specification(MINE, **WHO, **refilling())
    async with driven(app, document, redis_url=valkey_url) as driver:
        for _ in range(3):
            await driver.get("/mine", headers=signed("1"))
        before = len(app.state.seen)
        await driver.send("POST", "/mine?title=new", headers=signed("1"))
        await asyncio.sleep(0.2)
        assert app.state.seen[before:] == []
        assert not await driver.hit("/mine", headers=signed("1"))


async def test_shared_answers_behind_a_sign_in_are_refilled_as_the_declared_identity(app, valkey_url):
    @app.get("/board")
    def board(_user: str = Depends(who)):
        app.state.seen.append(("board", _user))
        return "for all who are signed in"

    target = {**get("/board", "shop_notes", key="board"), "name": "board"}
    target["ignored_reads"] = ["header:authorization"]
    document = specification(target, **refilling())

    def warm_as(user="the warmer"):
        return signed(user)

    async with driven(app, document, redis_url=valkey_url, warm_as=warm_as) as driver:
        for _ in range(3):
            await driver.get("/board", headers=signed("1"))
        before = len(app.state.seen)
        await driver.installed.cache.invalidate(("shop_notes",))
        await until(lambda: len(app.state.seen) > before)
        assert app.state.seen[before:] == [("board", "the warmer")]


async def test_what_a_user_asks_for_next_is_there_for_this_user_and_for_nobody_else(
    app, two_users, valkey_url
):
    document = specification(MINE, **WHO, **predicting(AFTER_WRITE))
    one, other = two_users
    async with driven(app, document, redis_url=valkey_url) as driver:
        await driver.send("POST", "/mine?title=first", headers=signed(one))
        await loaded(driver, "prediction")
        assert await driver.hit("/mine", headers=signed(one))
        assert (await driver.get("/mine", headers=signed(one))).json() == [one, "first"]
        assert not await driver.hit("/mine", headers=signed(other))
        assert (await driver.get("/mine", headers=signed(other))).json()[0] == other
        assert (await driver.get("/mine")).status_code == 401
        await driver.send("POST", "/mine?title=second", headers=signed(one))
        assert (await driver.get("/mine", headers=signed(one))).json() == [one, "second"]


async def test_two_users_at_once_get_their_own(app, two_users, valkey_url):
    document = specification(MINE, **WHO, **predicting(AFTER_WRITE))
    async with driven(app, document, redis_url=valkey_url) as driver:

        async def use(user):
            for number in range(15):
                await driver.send("POST", f"/mine?title={user} {number}", headers=signed(user))
                await asyncio.sleep(0.003 * (number % 4))
                assert (await driver.get("/mine", headers=signed(user))).json() == [user, f"{user} {number}"]

        await asyncio.gather(*(use(user) for user in two_users))
        assert account(driver, "prediction")["total"] > 0


async def test_a_key_of_the_group_that_is_left_alone_is_not_loaded(app, valkey_url):
    alone = next(str(n) for n in range(1, 1000) if not tried(f"@http%3A%2F%2Ftest:user:{n}:mine"))
    document = specification(MINE, **WHO, **predicting(AFTER_WRITE))
    async with driven(app, document, redis_url=valkey_url) as driver:
        await driver.send("POST", "/mine?title=x", headers=signed(alone))
        await asyncio.sleep(0.2)
        assert ("mine", alone) not in app.state.seen
        assert account(driver, "prediction")["total"] == 0


async def test_after_a_logout_a_failure_or_without_leave_nothing_is_asked_for_anybody(
    app, two_users, valkey_url
):
    user = two_users[0]
    transitions = [{"after": "POST /leave", "load": "mine"}, {**AFTER_WRITE, "hours": [0, 12]}]
    document = specification(MINE, **WHO, **predicting(*transitions))
    async with driven(app, document, redis_url=valkey_url) as driver:
        await driver.send("POST", "/leave", headers=signed(user))
        await driver.send("POST", "/mine?title=x")  # nobody is signed in
        await driver.send("POST", "/mine", headers=signed(user))  # no title
        await asyncio.sleep(0.2)
        assert app.state.seen == []
    document = specification(MINE, **WHO, **predicting(AFTER_WRITE, user_based=False))
    async with driven(app, document, redis_url=valkey_url) as driver:
        await driver.send("POST", "/mine?title=x", headers=signed(user))
        await asyncio.sleep(0.2)
        assert app.state.seen == []
        assert driver.installed.figures()["ahead"] == []


async def test_a_hit_too_is_followed(app, two_users, valkey_url):
    note = two_users[0]
    follows = {"after": "GET /notes/{note_id}", "load": "mine"}
    document = specification(NOTE, MINE, **WHO, **predicting(follows))
    async with driven(app, document, redis_url=valkey_url) as driver:
        await driver.get(f"/notes/{note}", headers=signed(note))
        await loaded(driver, "prediction")
        await driver.installed.cache.invalidate((f"user:{note}",))
        assert await driver.hit(f"/notes/{note}", headers=signed(note))
        await loaded(driver, "prediction", 2)


async def test_loads_ahead_are_no_lookups_of_users(app, two_users, valkey_url):
    document = specification(MINE, **WHO, **predicting(AFTER_WRITE))
    async with driven(app, document, redis_url=valkey_url) as driver:
        await driver.send("POST", "/mine?title=x", headers=signed(two_users[0]))
        await loaded(driver, "prediction")
        assert driver.installed.figures()["targets"].get("mine", {"lookups": 0})["lookups"] == 0


async def test_predictions_that_nobody_follows_end_by_themselves(app, valkey_url):
    document = specification(MINE, **WHO, **predicting(AFTER_WRITE, loads_per_minute=10_000))
    *users, late = [str(n) for n in range(1, 200) if tried(f"@http%3A%2F%2Ftest:user:{n}:mine")][:61]
    async with driven(app, document, redis_url=valkey_url) as driver:
        for user in users:
            await driver.send("POST", "/mine?title=x", headers=signed(user))
        await until(lambda: account(driver, "prediction")["state"] == "resting")
        await driver.send("POST", "/mine?title=x", headers=signed(late))
        await until(lambda: account(driver, "prediction")["refused"] > 0)
        assert account(driver, "prediction")["total"] in (50, 51)  # one more may have been under way
        assert ("mine", late) not in app.state.seen


@pytest.mark.requirement("#122")
async def test_loads_ahead_keep_to_their_budget(app, valkey_url):
    document = specification(MINE, **WHO, **predicting(AFTER_WRITE, loads_per_minute=3))
    users = [str(n) for n in range(1, 50) if tried(f"@http%3A%2F%2Ftest:user:{n}:mine")][:10]
    async with driven(app, document, redis_url=valkey_url) as driver:
        for user in users:
            await driver.send("POST", "/mine?title=x", headers=signed(user))
        await until(lambda: account(driver, "prediction")["refused"] >= 6)
        assert account(driver, "prediction")["total"] in (
            3,
            4,
        )  # a fourth where this took a third of a minute


async def test_no_credential_is_kept(app, two_users, valkey_url):
    document = specification(MINE, **WHO, **predicting(AFTER_WRITE))
    headers = signed(two_users[0])
    async with driven(app, document, redis_url=valkey_url) as driver:
        await driver.send("POST", "/mine?title=x", headers=headers)
        await loaded(driver, "prediction")
        await asyncio.sleep(0.1)
        kept = [vars(driver.installed._foresight), driver.installed.figures()]
        assert headers["Authorization"][-20:] not in json.dumps(kept, default=repr)


async def test_hot_keys_are_told(app, valkey_url):
    async with driven(app, specification(NOTE), redis_url=valkey_url) as driver:
        for _ in range(3):
            await driver.get("/notes/1")
        await driver.get("/notes/2")
        hot = driver.installed.figures()["hot_keys"]
        assert [(one["target"], one["share"]) for one in hot] == [("note", 0.75)]
        assert hot[0]["key"].endswith("notes:note=1")


SHELF = {**get("/shelf", "shop_notes", key="shelf:{note_id}"), "name": "shelf"}


def shelved(app):
    @app.get("/shelf")
    def shelf(note_id: str = ""):
        return note_id

    return specification(NOTE, SHELF, **predicting({"after": "GET /notes/{note_id}", "load": "shelf"}))


async def test_an_identity_that_cannot_be_had_costs_nobody_an_answer(app, valkey_url):
    def warm_as():
        raise OSError("whoever signs is away")

    async with driven(app, shelved(app), redis_url=valkey_url, warm_as=warm_as) as driver:
        assert await driver.caches("/notes/1")
        assert (await driver.get("/notes/1")).status_code == 200
        assert (await driver.send("POST", "/notes/1?title=x")).status_code == 200
        assert (await driver.get("/notes/1")).json() == "x"


def test_loads_ahead_go_on_where_the_application_is_started_again(app, valkey_url):
    """Under another event loop, as every test client and every reload in place has one of its own."""
    document = specification(NOTE, **refilling())
    installed = Installed(app, document, Surroundings(workers=1, redis_url=valkey_url))

    async def once():
        driver = Driver(installed)
        await driver.get("/no/such/path")
        await listening(installed)
        for _ in range(3):
            await driver.get("/notes/1")
        before = len(app.state.seen)
        await driver.send("POST", "/notes/1?title=new")
        await until(lambda: len(app.state.seen) > before)
        await driver.aclose()
        await installed.aclose()

    for _ in range(2):
        asyncio.run(once())
