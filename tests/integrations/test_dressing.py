"""Headers of the cache's own (RFC 9110, 9111, 9211), each only where the specification asks for it."""

import re
import time

import pytest
from fastapi import Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, patience, specification
from tests.integrations.shop import Note

from cachewright.runtime.questions import LookupRequest

OURS = ("age", "etag", "cache-control", "cache-status", "surrogate-key", "cache-tag", "xkey", "vary")


def switched(*targets, http=None, cdn=None, **extra):
    configuration = {**patience(5000), "http": http or {}, "cdn": cdn or {}}
    return specification(*targets, configuration=configuration, **extra)


@pytest.fixture
def app(shop):
    @shop.app.get("/note")
    def note(response: Response, how: str = "", session: Session = shop.given):
        if how:
            name, _, value = how.partition("=")
            response.headers[name] = value
        return session.scalar(select(Note.title).where(Note.id == 1))

    @shop.app.post("/write")
    def write(session: Session = shop.given):
        session.get_one(Note, 1).title += "!"
        session.commit()

    return shop.app


NOTE = get("/note", "shop_notes(id=1)", key="note:how={how}")


async def test_nothing_is_added_that_was_not_asked_for(app):
    async with driven(app, switched(NOTE)) as driver:
        for _ in range(3):
            answer = await driver.get("/note")
            assert not set(OURS) & set(answer.headers)


@pytest.mark.parametrize("form", ["middleware", "dependency"])
async def test_a_client_that_holds_the_answer_is_told_so(app, form):
    kind = {"cache_interceptor": [{"name": "I", "type": form}]}
    async with driven(app, switched(NOTE, http={"etag": True}, implementation=kind)) as driver:
        first = await driver.get("/note")
        etag = first.headers["etag"]
        assert etag.startswith('W/"')
        hit = await driver.get("/note")
        assert (hit.headers["etag"], hit.content, driver.outcomes[-1].hit) == (etag, first.content, True)
        for asked in (etag, etag.removeprefix("W/"), f'"x", {etag}', "*", f" {etag} "):
            same = await driver.get("/note", headers={"If-None-Match": asked})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag), asked
            assert not {"content-type", "content-length"} & set(same.headers)
        for asked in ('"x"', 'W/"x"', "", etag[:-2]):
            assert (await driver.get("/note", headers={"If-None-Match": asked})).status_code == 200, asked
        await driver.send("POST", "/write")
        changed = await driver.get("/note", headers={"If-None-Match": etag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != etag
        await driver.send("POST", "/write")
        new = (await driver.get("/note")).headers["etag"]
        await driver.send("POST", "/write")
        assert (await driver.get("/note", headers={"If-None-Match": new})).status_code == 200


async def test_validators_of_the_application_are_its_own(app):
    async with driven(app, switched(NOTE, http={"etag": True})) as driver:
        for how in ('ETag="mine"', "Last-Modified=Sun, 06 Nov 1994 08:49:37 GMT"):
            assert await driver.caches("/note", params={"how": how})
            asked = {"If-None-Match": '"mine"'}
            assert (await driver.get("/note", params={"how": how}, headers=asked)).status_code == 200


async def test_the_age_of_a_hit_grows(app, monkeypatch):
    async with driven(app, switched(NOTE, http={"age": True})) as driver:
        installed = driver.installed
        assert "age" not in (await driver.get("/note")).headers
        assert (await driver.get("/note")).headers["age"] == "0"
        later = [time.time() + 7]
        parts = installed._app._observer._parts
        object.__setattr__(parts, "wall", lambda: later[0])
        assert (await driver.get("/note")).headers["age"] == "7"
        again = await driver.get("/note", headers={"X-Never-Seen": "1"})
        assert again.headers["age"] == "7"


async def test_what_became_of_a_request_is_told_in_the_words_of_rfc_9211(app):
    target = {**NOTE, "bypass_when": ["query.how == 'x-a=b'"], "strategy": {"ttl": {"duration_seconds": 100}}}
    async with driven(app, switched(target, http={"cache_status": True})) as driver:

        async def status(url="/note", **options):
            return (await driver.get(url, **options)).headers.get("cache-status")

        assert await status() == "cachewright; fwd=uri-miss; stored; detail=absent"
        assert re.fullmatch(r"cachewright; hit; ttl=\d+", await status())
        await driver.send("POST", "/write")
        assert await status() == "cachewright; fwd=uri-miss; stored; detail=absent"
        assert await status("/note?how=x-a=b") == "cachewright; fwd=bypass; detail=bypass_condition"
        assert await status("/note?how=cache-control=no-store") == "cachewright; fwd=uri-miss; detail=absent"
        assert await status("/no/such/path") is None


REQUESTS = [
    ({"Cache-Control": "no-cache"}, True),
    ({"Cache-Control": "max-age=0"}, True),
    ({"Cache-Control": "no-store"}, True),
    ({"Cache-Control": "foo, No-Cache"}, True),
    ({"Pragma": "no-cache"}, True),
    ({"Cache-Control": "max-age=60", "Pragma": "no-cache"}, False),
    ({"Cache-Control": "max-age=60"}, False),
    ({"Cache-Control": "x-no-cache"}, False),
    ({}, False),
]


@pytest.mark.parametrize(("headers", "reloads"), REQUESTS)
async def test_a_request_may_ask_for_a_load_where_it_is_listened_to(app, headers, reloads):
    async with driven(app, switched(NOTE)) as driver:
        assert await driver.caches("/note")
        assert await driver.hit("/note", headers=headers)
    async with driven(app, switched(NOTE, http={"request_no_cache": "reload"})) as driver:
        assert await driver.caches("/note")
        assert await driver.hit("/note", headers=headers) is not reloads
        assert await driver.hit("/note")


RESPONSES = [
    ("cache-control=no-store", False),
    ("cache-control=No-Store", False),
    ("cache-control=no-cache", False),
    ('cache-control=no-cache="set-cookie"', False),
    ("cache-control=private", False),
    ('cache-control=private="x"', False),
    ("cache-control=max-age=0", False),
    ("cache-control=s-maxage=0, max-age=60", False),
    ("cache-control=max-age=0, s-maxage=60", True),
    ("cache-control=max-age=60, max-age=10", False),
    ("cache-control=max-age=x", False),
    ("cache-control=max-age=-1", False),
    ("cache-control=max-age=60", True),
    ('cache-control=max-age="60"', True),
    ("cache-control=public", True),
    ("cache-control=must-revalidate, max-age=5", True),
    ("cache-control=stale-while-revalidate=5", True),
    ("set-cookie=a=b", False),
    ("vary=*", False),
    ("vary=Accept", False),
    ("x-anything=1", True),
]


@pytest.mark.parametrize(("how", "stored"), RESPONSES)
@pytest.mark.requirement("#406")
async def test_what_a_response_says_of_being_stored_is_followed(app, how, stored):
    async with driven(app, switched(NOTE)) as driver:
        assert await driver.caches("/note", params={"how": how}) is stored


async def test_an_answer_lives_no_longer_than_it_says(app):
    async with driven(app, switched(NOTE)) as driver:
        for how, seconds in (("cache-control=max-age=30", 30), ("cache-control=max-age=9, s-maxage=40", 40)):
            assert await driver.caches("/note", params={"how": how})

            key = driver.outcomes[-1].key
            held = driver.installed.cache.lookup_local(LookupRequest("GET /note", key, ()))
            assert held.seen.entry.expires_at == pytest.approx(held.seen.entry.loaded_at + seconds)
