"""Strict mode: once an invalidation has returned no process serves a copy from before, not for a moment."""

import asyncio

from tests.runtime.driving import answers, get, request, until
from tests.runtime.test_faults import MINIMAL_ACL, QUICK

from cachewright.runtime.members import PLACES
from cachewright.runtime.settings import boottime

LEASE = 0.25


async def test_copies_in_other_processes_are_gone_when_it_returns_and_not_a_moment_later(make_cache):
    one = await make_cache(strict=True, l1_lease=30.0)
    others = [await make_cache(strict=True, l1_lease=30.0) for _ in range(3)]
    for number in range(50):
        for cache in others:
            await get(cache, request(), answers(b"%d" % number))
            assert cache.lookup_local(request()) is not None
        await one.invalidate(["tasks"], raise_pending=True)
        assert [cache.lookup_local(request()) for cache in others] == [None] * 3
    assert one.stats.snapshot()["unheard"] == 0


async def test_a_thread_that_invalidates_waits_for_the_others_too(make_cache):
    one, two = await make_cache(strict=True, l1_lease=30.0), await make_cache(strict=True, l1_lease=30.0)
    await get(two, request(), answers(b"old"))
    assert await asyncio.to_thread(one.portal.invalidate, ["tasks"]) == 1
    assert two.lookup_local(request()) is None
    assert one.stats.snapshot()["unheard"] == 0


async def test_a_process_that_does_not_answer_is_waited_for_until_its_leases_are_over(
    make_cache, server, namespace
):
    cache = await make_cache(strict=True, l1_lease=LEASE)
    server.set(f"{namespace}:1:m:7", b"stopped!", px=60_000)
    began = boottime()
    assert await cache.invalidate(["ns"], raise_pending=True) == 0
    assert boottime() - began >= LEASE
    assert cache.stats.snapshot()["unheard"] == 1


async def test_who_is_not_known_to_the_others_serves_no_copy_without_asking(make_cache, server, namespace):
    cache = await make_cache(strict=True, l1_lease=30.0)
    await get(cache, request(), answers(b"old"))
    for place in range(PLACES):
        server.set(f"{namespace}:1:m:{place}", b"another!", px=600_000)
    late = await make_cache(strict=True, l1_lease=30.0, listening=False)
    for _ in range(3):
        assert (await get(late, request(), answers(b"new"))).source in {"l2", "l1"}
        assert late.lookup_local(request()) is None
        assert not late.hears


async def test_a_process_that_lost_its_place_takes_another_and_trusts_nothing_from_before(
    make_cache, server, namespace
):
    cache = await make_cache(strict=True, l1_lease=0.5)
    await get(cache, request(), answers(b"old"))
    mark = cache.tokens.mark()
    server.set(f"{namespace}:1:m:0", b"another!", px=600_000)
    await until(lambda: server.get(f"{namespace}:1:m:1") == cache._origin)
    await until(lambda: cache.hears)
    assert not cache.tokens.unchanged(mark, ["tasks"])


async def test_a_process_that_closes_is_waited_for_no_longer(make_cache, server, namespace):
    one, two = await make_cache(strict=True, l1_lease=30.0), await make_cache(strict=True, l1_lease=30.0)
    await two.aclose()
    assert await one.invalidate(["tasks"], raise_pending=True) == 0
    assert one.stats.snapshot()["unheard"] == 0
    assert server.exists(f"{namespace}:1:m:0", f"{namespace}:1:m:1") == 1


async def test_with_the_server_away_an_invalidation_is_kept_as_ever(make_cache, own_server):
    server = own_server()
    cache = await make_cache(server.url, strict=True, l1_lease=LEASE, retry_budget=0.05, **QUICK)
    with server.frozen():
        await asyncio.wait_for(cache.invalidate(["tasks"]), 5)
        assert cache.pending == 1
    await until(lambda: cache.pending == 0)


async def test_it_runs_under_the_minimal_acl_with_a_channel_of_each_process(
    make_cache, own_server, namespace
):
    server = own_server()
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", *MINIMAL_ACL, f"~{namespace}:1:*", f"&{namespace}:1:bus*"
        )
        url = server.url.replace("redis://", "redis://app:pass@")
        one, two = [await make_cache(url, strict=True, l1_lease=30.0) for _ in range(2)]
        await get(two, request(), answers(b"old"))
        assert await one.invalidate(["tasks"], raise_pending=True) == 1
        assert two.lookup_local(request()) is None
        assert one.stats.snapshot()["unheard"] == 0
        assert client.execute_command("ACL", "LOG") == []
