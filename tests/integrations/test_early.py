"""Hits before routing: the same answers as routing gives, to the same requests, and to nobody else."""

import gc
import time
import tracemalloc
from itertools import count
from random import Random

import jwt
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.security import APIKeyCookie, APIKeyHeader, APIKeyQuery, HTTPBearer
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from tests.integrations.driving import driven, get, specification
from tests.integrations.routing import HOSTS, generated, path, route
from tests.integrations.shop import Note

from cachewright.capture.routes import walk
from cachewright.integrations.recall import Generations, Likeness


class Early:
    """Counts the answers that were given before routing."""

    def __init__(self, installed):
        self.count = 0
        shortcut = installed._app._shortcut
        original = shortcut.reply

        def reply(*arguments):
            found = original(*arguments)
            self.count += found is not None
            return found

        shortcut.reply = reply


def everything(app) -> list[dict]:
    """A target for every route, keyed by the whole path."""
    targets = {}
    for number, found in enumerate(walk(app)):
        names = [
            *(name for mount in found.mounts for name in mount.param_convertors if name != "path"),
            *found.matched.param_convertors,
        ]
        key = ":".join([f"r{number}", *(f"{{path.{name}}}" for name in dict.fromkeys(names))])
        targets[found.template] = get(found.template, "shop_notes", key=key)
    return list(targets.values())


EARLY: list[int] = []


@pytest.mark.parametrize("seed", range(30))
async def test_what_is_answered_before_routing_is_what_routing_would_give(seed):
    """Overlapping templates, mounts, hosts, custom classes and convertors, root paths; tables that change meanwhile."""
    app, dice, numbers = generated(seed), Random(seed), count(1000)
    targets = everything(app)
    templates = [found.template for found in walk(app)]
    async with driven(app, specification(*targets)) as driver:
        early = Early(driver.installed)
        for turn in range(3):
            for _ in range(12):
                url, host = path(dice, templates), dice.choice(HOSTS)
                for _ in range(3):
                    headers = {"Host": host} | ({"X-Pick": "me"} if dice.random() < 0.3 else {})
                    await driver.hit(url, headers=headers)
                await compare_head(driver, url, host)
            if turn == 0:
                app.router.routes.insert(0, route(dice, numbers))
            elif turn == 1:
                app.router.routes.pop(dice.randrange(len(app.router.routes)))
        EARLY.append(early.count)


async def compare_head(driver, url, host):
    cached = await driver.send("HEAD", url, headers={"Host": host})
    plain = await driver._plain.request("HEAD", url, headers={"Host": host})
    assert (cached.status_code, sorted(cached.headers.items())) == (
        plain.status_code,
        sorted(plain.headers.items()),
    )


def test_many_of_them_were_answered_before_routing():
    assert sum(EARLY) > 200


@pytest.fixture
def noted(shop):
    """An application that tells what a request says of itself, and a note of the database."""

    @shop.app.get("/told")
    def told(request: Request, session: Session = shop.given, x_lang: str | None = Header(None)):
        return [x_lang, session.scalar(select(Note.title).where(Note.id == 1))]

    return shop.app


# who may have it


async def test_headers_that_the_key_holds_are_told_apart_and_absent_is_not_empty(noted):
    spec = specification(get("/told", "shop_notes(id=1)", key="told:{header.x-lang}"))
    async with driven(noted, spec) as driver:
        early = Early(driver.installed)
        kinds = [{}, {"X-Lang": ""}, {"X-Lang": "de"}, {"X-Lang": "de "}, {"X-Lang": "fr"}]
        for headers in kinds * 4:
            await driver.hit("/told", headers=headers)
        assert early.count == len(kinds) * 3
        twice = [("X-Lang", "de"), ("X-Lang", "fr")]
        assert not await driver.hit("/told", headers=twice)


async def test_other_headers_do_not_matter(noted):
    spec = specification(get("/told", "shop_notes(id=1)", key="told:{header.x-lang}"))
    async with driven(noted, spec) as driver:
        early = Early(driver.installed)
        for number in range(6):
            await driver.hit("/told", headers={"X-Request-Id": str(number), "User-Agent": f"a{number}"})
        assert early.count == 5


