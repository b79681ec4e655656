"""The server between the workers away at the start, in the middle, and back again: every request is answered."""

import asyncio

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, listening, patience, specification
from tests.integrations.shop import Note
from tests.runtime.conftest import OwnServer

NOTES = get("/users/{user}/notes", "shop_notes(user_id={path.user})", key="notes:{path.user}")


@pytest.fixture
def server():
    server = OwnServer()
    server.start()
    yield server
    if server._server is not None:
        server.kill()


@pytest.fixture
def app(shop):
    @shop.app.get("/users/{user}/notes")
    def notes(user: int, session: Session = shop.given):
        return session.scalars(select(Note.title).where(Note.user_id == user).order_by(Note.id)).all()

    @shop.app.post("/users/{user}/notes")
    def add(user: int, session: Session = shop.given):
        session.add(Note(user_id=user, title="more"))
        session.commit()

    return shop.app


async def both_agree(driver, *, writes: bool) -> None:
    """Reads and writes, each compared with the application; none hangs."""
    async with asyncio.timeout(20):
        for _ in range(3):
            for user in (1, 2, 3):
                await driver.hit(f"/users/{user}/notes")
                if writes:
                    assert (await driver.send("POST", f"/users/{user}/notes")).status_code == 200
                await driver.hit(f"/users/{user}/notes")


async def recovered(driver) -> None:
    """Return once reads are hits again; until then every answer is the application's."""
    await listening(driver.installed)
    async with asyncio.timeout(20):
        while not await driver.caches("/users/1/notes"):
            await asyncio.sleep(0.05)


async def test_away_at_the_start_and_found_when_it_comes(app, server):
    server.kill()
    async with driven(
        app, specification(NOTES, configuration=patience(100)), redis_url=server.url, wait=False
    ) as driver:
        await both_agree(driver, writes=True)
        assert not any(outcome.hit for outcome in driver.outcomes)
        server.start()
        await recovered(driver)
        await both_agree(driver, writes=True)


async def test_killed_in_the_middle_and_back_with_nothing(app, server):
    async with driven(app, specification(NOTES, configuration=patience(100)), redis_url=server.url) as driver:
        await both_agree(driver, writes=True)
        assert await driver.caches("/users/1/notes")
        server.kill()
        await both_agree(driver, writes=True)
        server.start()
        await recovered(driver)
        await both_agree(driver, writes=True)


async def test_what_was_written_while_it_was_deaf_is_not_stale_when_it_hears_again(app, server):
    """A server that stands still keeps its old entries: they must not be believed."""
    async with driven(app, specification(NOTES, configuration=patience(100)), redis_url=server.url) as driver:
        for user in (1, 2, 3):
            assert await driver.caches(f"/users/{user}/notes")
        with server.frozen():
            async with asyncio.timeout(30):
                for user in (1, 2, 3):
                    assert (await driver.send("POST", f"/users/{user}/notes")).status_code == 200
                await both_agree(driver, writes=False)
        await both_agree(driver, writes=False)
        await recovered(driver)
        await both_agree(driver, writes=True)
