"""A writer that is killed between its commit and the invalidation, and what others read afterwards."""

import asyncio
import signal
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from tests.integrations.crashing import application, described, empty
from tests.integrations.driving import driven

ROOT = Path(__file__).parents[2]


@pytest.fixture
def namespace() -> str:
    return f"n{uuid4().hex}"


async def cached(driver) -> None:
    """Return once a read was a hit: on a busy machine the bus may be lost for a moment."""
    async with asyncio.timeout(30):
        while not await driver.caches("/users/1/notes"):
            pass


@pytest.mark.parametrize("crash_safe", [True, False])
async def test_a_writer_killed_after_its_commit_leaves_nothing_stale_only_where_writes_are_crash_safe(
    valkey_url, namespace, tmp_path, crash_safe
):
    path = str(tmp_path / "notes.db")
    empty(path)
    app = application(path)
    async with driven(app, described(namespace, crash_safe=crash_safe), redis_url=valkey_url) as driver:
        await cached(driver)
        program = [sys.executable, "-m", "tests.integrations.crashing", path, valkey_url, namespace]
        dead = await asyncio.create_subprocess_exec(*program, str(crash_safe), cwd=ROOT)
        assert await dead.wait() == -signal.SIGKILL
        answer = (await driver.get("/users/1/notes")).json()
        assert answer == (["more"] if crash_safe else []), "the other way proves that this one is needed"
        if crash_safe:
            assert not await driver.caches("/users/1/notes"), "not before the hold has ended"
    app.state.engine.dispose()


async def test_a_commit_that_is_announced_and_invalidated_is_cached_again_at_once(
    valkey_url, namespace, tmp_path
):
    path = str(tmp_path / "notes.db")
    empty(path)
    app = application(path)
    async with driven(app, described(namespace, crash_safe=True), redis_url=valkey_url) as driver:
        for number in range(1, 4):
            await cached(driver)
            await driver.send("POST", "/users/1/notes")
            assert (await driver.get("/users/1/notes")).json() == ["more"] * number
    app.state.engine.dispose()