SCHEMES = {
    "bearer": (HTTPBearer(), lambda who: {"headers": {"Authorization": f"Bearer {who}"}}),
    "a header of any name": (APIKeyHeader(name="X-Door"), lambda who: {"headers": {"X-Door": who}}),
    "a cookie": (APIKeyCookie(name="door"), lambda who: {"headers": {"Cookie": f"theme=dark; door={who}"}}),
    "the query": (APIKeyQuery(name="door"), lambda who: {"params": {"door": who}}),
}


@pytest.mark.parametrize(("scheme", "carry"), SCHEMES.values(), ids=SCHEMES)
async def test_nobody_is_answered_before_routing_with_what_another_was_given(shop, scheme, carry):
    @shop.app.get("/mine")
    def mine(who=Depends(scheme), session: Session = shop.given):
        return [getattr(who, "credentials", who), session.scalar(select(Note.title).where(Note.id == 1))]

    spec = specification(get("/mine", "shop_notes(id=1)", key="mine", scope="credential"))
    async with driven(shop.app, spec) as driver:
        early = Early(driver.installed)
        for _ in range(4):
            for who in ("ann", "bob", "ann2"):
                answer = await driver.get("/mine", **carry(who))
                assert answer.json()[0] == who
            assert (await driver.get("/mine")).status_code in (401, 403)
        assert early.count >= 6


async def test_a_stranger_is_asked_for_by_the_application_however_warm_the_binding_is(shop):
    """One user, several tokens that say the same: each must have been accepted, whatever its signature."""
    known = {"one", "two"}

    def user(given=Depends(HTTPBearer())):
        if given.credentials.rpartition(".")[2] not in known:
            raise HTTPException(403)

    @shop.app.get("/mine", dependencies=[Depends(user)])
    def mine(session: Session = shop.given):
        return session.scalar(select(Note.title).where(Note.id == 1))

    target = get("/mine", "shop_notes(id=1)", key="user:{user_id}:mine", scope="user")
    async with driven(shop.app, specification(target, identity={"user": "claim:sub"})) as driver:
        early = Early(driver.installed)
        claims = jwt.encode({"sub": "7"}, "k" * 32).rpartition(".")[0]

        async def status(signature):
            headers = {"Authorization": f"Bearer {claims}.{signature}"}
            return (await driver.get("/mine", headers=headers)).status_code

        assert [await status("one") for _ in range(3)] == [200] * 3
        assert [await status("forged") for _ in range(3)] == [403] * 3
        assert early.count == 2
        assert [await status("two") for _ in range(3)] == [200] * 3
        assert [await status("forged") for _ in range(2)] == [403] * 2
        assert early.count == 4
        known.remove("one")
        assert await status("one") == 200, "until its acceptance ends"
        await driver.installed.cache.invalidate(("ns",))
        assert await status("one") == 403


async def test_conditions_of_the_specification_are_asked_each_time(noted):
    target = get(
        "/told", "shop_notes(id=1)", key="told:{header.x-lang}", bypass_when=["header.x-fresh present"]
    )
    async with driven(noted, specification(target)) as driver:
        early = Early(driver.installed)
        assert [await driver.hit("/told") for _ in range(3)] == [False, True, True]
        assert [await driver.hit("/told", headers={"X-Fresh": "1"}) for _ in range(3)] == [False] * 3
        assert [await driver.hit("/told", headers={"Range": "bytes=0-1"}) for _ in range(2)] == [False] * 2
        assert early.count == 2


# what happens meanwhile


async def test_a_write_ends_it_at_once(noted, shop):
    spec = specification(get("/told", "shop_notes(id=1)", key="told:{header.x-lang}"))
    async with driven(noted, spec) as driver:
        for number in range(5):
            assert not await driver.hit("/told")
            assert await driver.hit("/told")
            assert await driver.hit("/told")
            with Session(shop.engine) as session:
                session.get_one(Note, 1).title = f"title {number}"
                session.flush()
                assert not await driver.hit("/told"), "held"
                session.commit()
            assert (await driver.get("/told")).json()[1] == f"title {number}"
            driver.installed.cache._core.drop(("shop_notes#bulk",))


