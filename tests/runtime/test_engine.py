"""The protocol on a real server: freshness, isolation, tiers, holds."""

import asyncio
import time

import pytest
from tests.runtime.driving import POLICY, answers, get, request, until

from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Settings, boottime
from cachewright.spec.semantics import Load, Policy, Reason, Serve, decide


@pytest.mark.requirement("#2", "#36", "#155")
async def test_a_load_is_filled_and_served_from_l1_then_by_another_process_from_l2(make_cache):
    one, two = await make_cache(), await make_cache()
    assert (await get(one, request(), answers(b"old"))).source == "load"
    assert (await get(one, request(), answers(b"new"))).source == "local"
    got = await get(two, request(), answers(b"new"))
    assert (got.payload, got.source) == (b"old", "l2")
    assert (await get(two, request(), answers(b"new"))).source == "local"


@pytest.mark.requirement("#99")
async def test_after_an_invalidation_no_process_serves_what_was_loaded_before(make_cache):
    one, two = await make_cache(l1_lease=30.0), await make_cache(l1_lease=30.0)
    for cache in (one, two):
        await get(cache, request(), answers(b"old"))
    assert await one.invalidate(["tasks"]) == 1
    assert (await get(one, request(), answers(b"new"))).payload == b"new"
    await until(lambda: two.lookup_local(request()) is None)
    assert (await get(two, request(), answers(b"never asked"))).payload == b"new"


@pytest.mark.requirement("#88")
async def test_a_fill_whose_load_began_before_an_invalidation_elsewhere_is_never_served(make_cache):
    one, two = await make_cache(), await make_cache()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        reached.set()
        await go_on.wait()
        return b"old"

    loading = asyncio.ensure_future(get(one, request(), slow))
    await reached.wait()
    await two.invalidate(["tasks"])
    go_on.set()
    assert (await loading).payload == b"old"
    for cache in (one, two):
        assert (await get(cache, request(), answers(b"new"))).payload == b"new"


async def test_a_late_fill_of_a_process_that_heard_nothing_carries_a_dead_token(
    make_cache, server, namespace
):
    one, two = await make_cache(), await make_cache()
    found = await one.lookup(request())
    server.set(f"{namespace}:1:v:tasks", b"x" * 16)
    assert await one.fill(found.ticket, b"old", loaded_at=time.time(), lifetime=60.0)
    assert server.exists(f"{namespace}:1:e:tasks")
    assert (await get(two, request(), answers(b"new"))).payload == b"new"


async def test_an_invalidation_between_question_and_answer_keeps_the_load_out(make_cache):
    cache = await make_cache()
    asking = asyncio.ensure_future(cache.lookup(request()))
    await asyncio.sleep(0)
    cache.tokens.touch(["tasks"])
    found = await asking
    assert not await cache.fill(found.ticket, b"old", loaded_at=time.time(), lifetime=60.0)
    assert cache.lookup_local(request()) is None


async def test_one_invalidation_ends_more_copies_than_are_dropped_at_once(make_cache):
    cache = await make_cache(None)
    for number in range(700):
        await get(cache, request(f"k{number}", "ns", "tasks"), answers(b"old"))
    await cache.invalidate(["tasks"])
    assert all(cache.lookup_local(request(f"k{number}", "ns", "tasks")) is None for number in range(700))


async def test_after_more_touches_than_can_be_remembered_nothing_under_way_is_trusted(make_cache):
    cache = await make_cache(l1_lease=30.0, known_tags=10)
    waiting = await cache.lookup(request("other"))
    cache.tokens.touch(["tasks(key=other)"])
    cache.tokens.touch([f"rows(id={number})" for number in range(10)])
    assert not await cache.fill(waiting.ticket, b"x", loaded_at=time.time(), lifetime=60.0)
    assert (await get(cache, request("other"), answers(b"new"))).source == "load"


