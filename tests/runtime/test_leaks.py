"""Caches that come and go: what they leave behind is nothing."""

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from cachewright import BlockingCache, Cache, Settings
from cachewright.runtime import forking

OPEN_FILES = Path("/proc/self/fd")
CALM = Settings(read_timeout=5.0, connect_timeout=5.0)


def standing() -> tuple[int, int, int, int]:
    gc.collect()
    return len(list(OPEN_FILES.iterdir())), threading.active_count(), len(forking._anew), _tasks()


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="counts open files as Linux shows them")
async def test_fifty_caches_that_were_closed_leave_no_task_thread_or_connection(valkey_url, namespace):
    async def use() -> None:
        async with Cache(valkey_url, namespace=namespace, settings=CALM) as cache:
            await cache.get_or_load("k", lambda: 1, tags=("t",))
            await cache.invalidate("t")
            await asyncio.to_thread(cache.engine.portal.invalidate, ["t"])

    await use()
    before = standing()
    for _ in range(50):
        await use()
    after = standing()
    assert all(now <= then + 1 for now, then in zip(after, before, strict=True)), (before, after)


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="counts open files as Linux shows them")
def test_programs_without_a_loop_leave_nothing_either(valkey_url, namespace):
    def use() -> None:
        with BlockingCache(valkey_url, namespace=namespace, settings=CALM) as cache:
            assert cache.get_or_load("k", lambda: 1) == 1

    use()
    before = standing()
    for _ in range(20):
        use()
    after = standing()
    assert all(now <= then + 1 for now, then in zip(after, before, strict=True)), (before, after)
