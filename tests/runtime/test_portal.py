"""Invalidations by code that cannot await."""

import asyncio
import threading
import time

from tests.runtime.driving import answers, get, request, until

from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Settings


async def test_a_worker_thread_invalidates_everywhere(make_cache):
    one, two = await make_cache(), await make_cache(l1_lease=0.0)
    for cache in (one, two):
        await get(cache, request(), answers(b"old"))
    assert await asyncio.to_thread(one.portal.invalidate, ["tasks"]) == 1
    for cache in (one, two):
        assert (await get(cache, request(), answers(b"new"))).payload == b"new"


async def test_the_thread_of_the_running_loop_may_wait_for_it(make_cache):
    one, two = await make_cache(), await make_cache(l1_lease=0.0)
    await get(two, request(), answers(b"old"))
    assert one.portal.invalidate(["tasks"]) == 1
    assert (await get(two, request(), answers(b"new"))).payload == b"new"


async def test_a_worker_thread_that_the_loop_waits_for_is_no_deadlock(make_cache):
    cache = await make_cache()
    await get(cache, request(), answers(b"old"))
    changed = []
    thread = threading.Thread(target=lambda: changed.append(cache.portal.invalidate(["tasks"])))
    thread.start()
    thread.join(5)
    assert changed == [1]


def test_a_program_without_any_event_loop_may_use_it(valkey_url, namespace):
    cache = Engine(namespace, redis_url=valkey_url, settings=Settings(read_timeout=5.0, connect_timeout=5.0))
    try:
        assert cache.portal.invalidate(["tasks"]) == 0
        assert cache.portal.invalidate([]) == 0
    finally:
        cache.portal.close()
    assert cache.stats.snapshot()["invalidations"] == 1


async def test_many_threads_at_once(make_cache):
    cache = await make_cache()
    await get(cache, request(), answers(b"old"))
    await asyncio.gather(*(asyncio.to_thread(cache.portal.invalidate, ["tasks"]) for _ in range(50)))
    assert cache.stats.snapshot()["invalidations"] == 50
    assert cache.pending == 0
    assert (await get(cache, request(), answers(b"new"))).payload == b"new"


async def test_a_hanging_server_costs_a_bounded_time_and_the_tags_are_kept(make_cache, own_server):
    server = own_server()
    cache = await make_cache(
        server.url, read_timeout=0.1, connect_timeout=0.1, retry_budget=0.05, replay_interval=0.05
    )
    await get(cache, request(), answers(b"old"))
    with server.frozen():
        began = time.monotonic()
        assert cache.portal.invalidate(["tasks"]) == 0
        assert time.monotonic() - began < 3
        await until(lambda: cache.pending == 1)
        assert (await cache.lookup(request())).seen.held
    await until(lambda: cache.pending == 0)
    assert (await get(cache, request(), answers(b"new"))).payload == b"new"


async def test_closing_ends_the_thread_and_it_starts_anew(make_cache):
    cache = await make_cache()
    for _ in range(2):
        cache.portal.invalidate(["tasks"])
        cache.portal.close()
        cache.portal.close()
        assert "cachewright-portal" not in {thread.name for thread in threading.enumerate()}
