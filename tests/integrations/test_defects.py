"""What caches of web applications are known to get wrong, over a real server.

What other tests show already is not shown again here; `docs/explanation/defects.md` lists all of it, with the tests.
"""

import asyncio
import gc
import threading

import pytest
from fastapi import Depends, Header, HTTPException, Response
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, patience, specification
from tests.integrations.shop import Note

INSIDE = {"cache_interceptor": [{"name": "I", "type": "dependency"}]}
EDGE = {"cache_interceptor": [{"name": "I", "type": "middleware"}]}


class Account:
    """A principal whose text is its address, as objects have by default."""

    def __init__(self, name: str) -> None:
        self.name = name


def account(authorization: str = Header()) -> Account:
    name = authorization.removeprefix("Bearer ")
    if name == "nobody":
        raise HTTPException(403)
    return Account(name)


@pytest.fixture
def app(shop):
    shop.loads = []

    @shop.app.get("/mine")
    def mine(who: Account = Depends(account), session: Session = shop.given):
        shop.loads.append(who.name)
        return {"of": who.name, "title": session.scalar(select(Note.title).where(Note.id == 1))}

    return shop.app


@pytest.mark.parametrize("form", [EDGE, INSIDE], ids=["edge", "inside"])
@pytest.mark.parametrize("identity", [None, f"dependency:{__name__}.account.name"])
async def test_nobody_is_given_what_was_made_for_an_object_at_the_same_address(
    app, shop, valkey_url, form, identity
):
    extra = {} if identity is None else {"identity": {"user": identity}}
    scope, key = ("credential", "mine") if identity is None else ("user", "user:{user_id}:mine")
    document = specification(
        get("/mine", "shop_notes(id=1)", key=key, scope=scope), implementation=form, **extra
    )
    async with driven(app, document, redis_url=valkey_url) as driver:

        async def asks(number: int) -> None:
            answer = await driver.get("/mine", headers={"Authorization": f"Bearer user{number}"})
            assert answer.json()["of"] == f"user{number}"

        for number in range(50):
            await asks(number)
            gc.collect(0)
        for at in range(0, 50, 25):
            await asyncio.gather(*(asks(number) for number in range(at, at + 25)))
        assert len(shop.loads) == 50, "the second time each is answered from the cache"


@pytest.mark.parametrize("form", [EDGE, INSIDE], ids=["edge", "inside"])
async def test_a_session_among_the_dependencies_makes_no_new_key(app, shop, valkey_url, form):
    document = specification(get("/mine", "shop_notes(id=1)", scope="credential"), implementation=form)
    async with driven(app, document, redis_url=valkey_url) as driver:
        for _ in range(5):
            await driver.get("/mine", headers={"Authorization": "Bearer ada"})
        assert shop.loads == ["ada"]


def validated(*targets):
    return specification(
        *targets, configuration={**patience(5000), "http": {"etag": True}}, implementation=EDGE
    )


async def test_a_validator_is_good_for_its_address_and_after_its_security_only(app, shop, valkey_url):
    @shop.app.get("/plain/{number}")
    def plain(number: int, session: Session = shop.given):
        return session.scalar(select(Note.title).where(Note.id == number))

    @shop.app.get("/uncached")
    async def uncached():
        await asyncio.sleep(0.001)
        return "uncached"

    document = validated(
        get("/mine", "shop_notes(id=1)", scope="credential"),
        get("/plain/{number}", "shop_notes(id={path.number})", key="plain:{path.number}"),
    )
    ada, nobody = {"Authorization": "Bearer ada"}, {"Authorization": "Bearer nobody"}
    async with driven(app, document, redis_url=valkey_url) as driver:
        etag = (await driver.get("/mine", headers=ada)).headers["etag"]
        first = (await driver.get("/plain/1")).headers["etag"]
        assert (await driver.get("/mine", headers={**ada, "If-None-Match": etag})).status_code == 304
        assert (await driver.get("/mine", headers={**nobody, "If-None-Match": etag})).status_code == 403
        assert (await driver.get("/mine", headers={"If-None-Match": etag})).status_code == 422
        bobs = {"Authorization": "Bearer bob", "If-None-Match": etag}
        assert (await driver.get("/mine", headers=bobs)).json()["of"] == "bob"
        second = await driver.get("/plain/2", headers={"If-None-Match": first})
        assert (second.status_code, second.json()) == (200, "note 2")
        answers = await asyncio.gather(*(driver.get(url) for url in ("/uncached", "/plain/1") * 20))
        assert all("etag" not in answer.headers for answer in answers[::2])
        assert {answer.headers["etag"] for answer in answers[1::2]} == {first}


