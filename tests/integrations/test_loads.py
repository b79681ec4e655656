"""Endpoints under policies that refresh, stand in for failures, and load once for a fleet."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note, Shop, User
from tests.integrations.test_rules import change

from cachewright.integrations import install
from cachewright.spec.target import compile_plan


class Kitchen:
    """A route that counts how often it ran, can be held up, and can fail in several ways."""

    def __init__(self, shop: Shop) -> None:
        self.runs = 0
        self.fails: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

        @shop.app.get("/notes/{note_id}")
        async def read_note(note_id: int):
            self.runs += 1
            await self.gate.wait()
            if self.fails is not None:
                raise self.fails
            with Session(shop.engine) as session:
                return {"title": session.scalar(select(Note.title).where(Note.id == note_id))}


@pytest.fixture
def kitchen(shop) -> Kitchen:
    return Kitchen(shop)


@pytest.fixture
def under(shop, monkeypatch):
    """Drive the shop with every target's policy changed."""

    @asynccontextmanager
    async def under(*, around=(), target=(), **facts):
        def compile_changed(document):
            plan = compile_plan(document)
            return replace(
                plan,
                targets={
                    place: replace(target, policy=replace(target.policy, jitter=0.0, **facts))
                    for place, target in plan.targets.items()
                },
            )

        monkeypatch.setattr(install, "compile_plan", compile_changed)
        note = get("/notes/{note_id}", "shop_notes(id={note_id})", key="note:{note_id}", **dict(target))
        async with driven(shop.app, specification(note), **dict(around)) as driver:
            yield driver

    return under


async def title(driver, **options) -> str:
    return (await driver.get("/notes/1", **options)).json()["title"]


async def held_up(kitchen: Kitchen, runs: int) -> None:
    async with asyncio.timeout(10):
        while kitchen.runs < runs:
            await asyncio.sleep(0.001)


async def test_one_real_request_refreshes_while_others_are_served(shop, kitchen, under):
    async with under(soft_ttl=0.0) as driver:
        first = await title(driver)
        kitchen.gate.clear()
        refresher = asyncio.create_task(driver.get("/notes/1"))
        await held_up(kitchen, 2)
        for _ in range(5):
            assert await title(driver) == first
            assert driver.outcomes[-1].hit
        kitchen.gate.set()
        assert (await refresher).json()["title"] == first
        assert driver.outcomes[-1].reason == "refresh"
        assert kitchen.runs == 2
        assert await title(driver) == first
        assert kitchen.runs == 3


async def test_a_refresh_is_overtaken_by_a_write(shop, kitchen, under):
    async with under(soft_ttl=0.0) as driver:
        await title(driver)
        kitchen.gate.clear()
        refresher = asyncio.create_task(driver.get("/notes/1"))
        await held_up(kitchen, 2)
        await asyncio.to_thread(change, shop.engine, "newer")
        reader = asyncio.create_task(driver.get("/notes/1"))
        await held_up(kitchen, 3)
        kitchen.gate.set()
        await refresher
        assert (await reader).json()["title"] == "newer"
        assert await title(driver) == "newer"


FAILURES = [RuntimeError("the database is away"), HTTPException(503, "the database is away")]


@pytest.mark.parametrize("failure", FAILURES, ids=["raises", "answers 503"])
async def test_an_expired_answer_stands_in_for_an_application_that_fails(kitchen, under, failure):
    async with under(ttl=0.05, stale_if_error=60.0) as driver:
        whole = await driver.get("/notes/1")
        await asyncio.sleep(0.06)
        kitchen.fails = failure
        again = await driver.get("/notes/1")
        assert (again.status_code, again.content) == (200, whole.content)
        assert sorted(again.headers.multi_items()) == sorted(whole.headers.multi_items())
        assert kitchen.runs == 2


@pytest.mark.parametrize("failure", FAILURES, ids=["raises", "answers 503"])
async def test_what_was_invalidated_does_not_stand_in(shop, kitchen, under, failure, valkey_url):
    async with under(stale_if_error=60.0, around={"redis_url": valkey_url}) as driver:
        await title(driver)
        await asyncio.to_thread(change, shop.engine, "newer")
        kitchen.fails = failure
        assert (await driver.get("/notes/1")).status_code >= 500


async def test_what_was_invalidated_stands_in_where_the_specification_allows_it(
    shop, kitchen, under, valkey_url
):
    allowed = {"allow_stale_after_invalidation": True}
    async with under(target=allowed, around={"redis_url": valkey_url}) as driver:
        before = await title(driver)
        await asyncio.to_thread(change, shop.engine, "newer")
        kitchen.fails = RuntimeError("the database is away")
        assert await title(driver) == before
        kitchen.fails = None
        assert await title(driver) == "newer"


