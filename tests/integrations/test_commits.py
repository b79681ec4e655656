"""A commit whose answer was lost: its tags are held, and invalidated once more when it has landed or never will."""

import asyncio

import pytest

from cachewright.integrations import commits
from cachewright.integrations.commits import CommitInvalidator
from cachewright.runtime.engine import Engine
from cachewright.runtime.questions import LookupRequest

TAG = "notes(user_id=1)"
REQUEST = LookupRequest(target="GET /notes", key="notes", tags=(TAG,))


@pytest.fixture
async def engine():
    engine = Engine("landing")
    await engine.start()
    yield engine
    await engine.aclose()


async def test_what_was_filled_before_a_lost_commit_landed_is_not_served_after_it(engine, monkeypatch):
    monkeypatch.setattr(commits, "LANDING_SECONDS", 0.05)
    early = (await engine.lookup(REQUEST)).ticket

    CommitInvalidator(engine).invalidate_again(frozenset({TAG}))
    held = await engine.lookup(REQUEST)
    filled = await engine.fill(early, b"before it landed", loaded_at=0.0, lifetime=None)

    assert (held.seen.held, filled) == (True, False)
    async with asyncio.timeout(10):
        while (found := await engine.lookup(REQUEST)).seen.held:
            await asyncio.sleep(0.01)
    assert found.payload is None
    assert await engine.fill(found.ticket, b"after", loaded_at=0.0, lifetime=None)