async def test_tokens_that_nobody_asked_for_lately_are_asked_for_again(make_cache):
    cache = await make_cache(l1_lease=30.0, known_tags=10)
    await get(cache, request(), answers(b"old"))
    waiting = await cache.lookup(request("other"))
    for number in range(5):
        await get(cache, request(f"k{number}"), answers(b"x"))
    assert cache.lookup_local(request()) is None
    assert not await cache.fill(waiting.ticket, b"x", loaded_at=time.time(), lifetime=60.0)
    assert (await get(cache, request(), answers(b"new"))).source == "l1"


async def test_a_single_worker_keeps_all_that_its_memory_has_room_for(make_cache):
    cache = await make_cache(None, known_tags=24)
    await get(cache, request("steady"), answers(b"steady"))
    for number in range(100):
        await get(cache, request(f"k{number}"), answers(b"x"))
        assert (await get(cache, request("steady"), answers(b"new"))).payload == b"steady"
    assert (await get(cache, request("k98"), answers(b"new"))).payload == b"x"


async def test_a_missing_token_is_made_once_for_everybody(make_cache, server, namespace):
    caches = [await make_cache() for _ in range(4)]
    found = await asyncio.gather(*(cache.lookup(request()) for cache in caches))
    assert len({tuple(sorted(each.ticket.tokens.items())) for each in found}) == 1
    assert server.get(f"{namespace}:1:v:tasks") == found[0].ticket.tokens["tasks"]


async def test_tokens_of_rows_and_scopes_end_and_those_of_tables_and_targets_do_not(
    make_cache, server, namespace
):
    cache = await make_cache(longest_ttl=100.0)
    tags = ("ns", "target:GET /x", "tenant:a", "tenant:a:user:1", "tasks", "tasks#bulk", "tasks(id=1)")
    await get(cache, request("k", *tags), answers(b"x"))
    lasting = [tag for tag in tags if server.pttl(f"{namespace}:1:v:{tag}") == -1]
    assert lasting == ["ns", "target:GET /x", "tasks", "tasks#bulk"]
    assert 190_000 < server.pttl(f"{namespace}:1:v:tasks(id=1)") <= 200_000


async def test_a_fill_prolongs_tokens_without_changing_them(make_cache, server, namespace):
    cache = await make_cache(longest_ttl=100.0)
    name = f"{namespace}:1:v:tasks(key=tasks)"
    found = await cache.lookup(request())
    token = server.get(name)
    server.pexpire(name, 5000)
    assert await cache.fill(found.ticket, b"x", loaded_at=time.time(), lifetime=60.0)
    assert server.pttl(name) > 100_000
    assert server.get(name) == token


async def test_an_invalidation_makes_no_token_for_a_tag_that_nobody_uses(make_cache, server, namespace):
    cache = await make_cache()
    assert await cache.invalidate(["notes(id=1)"]) == 0
    assert not server.exists(f"{namespace}:1:v:notes(id=1)")


@pytest.mark.parametrize("evict", ["unlink", "flushall"])
async def test_evicted_tokens_make_a_miss(own_server, make_cache, namespace, evict):
    server = own_server()
    cache = await make_cache(server.url, l1_lease=0.0)
    await get(cache, request(), answers(b"old"))
    with server.client() as client:
        client.unlink(f"{namespace}:1:v:tasks") if evict == "unlink" else client.flushall()
    assert (await get(cache, request(), answers(b"new"))).payload == b"new"


async def test_an_entry_with_a_tag_that_was_not_asked_for_is_validated_by_it_too(make_cache):
    """All of its own tags decide, in a second round trip where they were not predicted."""
    cache, other = await make_cache(l1_items=0), await make_cache(l1_items=0)
    await get(cache, request("k", "ns", "tasks"), answers(b"old"))
    found = await cache.lookup(request("k", "ns"))
    assert isinstance(decide(POLICY, found.seen, time.time()), Serve)
    await other.invalidate(["tasks"])
    found = await cache.lookup(request("k", "ns"))
    assert decide(POLICY, found.seen, time.time()) == Load(Reason.INVALIDATED)


async def test_a_lookup_that_mints_nothing_leaves_no_token_behind(make_cache, server, namespace):
    cache = await make_cache()
    found = await cache.lookup(request("k", "ns", "notes(id=7)"), mint=False)
    assert found.ticket is None
    assert not server.exists(f"{namespace}:1:v:notes(id=7)")


