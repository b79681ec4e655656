"""Caches inside of cached routes: what an answer was made of counts for it too."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import Request
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note, User

import cachewright
from cachewright import BlockingCache, Cache

NAME = select(User.name).where(User.id == 1)
COUNT = select(func.count(Note.id))
FORMS = {
    "edge": {},
    "inside": {"implementation": {"cache_interceptor": [{"name": "inside", "type": "dependency"}]}},
}


def of_name(**extra: Any) -> dict[str, Any]:
    """Without copies in memory: what another cache of this process changes is known at once."""
    return get("/page", "shop_users(id=1)", levels=["l2"], **extra)


def execute(shop, statement: str) -> None:
    with shop.engine.begin() as connection:
        connection.execute(text(statement))


class Page:
    """`GET /page`: a name from the database, and a count that a cache in code keeps."""

    def __init__(self, shop, url: str | None, namespace: str, *, ttl: int = 300, plain: bool = False):
        self.cache = Cache(url, namespace=namespace, levels=("l2",) if url else ("l1",))

        def counted() -> int:
            with Session(shop.engine) as session:
                return session.scalar(COUNT)

        async def awaited() -> int:
            return counted()

        keep = self.cache.cached(key="count", tags=["shop_notes"], ttl_seconds=ttl)
        self.count = keep(counted if plain else awaited)
        self.name = lambda: shop.engine.connect().execute(NAME).scalar()
        if plain:

            @shop.app.get("/page")
            def page(session: Session = shop.given) -> list[Any]:
                return [session.scalar(NAME), self.count()]
        else:

            @shop.app.get("/page")
            async def page(session: Session = shop.given) -> list[Any]:
                return [session.scalar(NAME), await self.count()]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_value_that_code_had_cached_ends_the_answer_with_itself(shop, form, plain, valkey_url):
    spec = specification(of_name(), **form)
    page = Page(shop, valkey_url, spec.spec.namespace, plain=plain)
    async with driven(shop.app, spec, redis_url=valkey_url) as driver, page.cache:
        counted = await asyncio.to_thread(page.count) if plain else await page.count()
        assert counted == 9
        assert await driver.caches("/page")
        execute(shop, "DELETE FROM shop_notes WHERE id = 9")
        assert not await driver.hit("/page")
        assert (await driver.get("/page")).json() == ["user 1", 8]
        assert await driver.caches("/page")
        execute(shop, "UPDATE shop_users SET name = 'other' WHERE id = 1")
        assert not await driver.hit("/page")
        assert (await driver.get("/page")).json() == ["other", 8]


async def test_a_value_that_code_sets_anew_ends_the_answers_made_of_it(shop, valkey_url):
    spec = specification(of_name())
    cache = Cache(valkey_url, namespace=spec.spec.namespace, levels=("l2",))

    @shop.app.get("/page")
    async def page(session: Session = shop.given) -> list[Any]:
        return [session.scalar(NAME), await cache.get("rate", int)]

    async with driven(shop.app, spec, redis_url=valkey_url) as driver, cache:
        await cache.set("rate", 1)
        assert await driver.caches("/page")
        await cache.set("rate", 2)
        assert not await driver.hit("/page")
        assert (await driver.get("/page")).json() == ["user 1", 2]
        assert await driver.caches("/page")
        await cache.delete("rate")


async def test_that_there_was_no_value_is_not_kept(shop, valkey_url):
    spec = specification(of_name())
    cache = Cache(valkey_url, namespace=spec.spec.namespace, levels=("l2",))

    @shop.app.get("/page")
    async def page(session: Session = shop.given) -> list[Any]:
        rate = await cache.get("rate", int)
        return [session.scalar(NAME), None if rate is cachewright.MISSING else rate]

    async with driven(shop.app, spec, redis_url=valkey_url) as driver, cache:
        assert not await driver.caches("/page")
        assert driver.refused == ("nested_cache",)
        await cache.set("rate", 1)
        assert await driver.caches("/page")
        assert (await driver.get("/page")).json() == ["user 1", 1]


async def test_an_answer_lives_no_longer_than_what_it_was_made_of(shop, valkey_url):
    spec = specification(of_name())
    page = Page(shop, valkey_url, spec.spec.namespace, ttl=1)
    async with driven(shop.app, spec, redis_url=valkey_url) as driver, page.cache:
        assert await driver.caches("/page")  # its load brought the value, too
        assert await driver.hit("/page")
        await asyncio.sleep(1.2)
        assert not await driver.hit("/page")


@pytest.mark.parametrize("where", ["memory", "another namespace"])
async def test_values_of_a_cache_whose_changes_nobody_here_hears_of_are_not_kept(shop, where, valkey_url):
    spec = specification(of_name())
    own = where == "another namespace"
    page = Page(
        shop, valkey_url if own else None, f"other-{spec.spec.namespace}" if own else spec.spec.namespace
    )
    async with driven(shop.app, spec, redis_url=valkey_url) as driver, page.cache:
        for _ in range(3):
            assert not await driver.hit("/page")
        assert driver.refused == ("nested_cache",)


async def test_a_middleware_that_uses_a_cache_is_part_of_the_load(shop, valkey_url):
    spec = specification(of_name())
    cache = Cache(valkey_url, namespace=spec.spec.namespace, levels=("l2",))
    shop.app.router.routes.clear()

    class Greeting:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                scope["state"] = {"greeting": await cache.get("greeting", str)}
            await self.app(scope, receive, send)

    shop.app.add_middleware(Greeting)

    @shop.app.get("/page")
    async def page(request: Request, session: Session = shop.given) -> list[Any]:
        return [session.scalar(NAME), str(request.state.greeting)]

    async with driven(shop.app, spec, redis_url=valkey_url) as driver, cache:
        await cache.set("greeting", "hello")
        assert await driver.caches("/page")
        await cache.set("greeting", "good day")
        assert not await driver.hit("/page")
        assert (await driver.get("/page")).json() == ["user 1", "good day"]


async def test_an_application_that_asks_itself_is_not_kept_where_it_got_a_cached_answer(shop):
    """What the inner request was answered with ran no SQL that the outer one could be known by."""

    @shop.app.get("/inner")
    def inner(session: Session = shop.given) -> str:
        return session.scalar(NAME)

    @shop.app.get("/page")
    async def page(session: Session = shop.given) -> list[Any]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=installed), base_url="http://t"
        ) as client:
            return [session.scalar(COUNT), (await client.get("/inner")).json()]

    spec = specification(get("/inner", "shop_users(id=1)"), get("/page", "shop_notes"))
    installed: Any = None
    async with driven(shop.app, spec) as driver:
        installed = driver.installed
        assert await driver.caches("/inner")
        for _ in range(3):
            assert not await driver.hit("/page")
            assert "nested_cache" in driver.refused
        assert await driver.hit("/inner")
        execute(shop, "UPDATE shop_users SET name = 'other' WHERE id = 1")
        assert not await driver.hit("/page")


@pytest.mark.parametrize("where", ["thread", "task"])
async def test_what_reaches_an_answer_by_a_way_that_nobody_sees_keeps_it_from_being_kept(
    shop, where, valkey_url
):
    """A pool of one's own, and a task that was there before the request, know nothing of whom they work for."""
    spec = specification(of_name())
    cache = BlockingCache(valkey_url, namespace=spec.spec.namespace, levels=("l1", "l2"))
    asked: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()

    async def work() -> None:
        while True:
            answer = await asked.get()
            answer.set_result(await asyncio.to_thread(cache.get, "name"))

    @shop.app.get("/page")
    async def page() -> Any:
        loop = asyncio.get_running_loop()
        if where == "thread":
            return await loop.run_in_executor(pool, cache.get, "name")
        answer = loop.create_future()
        asked.put_nowait(answer)
        return await answer

    with ThreadPoolExecutor(1) as pool:
        worker = asyncio.create_task(work())
        async with driven(shop.app, spec, redis_url=valkey_url) as driver:
            for name in ("one", "two"):
                await asyncio.to_thread(cache.set, "name", name)
                for _ in range(2):
                    assert (await driver.get("/page")).json() == name
            assert driver.refused == ("nested_cache",)
        worker.cancel()
        await asyncio.to_thread(cache.close)