async def test_it_ends_when_its_time_is_over(noted, monkeypatch):
    target = get("/told", "shop_notes(id=1)", key="told:{header.x-lang}")
    target["strategy"] = {"ttl": {"duration_seconds": 100}}
    async with driven(noted, specification(target)) as driver:
        early, real = Early(driver.installed), time.time
        assert [await driver.hit("/told") for _ in range(3)] == [False, True, True]
        parts = driver.installed._app._shortcut._parts
        object.__setattr__(parts, "wall", lambda: real() + 200)
        driver.installed.cache._core.wall = parts.wall
        assert not await driver.hit("/told")
        assert early.count == 2


async def test_what_middleware_finds_in_the_scope_is_there_on_a_hit_too(noted):
    async def show(request, call_next):
        answer = await call_next(request)
        found = request.scope
        answer.headers["x-route"] = (
            f"{found['route'].path} {found['endpoint'].__name__} {found['path_params']}"
        )
        return answer

    noted.add_middleware(BaseHTTPMiddleware, dispatch=show)
    spec = specification(get("/told", "shop_notes(id=1)", key="told:{header.x-lang}"))
    async with driven(noted, spec) as driver:
        early = Early(driver.installed)
        assert [await driver.hit("/told") for _ in range(4)] == [False, True, True, True]
        assert early.count == 3


async def test_a_request_that_middleware_rewrites_is_routed(noted):
    """One path, two routes, by a header that no binding reads."""

    class Rewrites:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http" and (b"x-beta", b"1") in scope["headers"]:
                scope["path"] = "/beta"
            await self.app(scope, receive, send)

    @noted.get("/beta")
    def beta():
        return "beta"

    noted.add_middleware(Rewrites)
    spec = specification(
        get("/told", "shop_notes(id=1)", key="told:{header.x-lang}"), get("/beta", "shop_notes", key="beta")
    )
    async with driven(noted, spec) as driver:
        for _ in range(3):
            for headers in ({}, {"X-Beta": "1"}, {"X-Beta": "1"}, {}):
                await driver.hit("/told", headers=headers)


async def test_a_mounted_application_with_middleware_keeps_it(shop):
    async def mark(request, call_next):
        answer = await call_next(request)
        answer.headers["x-marked"] = "yes"
        return answer

    async def note(request):
        return JSONResponse("note")

    marked, plain = FastAPI(), FastAPI()
    for inner in (marked, plain):
        inner.add_route("/note", note)
    marked.add_middleware(BaseHTTPMiddleware, dispatch=mark)
    shop.app.mount("/marked", marked)
    shop.app.mount("/plain", plain)
    shop.app.mount("/routes", app=Mount("/in", routes=[Route("/note", note)]).app)
    spec = specification(*(get(f"/{name}/note", "shop_notes") for name in ("marked", "plain", "routes")))
    async with driven(shop.app, spec) as driver:
        early = Early(driver.installed)
        for name in ("marked", "plain", "routes"):
            assert [await driver.hit(f"/{name}/note") for _ in range(3)] == [False, True, True]
        assert (await driver.get("/marked/note")).headers["x-marked"] == "yes"
        assert early.count == 4, "the one with middleware is answered at the door of its route"


async def test_a_handler_that_routes_again_is_not_taken_for_the_one_it_leads_to(shop):
    async def inner(request):
        return JSONResponse("inner")

    async def outer(request):
        scope = {**request.scope, "path": "/inner", "path_params": {}}
        await shop.app.router(scope, request.receive, request._send)
        return _Nothing()

    class _Nothing(JSONResponse):
        def __init__(self):
            super().__init__(None)

        async def __call__(self, scope, receive, send):
            pass

    shop.app.add_route("/inner", inner)
    shop.app.add_route("/outer", outer)
    async with driven(shop.app, specification(get("/inner", "shop_notes"))) as driver:
        early = Early(driver.installed)
        for _ in range(3):
            assert (await driver.get("/outer")).json() == "inner"
        assert early.count == 0
        assert [await driver.hit("/inner") for _ in range(2)] == [True, True]