async def test_an_entry_without_a_tag_that_is_predicted_now_is_not_served(make_cache):
    cache = await make_cache()
    await get(cache, request("k", "ns"), answers(b"old"))
    wider = request("k", "ns", "tasks")
    assert not isinstance(decide(POLICY, cache.lookup_local(wider).seen, time.time()), Serve)
    assert (await get(cache, wider, answers(b"new"))).payload == b"new"
    assert (await get(cache, wider, answers(b"never asked"))).source == "local"


async def test_another_variant_is_never_served(make_cache):
    one, two = await make_cache(), await make_cache()
    await get(one, request(variant=b"admin"), answers(b"all"))
    for cache in (one, two):
        found = await cache.lookup(request(variant=b"guest"))
        assert decide(POLICY, found.seen, time.time()) == Load(Reason.FOREIGN)
    assert (await get(one, request(variant=b"guest"), answers(b"some"))).payload == b"some"
    assert (await get(two, request(variant=b"admin"), answers(b"all"))).payload == b"all"


async def test_an_entry_that_needs_acceptance_is_served_to_accepted_credentials_only(make_cache):
    one, two = await make_cache(), await make_cache()
    alice, bob = (request(needs_acceptance=True, credential=who) for who in ("aa", "bb"))
    nobody = request(needs_acceptance=True)
    assert (await get(one, alice, answers(b"1"))).source == "load"
    assert (await get(one, alice, answers(b"2"))).source == "local"
    assert (await get(two, alice, answers(b"2"))).source == "l2"
    for cache in (one, two):
        for asked in (bob, nobody):
            found = await cache.lookup(asked)
            assert decide(POLICY, found.seen, time.time()) == Load(Reason.NOT_ACCEPTED)
            assert cache.lookup_local(asked) is None
            assert not found.may_follow(time.time())


async def test_the_tag_of_a_credential_ends_its_acceptances_and_nobody_elses(make_cache):
    one, two = await make_cache(l1_lease=0.0), await make_cache(l1_lease=0.0)
    alice, bob = (request(needs_acceptance=True, credential=who) for who in ("aa", "bb"))
    for asked in (alice, bob):
        assert (await get(one, asked, answers(b"1"))).source == "load"
    await two.invalidate(["cred:aa"])
    assert decide(POLICY, (await one.lookup(alice)).seen, time.time()) == Load(Reason.NOT_ACCEPTED)
    assert isinstance(decide(POLICY, (await one.lookup(bob)).seen, time.time()), Serve)


async def test_held_tags_are_neither_served_nor_filled_nor_shared(make_cache):
    cache = await make_cache()
    await get(cache, request(), answers(b"old"))
    before = await cache.lookup(request("other", "ns", "tasks"))
    cache.hold(["tasks"])
    assert cache.lookup_local(request()) is None
    found = await cache.lookup(request())
    assert decide(POLICY, found.seen, time.time()) == Load(Reason.HELD, fill=False)
    assert found.ticket is None
    assert found.flight is None
    assert not await cache.fill(before.ticket, b"x", loaded_at=time.time(), lifetime=60.0)
    assert cache.stats.snapshot()["targets"]["GET /tasks"]["refused"] == {"held": 1}
    cache.release(["tasks"])
    assert not await cache.fill(before.ticket, b"x", loaded_at=time.time(), lifetime=60.0)
    assert (await get(cache, request(), answers(b"new"))).source == "l2"


async def test_holds_are_counted(make_cache):
    cache = await make_cache()
    cache.hold(["tasks"])
    cache.hold(["tasks"])
    cache.release(["tasks"])
    assert (await cache.lookup(request())).seen.held
    cache.release(["tasks"])
    assert not (await cache.lookup(request())).seen.held