async def test_workers_give_one_answer_one_validator(app, shop, valkey_url):
    document = validated(get("/mine", "shop_notes(id=1)", scope="credential"))
    ada, tags = {"Authorization": "Bearer ada"}, set()
    for _ in range(2):
        async with driven(app, document, redis_url=valkey_url, secret=b"one for the fleet" * 2) as driver:
            tags |= {(await driver.get("/mine", headers=ada)).headers["etag"] for _ in range(2)}
        shop.app.middleware_stack = None
    assert len(tags) == 1


async def test_a_request_empties_no_cache_and_an_answers_own_words_stay(app, shop, valkey_url):
    @shop.app.get("/said")
    def said(response: Response, session: Session = shop.given):
        response.headers["Cache-Control"] = "public, max-age=60"
        return session.scalar(select(Note.title).where(Note.id == 1))

    document = specification(get("/said", "shop_notes(id=1)"), implementation=EDGE)
    async with driven(app, document, redis_url=valkey_url) as driver:
        assert await driver.caches("/said")
        for header in ({"Clear-Site-Data": '"cache"'}, {"X-Cache-Purge": "1"}, {"Cache-Control": "no-store"}):
            await driver.get("/said", headers=header)
            assert await driver.hit("/said")
        assert (await driver.get("/said")).headers["cache-control"] == "public, max-age=60"


async def test_a_response_model_hides_on_a_hit_what_it_hid_and_any_json_is_an_answer(shop, valkey_url):
    class Shown(BaseModel):
        name: str

    @shop.app.get("/person", response_model=Shown)
    def person(session: Session = shop.given):
        return {"name": session.scalar(select(Note.title).where(Note.id == 1)), "password": "hunter2"}

    answers = {"number": 7, "zero": 0, "none": None, "no": False, "text": "", "list": []}
    for name, value in answers.items():
        shop.app.get(f"/{name}")(_answering(shop, value))
    document = specification(
        get("/person", "shop_notes(id=1)"), *(get(f"/{name}", "shop_notes(id=1)") for name in answers)
    )
    async with driven(shop.app, document, redis_url=valkey_url) as driver:
        assert await driver.caches("/person")
        assert (await driver.get("/person")).json() == {"name": "note 1"}
        for name, value in answers.items():
            assert await driver.caches(f"/{name}"), name
            answer = await driver.get(f"/{name}")
            assert (answer.status_code, answer.json()) == (200, value)


def _answering(shop, value):
    def plain(session: Session = shop.given):
        session.scalar(select(Note.title).where(Note.id == 1))
        return value

    return plain


async def test_a_def_endpoint_that_waits_holds_nobody_else_up_and_loads_once(shop, valkey_url):
    entered, gate, loads = threading.Event(), threading.Event(), []

    @shop.app.get("/slow")
    def slow(session: Session = shop.given):
        loads.append(1)
        entered.set()
        assert gate.wait(30)
        return session.scalar(select(Note.title).where(Note.id == 1))

    @shop.app.get("/quick")
    async def quick():
        return "quick"

    async with driven(
        shop.app, specification(get("/slow", "shop_notes(id=1)")), redis_url=valkey_url
    ) as driver:
        callers = [asyncio.create_task(driver.get("/slow")) for _ in range(30)]
        try:
            assert await asyncio.to_thread(entered.wait, 30)
            for _ in range(20):
                assert (await driver.get("/quick")).json() == "quick"
        finally:
            gate.set()
        assert {(await caller).json() for caller in callers} == {"note 1"}
    assert loads == [1]