async def test_a_refusal_is_no_failure(kitchen, under):
    async with under(ttl=0.05, stale_if_error=60.0) as driver:
        await title(driver)
        await asyncio.sleep(0.06)
        kitchen.fails = HTTPException(403)
        assert (await driver.get("/notes/1")).status_code == 403


async def test_a_failure_that_had_begun_to_answer_is_passed_on(shop, under):
    fails = []

    @shop.app.get("/notes/{note_id}")
    async def read_note(note_id: int):
        async def body():
            yield b"half"
            raise RuntimeError("the database is away")

        if fails:
            return StreamingResponse(body())
        with Session(shop.engine) as session:
            return session.scalar(select(Note.title).where(Note.id == note_id))

    async with under(ttl=0.05, stale_if_error=60.0) as driver:
        await driver.get("/notes/1")
        await asyncio.sleep(0.06)
        fails.append(1)
        assert (await driver.get("/notes/1")).content == b"half"


async def test_nobody_stands_in_for_who_was_not_accepted(shop, under):
    """Another credential's answer is no answer, however the application fails."""
    fails = []

    @shop.app.get("/notes/{note_id}")
    async def read_note(note_id: int, request: Request):
        if fails:
            raise RuntimeError("the database is away")
        with Session(shop.engine) as session:
            return (
                session.scalar(select(User.name).where(User.id == note_id))
                or request.headers["authorization"]
            )

    async with under(ttl=0.05, stale_if_error=60.0, target={"scope": "credential"}) as driver:
        for who in ("one", "two"):
            await driver.get("/notes/1", headers={"Authorization": f"Bearer {who}"})
        await asyncio.sleep(0.06)
        fails.append(1)
        assert (await driver.get("/notes/1", headers={"Authorization": "Bearer three"})).status_code == 500


async def test_the_fleet_loads_once(shop, kitchen, valkey_url):
    """Two installations over two copies of one application, as two processes would be."""
    copy, ran = FastAPI(), []

    @copy.get("/notes/{note_id}")
    async def read_note(note_id: int):
        ran.append(note_id)
        with Session(shop.engine) as session:
            return {"title": session.scalar(select(Note.title).where(Note.id == note_id))}

    note = get("/notes/{note_id}", "shop_notes(id={note_id})", key="note:{note_id}", single_flight="fleet")
    document = specification(note)
    async with (
        driven(shop.app, document, redis_url=valkey_url) as first,
        driven(copy, document, redis_url=valkey_url) as second,
    ):
        kitchen.gate.clear()
        leading = asyncio.create_task(first.get("/notes/1"))
        await held_up(kitchen, 1)
        waiting = asyncio.create_task(second.get("/notes/1"))
        async with asyncio.timeout(10):
            while not second.installed.cache.fleet._waiting:
                await asyncio.sleep(0.001)
        kitchen.gate.set()
        assert (await leading).content == (await waiting).content
        assert (kitchen.runs, ran) == (1, [])


def specified(**ttl):
    return get(
        "/notes/{note_id}",
        "shop_notes(id={note_id})",
        key="note:{note_id}",
        strategy={"ttl": {"jitter": 0.0, **ttl}},
    )


async def test_a_specification_says_how_long_an_entry_stands_in_for_failures(shop, kitchen):
    note = specified(duration_seconds=1, stale_if_error_seconds=60)
    async with driven(shop.app, specification(note)) as driver:
        first = await title(driver)
        kitchen.fails = HTTPException(503)
        await asyncio.sleep(1.1)
        assert await title(driver) == first
        assert kitchen.runs == 2


async def test_without_it_a_failure_is_the_applications_own(shop, kitchen):
    async with driven(shop.app, specification(specified(duration_seconds=1))) as driver:
        await title(driver)
        kitchen.fails = HTTPException(503)
        await asyncio.sleep(1.1)
        assert (await driver.get("/notes/1")).status_code == 503


async def test_a_specification_says_that_one_request_refreshes_an_entry_past_its_soft_end(shop, kitchen):
    note = specified(duration_seconds=60, soft_duration_seconds=1)
    async with driven(shop.app, specification(note)) as driver:
        await title(driver)
        await title(driver)
        assert kitchen.runs == 1
        await asyncio.sleep(1.1)
        await title(driver)
        await title(driver)
        assert kitchen.runs == 2


@pytest.mark.parametrize(("ttl", "runs"), [({}, 2), ({"negative_duration_seconds": 60}, 1)])
async def test_a_specification_says_whether_it_is_remembered_that_nothing_is_there(shop, ttl, runs):
    ran = []

    @shop.app.get("/notes/{note_id}")
    async def read_note(note_id: int):
        ran.append(note_id)
        with Session(shop.engine) as session:
            if session.scalar(select(Note.title).where(Note.id == note_id)) is None:
                raise HTTPException(404)

    async with driven(shop.app, specification(specified(**ttl))) as driver:
        for _ in range(2):
            assert (await driver.get("/notes/999")).status_code == 404
    assert len(ran) == runs