async def test_l1_after_its_lease_asks_for_tokens_only(make_cache, server, namespace):
    now = [boottime()]
    cache = await make_cache(clock=lambda: now[0], l1_lease=5.0)
    await get(cache, request(), answers(b"old"))
    server.unlink(f"{namespace}:1:e:tasks")
    now[0] += 4.9
    assert (await get(cache, request(), answers(b"new"))).source == "local"
    now[0] += 0.2
    assert cache.lookup_local(request()) is None
    got = await get(cache, request(), answers(b"new"))
    assert (got.payload, got.source) == (b"old", "l1")


async def test_an_expired_copy_gives_way_to_what_another_process_stored(make_cache):
    one, two = await make_cache(), await make_cache()
    found = await one.lookup(request())
    assert await one.fill(found.ticket, b"old", loaded_at=time.time() - 100, lifetime=60.0)
    held = one.lookup_local(request())
    assert decide(POLICY, held.seen, time.time()) == Load(Reason.EXPIRED)
    await get(two, request(), answers(b"new"))
    assert (await get(one, request(), answers(b"newer"))).payload == b"new"


async def test_a_copy_whose_tokens_changed_gives_way_to_what_another_process_stored(make_cache):
    one, two = await make_cache(l1_lease=0.0), await make_cache(l1_lease=0.0)
    await get(one, request(), answers(b"old"))
    await two.invalidate(["tasks"])
    await get(two, request(), answers(b"new"))
    got = await get(one, request(), answers(b"newer"))
    assert (got.payload, got.source) == (b"new", "l2")


@pytest.mark.requirement("C2")
async def test_levels_say_which_tiers_are_used(make_cache, server, namespace):
    cache = await make_cache()
    await get(cache, request("a", levels=("l1",)), answers(b"1"))
    await get(cache, request("b", levels=("l2",)), answers(b"2"))
    assert not server.exists(f"{namespace}:1:e:a")
    assert server.exists(f"{namespace}:1:e:b")
    assert (await get(cache, request("a", levels=("l1",)), answers(b""))).source == "local"
    assert (await get(cache, request("b", levels=("l2",)), answers(b""))).source == "l2"


async def test_entries_without_an_end_leave_the_server_with_their_tokens(make_cache, server, namespace):
    cache = await make_cache(longest_ttl=None)
    await get(cache, request(), answers(b"x"), Policy(ttl=None, identity_ttl=30.0))
    assert 29 * 86_400_000 < server.pttl(f"{namespace}:1:e:tasks") <= 30 * 86_400_000


async def test_a_load_that_outlived_its_lifetime_is_not_stored_in_l2(make_cache, server, namespace):
    cache = await make_cache()
    found = await cache.lookup(request())
    await cache.fill(found.ticket, b"x", loaded_at=time.time() - 100, lifetime=60.0)
    assert not server.exists(f"{namespace}:1:e:tasks")


async def test_bytes_that_are_no_entry_are_a_counted_miss(make_cache, server, namespace):
    cache = await make_cache(l1_items=0)
    await get(cache, request(), answers(b"old"))
    server.set(f"{namespace}:1:e:tasks", server.get(f"{namespace}:1:e:tasks")[:-1])
    got = await get(cache, request(), answers(b"new"))
    assert (got.payload, got.source) == (b"new", "load")
    assert cache.stats.snapshot()["codec_errors"] == 1


async def test_an_entry_moved_to_another_key_is_a_miss(make_cache, server, namespace):
    cache = await make_cache(l1_items=0)
    await get(cache, request("alice"), answers(b"alice's"))
    await cache.lookup(request("bob"))
    server.set(f"{namespace}:1:e:bob", server.get(f"{namespace}:1:e:alice"))
    assert (await get(cache, request("bob"), answers(b"bob's"))).payload == b"bob's"


async def test_processes_with_another_secret_trust_nothing_of_each_other(make_cache):
    one, two = await make_cache(secret=b"one"), await make_cache(secret=b"two")
    await get(one, request(), answers(b"old"))
    assert (await get(two, request(), answers(b"new"))).payload == b"new"