async def test_an_answer_that_somebody_changes_changes_for_nobody_else(noted):
    class Adds:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            async def added(message):
                if message["type"] == "http.response.start":
                    message["headers"].append((b"x-added", b"1"))
                elif message["type"] == "http.response.body":
                    message["body"] += b" "
                await send(message)

            await self.app(scope, receive, added if scope["type"] == "http" else send)

    noted.add_middleware(Adds)
    spec = specification(get("/told", "shop_notes(id=1)", key="told:{header.x-lang}"))
    async with driven(noted, spec) as driver:
        early = Early(driver.installed)
        answers = [await driver.get("/told") for _ in range(4)]
        assert {answer.content for answer in answers} == {b'[null,"note 1"] '}
        assert all(answer.headers.get_list("x-added") == ["1"] for answer in answers)
        assert early.count == 3


# what is remembered

NAMES = st.sampled_from([b"authorization", b"cookie", b"x-key", b"x-lang", b"host", b"x-api-key", b"range"])
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=3)), max_size=4)


def scope_of(headers, **more) -> dict:
    return {"method": "GET", "path": "/", "query_string": b"", "headers": headers, **more}


@given(HEADERS, HEADERS)
def test_requests_that_differ_in_what_binding_reads_do_not_look_alike(one, other):
    likeness = Likeness(b"k" * 32, {"x-lang"}, lambda: {"header:x-key"})
    for headers in (one, other):
        likeness.learn(scope_of(headers))
    alike = likeness.of(scope_of(one)) == likeness.of(scope_of(other))
    assert alike == (one == other)


def test_every_fact_of_a_request_counts_and_no_header_that_nobody_reads():
    likeness = Likeness(b"k" * 32, set(), tuple)
    plain, more = scope_of([(b"host", b"h")]), scope_of([(b"host", b"h"), (b"user-agent", b"x")])
    assert likeness.of(plain) != likeness.of(more), "nobody knows yet that it does not count"
    likeness.learn(more)
    plain = likeness.of(plain)
    assert plain == likeness.of(more)
    others = [
        {"method": "HEAD"},
        {"path": "/x"},
        {"query_string": b"a"},
        {"root_path": "/r"},
        {"scheme": "https"},
    ]
    assert len({plain, *(likeness.of(scope_of([(b"host", b"h")], **more)) for more in others)}) == 6
    assert likeness.of(scope_of([], path="\ud800")) is None


def test_past_a_bound_every_header_counts():
    likeness = Likeness(b"k" * 32, set(), tuple)
    for number in range(600):
        likeness.learn(scope_of([(b"x-%d" % number, b"")]))
    assert likeness.of(scope_of([(b"x-1", b"1")])) == likeness.of(scope_of([]))
    assert likeness.of(scope_of([(b"x-599", b"1")])) != likeness.of(scope_of([]))
    assert len(likeness._unread) <= 512


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40)), max_size=200))
def test_what_is_remembered_has_bounds_and_is_never_another(uses):
    held: Generations[int] = Generations(items=10, limit=200)
    for name, size in uses:
        key = b"%d" % name
        assert held.get(key) in (None, name)
        held.put(key, name, size)
        assert held.get(key) == name
        assert len(held) <= 10
        assert sum(size for _, size in (*held._young.values(), *held._old.values())) <= 200


def test_what_is_asked_for_all_the_time_is_kept():
    held: Generations[int] = Generations(items=10, limit=10_000)
    held.put(b"hot", 1, 1)
    for number in range(1000):
        assert held.get(b"hot") == 1
        held.put(b"%d" % number, number, 1)


async def test_long_requests_take_no_more_room_than_was_set_aside(shop):
    """Whoever asks with much that no key speaks of fills the memory of nobody."""

    @shop.app.get("/plain")
    def plain() -> str:
        return "x"

    async def ask(number: int) -> None:
        scope = scope_of([(b"host", b"test"), (b"accept", b"y" * 10_000)], path="/plain")
        scope |= {"type": "http", "query_string": b"%d=" % number + b"x" * 50_000}
        await installed(scope, receive, send)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        assert message.get("status", 200) == 200

    async with driven(shop.app, specification(get("/plain", key="plain"))) as driver:
        installed = driver.installed
        await driver.caches("/plain")
        tracemalloc.start()
        try:
            for number in range(100):
                await ask(number)
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 1_000_000