@pytest.mark.requirement("#37")
async def test_a_single_worker_without_a_server_caches_in_its_own_memory(make_cache):
    cache = await make_cache(None)
    assert cache.usable
    await get(cache, request(levels=("l2",)), answers(b"old"))
    assert (await get(cache, request(levels=("l2",)), answers(b"new"))).source == "local"
    assert await cache.invalidate(["tasks"]) == 1
    assert (await get(cache, request(levels=("l2",)), answers(b"new"))).payload == b"new"
    assert cache.portal.invalidate(["tasks"]) == 1
    assert (await get(cache, request(levels=("l2",)), answers(b"newer"))).payload == b"newer"


async def test_a_single_worker_without_a_server_never_serves_a_fill_overtaken_by_an_invalidation(make_cache):
    cache = await make_cache(None)
    found = await cache.lookup(request())
    await cache.invalidate(["tasks"])
    assert not await cache.fill(found.ticket, b"old", loaded_at=time.time(), lifetime=60.0)
    assert (await get(cache, request(), answers(b"new"))).payload == b"new"


async def test_several_workers_without_a_server_are_not_cached_and_say_so_once(make_cache, caplog):
    cache = await make_cache(None, workers=2)
    await cache.start()
    assert not cache.usable
    for _ in range(2):
        assert (await get(cache, request(), answers(b"x"))).source == "load"
    assert not (await cache.lookup(request())).available
    assert await cache.invalidate(["tasks"], raise_pending=True) == 0
    assert [record.message for record in caplog.records] == [
        "several workers share no Redis: nothing is cached"
    ]


async def test_start_and_aclose_may_be_called_again_and_the_cache_used_afterwards(make_cache):
    cache = await make_cache()
    await cache.start()
    await get(cache, request(), answers(b"old"))
    for _ in range(2):
        await cache.aclose()
    assert not cache.usable
    assert cache.lookup_local(request()) is None
    assert not (await cache.lookup(request())).available
    await cache.start()
    assert (await get(cache, request(), answers(b"new"))).payload == b"old"


async def test_a_closed_cache_still_delivers_invalidations(make_cache):
    one, two = await make_cache(), await make_cache(l1_lease=0.0)
    await get(two, request(), answers(b"old"))
    await one.aclose()
    assert await one.invalidate(["tasks"], raise_pending=True) == 1
    assert (await get(two, request(), answers(b"new"))).payload == b"new"


def test_a_cache_follows_its_application_to_another_event_loop(valkey_url, namespace):
    cache = Engine(namespace, redis_url=valkey_url, settings=Settings(read_timeout=5.0, connect_timeout=5.0))

    async def once(body):
        await cache.start()
        await until(lambda: cache._core.heard(boottime()))
        got = await get(cache, request(), answers(body))
        await cache.aclose()
        return got.payload

    assert asyncio.run(once(b"old")) == b"old"
    assert asyncio.run(once(b"new")) == b"old"


async def test_another_event_loop_gets_no_answer_but_may_invalidate(make_cache):
    cache = await make_cache()
    await get(cache, request(), answers(b"old"))

    async def elsewhere():
        assert not (await cache.lookup(request())).available
        return await cache.invalidate(["tasks"])

    assert await asyncio.to_thread(asyncio.run, elsewhere()) == 1
    assert (await get(cache, request(), answers(b"new"))).payload == b"new"


async def test_a_cancelled_invalidation_is_delivered_all_the_same(make_cache):
    one, two = await make_cache(), await make_cache(l1_lease=0.0)
    await get(two, request(), answers(b"old"))
    task = asyncio.ensure_future(one.invalidate(["tasks"]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not one._invalidations.tasks)
    assert (await get(two, request(), answers(b"new"))).payload == b"new"


async def test_cancelled_lookups_leave_the_connections_and_the_other_callers_alone(own_server, make_cache):
    server = own_server()
    cache = await make_cache(server.url)
    for _ in range(20):
        tasks = [asyncio.ensure_future(cache.lookup(request(f"k{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(found.available and found.ticket is not None for found in done[1::2])
    assert cache.stats.snapshot()["errors"] == 0
    with server.client() as client:
        assert client.info("stats")["total_connections_received"] < 30
