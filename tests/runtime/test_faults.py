"""A server that stops, dies, forgets, refuses or is full: no stale answer, no hang, and a way back."""

import asyncio
import json
import re
import time

import pytest
import redis
from tests.runtime.driving import POLICY, answers, get, request, until
from tests.servers import free_port, valkey

from cachewright.errors import InvalidationPendingError, StoreUnavailableError
from cachewright.runtime.settings import boottime
from cachewright.runtime.stores.connection import Wire
from cachewright.spec.semantics import Load, Reason, decide

#: A call that took this long hung.
HANG = 3.0
QUICK = {"read_timeout": 0.1, "connect_timeout": 0.1}
MINIMAL_ACL = ["reset", "on", ">pass", "-@all", "+get", "+mget", "+set", "+unlink", "+pexpire", "+publish",
               "+subscribe", "+ping", "+auth", "+hello", "+wait", "+client|setinfo"]  # fmt: skip


async def bounded(call):
    return await asyncio.wait_for(call, HANG)


@pytest.mark.requirement("#397")
async def test_a_server_that_is_away_at_start_is_found_when_it_comes(make_cache, own_server):
    server = own_server()
    server.kill()
    cache = await make_cache(server.url, listening=False, replay_interval=0.05)
    found = await bounded(cache.lookup(request()))
    assert not found.available
    assert found.ticket is None
    assert (await bounded(get(cache, request(), answers(b"1")))).payload == b"1"
    server.start()
    await until(lambda: cache._core.heard(boottime()))
    await until_cached(cache)


async def until_cached(cache, asked=None):
    asked = asked or request()
    for _ in range(1000):
        if (await get(cache, asked, answers(b"again"))).source != "load":
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never recovered")


@pytest.mark.requirement("#144", "#397")
async def test_a_stopped_server_costs_a_bounded_time_then_almost_none_and_comes_back(make_cache, own_server):
    server = own_server()
    cache = await make_cache(server.url, l1_items=0, **QUICK)
    await get(cache, request(), answers(b"old"))
    before = cache.stats.snapshot()["timeouts"]
    with server.frozen():
        for _ in range(5):
            assert not (await bounded(cache.lookup(request()))).available
        assert cache._core.store.struggling
        asked = cache.stats.snapshot()["errors"]
        began = time.monotonic()
        for _ in range(200):
            assert not (await cache.lookup(request())).available
        assert time.monotonic() - began < HANG
        assert cache.stats.snapshot()["errors"] == asked
        assert cache.stats.snapshot()["timeouts"] == before + 5
    await until_cached(cache)


async def test_no_read_waits_for_a_connection_as_long_as_connecting_may_take(make_cache, own_server):
    server = own_server()
    cache = await make_cache(server.url, l1_items=0, read_timeout=0.2, connect_timeout=20.0)
    await get(cache, request(), answers(b"old"))
    with server.frozen():
        for _ in range(4):  # the first waits for a reply, the others for a line
            began = time.monotonic()
            assert (await get(cache, request(), answers(b"new"))).payload == b"new"
            assert time.monotonic() - began < HANG
        assert cache.stats.snapshot()["timeouts"] >= 4
    await until_cached(cache)


async def test_who_insists_waits_for_the_connection(make_cache, own_server):
    server = own_server()
    cache = await make_cache(server.url, l1_items=0, read_timeout=0.5, connect_timeout=20.0, retry_budget=0.0)
    with server.frozen():
        assert not (await cache.lookup(request())).available
        changing = asyncio.create_task(cache.invalidate(["tasks"], raise_pending=True))
        await asyncio.sleep(1.0)
    await changing


@pytest.mark.requirement("#139", "#397")
async def test_a_killed_server_is_used_again_after_its_restart(make_cache, own_server):
    server = own_server()
    cache = await make_cache(server.url, **QUICK)
    await get(cache, request(), answers(b"old"))
    server.kill()
    await until(lambda: not cache._core.heard(boottime()))
    assert (await bounded(get(cache, request(), answers(b"new")))).payload == b"new"
    server.start()
    await until_cached(cache)
    assert cache.stats.snapshot()["reconnects"] == 1


async def test_an_invalidation_that_reaches_nobody_is_kept_held_and_delivered_later(make_cache, own_server):
    server = own_server()
    one = await make_cache(server.url, retry_budget=0.05, replay_interval=0.05, **QUICK)
    two = await make_cache(server.url, l1_lease=0.0)
    await get(one, request(), answers(b"old"))
    began = boottime()
    with server.frozen():
        with pytest.raises(InvalidationPendingError):
            await bounded(one.invalidate(["tasks"], raise_pending=True))
        assert one.pending == 1
        kept = boottime() - began
        assert one.stats.snapshot()["invalidation_seconds"]["count"] == 0
        found = await one.lookup(request())
        assert decide(POLICY, found.seen, time.time()) == Load(Reason.HELD, fill=False)
        assert await bounded(one.invalidate(["tasks"])) == 0
    await until(lambda: one.stats.snapshot()["invalidation_seconds"]["count"])
    assert one.pending == 0
    delivered = one.stats.snapshot()["invalidation_seconds"]
    assert delivered["count"] == 2, "both of them, late"
    assert kept < delivered["seconds"] < 2 * (boottime() - began)
    for cache in (two, one):
        assert (await get(cache, request(), answers(b"new"))).payload == b"new"
    assert not (await one.lookup(request())).seen.held


async def test_kept_invalidations_survive_the_process(make_cache, own_server, tmp_path):
    server = own_server()
    one = await make_cache(server.url, retry_budget=0.05, journal_dir=tmp_path, replay_interval=60.0, **QUICK)
    two = await make_cache(server.url, l1_lease=0.0)
    await get(two, request(), answers(b"old"))
    with server.frozen():
        await bounded(one.invalidate(["tasks"]))
        await one.aclose()
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text()) == ["tasks"]
    assert (file.stat().st_mode & 0o777) == 0o600
    heir = await make_cache(server.url, journal_dir=tmp_path)
    await until(lambda: heir.pending == 0)
    assert (await get(two, request(), answers(b"new"))).payload == b"new"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lost", ["client kill", "stopped"])
async def test_no_copy_is_served_beyond_its_lease_when_the_bus_is_dead(
    make_cache, own_server, namespace, lost
):
    server = own_server()
    cache = await make_cache(server.url, l1_lease=0.3, **QUICK)
    await get(cache, request(), answers(b"old"))
    with server.client() as client:
        if lost == "client kill":
            client.execute_command("ACL", "SETUSER", "default", "-subscribe")
            client.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
            client.set(f"{namespace}:1:v:tasks", b"y" * 16)
            await served_until_lease(cache)
            assert (await get(cache, request(), answers(b"new"))).payload == b"new"
        else:
            with server.frozen():
                await served_until_lease(cache)
                assert (await bounded(get(cache, request(), answers(b"new")))).payload == b"new"


async def served_until_lease(cache):
    """Ask again and again from now on; nothing may come from l1 once the lease is over."""
    limit = boottime() + 0.3
    while boottime() < limit + 0.2:
        asked = boottime()
        if cache.lookup_local(request()) is not None:
            assert asked < limit
        await asyncio.sleep(0.001)


async def test_with_a_dead_bus_every_copy_is_validated_and_none_is_stale(make_cache, own_server):
    server = own_server()
    one = await make_cache(server.url, l1_lease=30.0)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-subscribe")
        client.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
        await until(lambda: not one._core.heard(boottime()))
        two = await make_cache(server.url, listening=False)
        assert (await get(one, request(), answers(b"old"))).source == "load"
        assert (await get(one, request(), answers(b"new"))).source == "l1"
        await two.invalidate(["tasks"])
        assert (await get(one, request(), answers(b"new"))).payload == b"new"


async def test_a_reconnected_bus_trusts_no_copy_it_may_have_missed_word_of(make_cache, own_server, namespace):
    server = own_server()
    cache = await make_cache(server.url, l1_lease=30.0)
    await get(cache, request(), answers(b"old"))
    with server.client() as client:
        client.set(f"{namespace}:1:v:tasks", b"y" * 16)  # as if its word was lost
        assert cache.lookup_local(request()) is not None
        client.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
    await until(lambda: cache.stats.snapshot()["reconnects"] == 1)
    assert (await get(cache, request(), answers(b"new"))).payload == b"new"


async def test_the_last_minute_is_invalidated_again_after_a_reconnection(make_cache, own_server, namespace):
    """A primary promoted in between may have lost the token, and an old entry would be valid again."""
    server = own_server()
    one = await make_cache(server.url)
    two = await make_cache(server.url, l1_items=0)
    with server.client() as client:
        await get(two, request(), answers(b"old"))
        before = client.get(f"{namespace}:1:v:tasks")
        await one.invalidate(["tasks"])
        client.set(f"{namespace}:1:v:tasks", before)
        client.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
        await until(lambda: client.get(f"{namespace}:1:v:tasks") != before)
    assert (await get(two, request(), answers(b"new"))).payload == b"new"


@pytest.mark.parametrize(
    "garbage", [b"\xffgarbage", b"\x92\xa2\x00\x80\x91\xa2\x00\x80"], ids=["none", "no text"]
)
async def test_garbage_on_the_bus_makes_nothing_trusted(make_cache, server, namespace, garbage):
    cache = await make_cache(l1_lease=30.0)
    await get(cache, request(), answers(b"old"))
    server.publish(f"{namespace}:1:bus", garbage)
    await until(lambda: cache.lookup_local(request()) is None)
    assert (await get(cache, request(), answers(b"new"))).source == "l1"


@pytest.mark.requirement("#397")
async def test_a_full_server_that_refuses_to_write_still_invalidates(make_cache, own_server, namespace):
    server = own_server(maxmemory_policy="noeviction")
    one, two = await make_cache(server.url), await make_cache(server.url, l1_lease=0.0)
    await get(two, request(), answers(b"old"))
    with server.client() as client:
        client.config_set("maxmemory", "1")
        assert await one.invalidate(["tasks"], raise_pending=True) == 1
        assert not client.exists(f"{namespace}:1:v:tasks")
        for cache in (one, two):
            assert (await get(cache, request(), answers(b"new"))).payload == b"new"
        found = await two.lookup(request())
        assert found.available
        assert found.ticket is None, "there is no token to load under"
        client.config_set("maxmemory", "0")
    await until_cached(two)


async def test_an_unreadable_answer_of_the_server_is_no_error_of_the_application(make_cache, own_server):
    server = own_server()
    cache = await make_cache(server.url)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-mget")
        assert (await get(cache, request(), answers(b"1"))).payload == b"1"
        assert not (await cache.lookup(request())).available
        with pytest.raises(StoreUnavailableError):
            await cache._core.store.read(["e:x"], ["ns"])


async def test_replies_that_are_too_short_leave_no_caller_waiting(make_cache, caplog):
    async def short(reader, writer):
        while asked := await reader.read(65536):
            for command in re.findall(rb"\*\d+\r\n\$\d+\r\n([A-Z]+)", asked):
                writer.write(b"+OK\r\n" if command == b"CLIENT" else b"*0\r\n")
        writer.close()

    speaking = await asyncio.start_server(short, "127.0.0.1", 0)
    port = speaking.sockets[0].getsockname()[1]
    async with speaking:
        cache = await make_cache(f"redis://127.0.0.1:{port}", listening=False)
        for at in range(3):
            asking = [cache.lookup(request(f"k{at}.{number}")) for number in range(20)]
            assert not any(found.available for found in await bounded(asyncio.gather(*asking)))
        await cache.aclose()
    assert "a read of the store failed" in caplog.text


async def test_a_reader_that_fails_leaves_no_caller_waiting_and_the_next_are_answered(
    make_cache, monkeypatch, caplog
):
    async def fail(wire, commands, **options):
        raise RuntimeError("out of order")

    cache = await make_cache()
    with monkeypatch.context() as patch:
        patch.setattr(Wire, "exchange", fail)
        asking = [cache.lookup(request(f"k{number}")) for number in range(20)]
        assert not any(found.available for found in await bounded(asyncio.gather(*asking)))
    assert "out of order" in caplog.text
    assert (await bounded(cache.lookup(request()))).available


async def test_kept_invalidations_go_on_being_delivered_after_a_delivery_failed_unexpectedly(
    make_cache, own_server, tmp_path, caplog
):
    server = own_server()
    cache = await make_cache(
        server.url, retry_budget=0.05, journal_dir=tmp_path, replay_interval=0.05, **QUICK
    )
    cache._journal._own.mkdir()  # which cannot be unlinked when all is delivered
    for tag in ("tasks", "notes"):
        with server.frozen():
            await bounded(cache.invalidate([tag]))
        await until(lambda: cache.pending == 0)
    await until(lambda: caplog.text.count("kept invalidations could not be delivered") == 2)


@pytest.mark.requirement("#351")
async def test_everything_runs_under_the_minimal_acl(make_cache, own_server, namespace):
    server = own_server()
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", *MINIMAL_ACL, f"~{namespace}:1:*", f"&{namespace}:1:bus"
        )
        url = server.url.replace("redis://", "redis://app:pass@")
        one, two = await make_cache(url, l1_lease=30.0), await make_cache(url, l1_lease=30.0)
        asked = request(needs_acceptance=True, credential="aa")
        assert (await get(one, asked, answers(b"old"))).source == "load"
        assert (await get(two, asked, answers(b"new"))).source == "l2"
        other = request(needs_acceptance=True, credential="bb")
        assert (await get(two, other, answers(b"old"))).source == "load"
        assert await one.invalidate(["tasks"], raise_pending=True) == 1
        await until(lambda: two.lookup_local(asked) is None)
        assert (await get(two, asked, answers(b"new"))).payload == b"new"
        assert await asyncio.to_thread(one.portal.invalidate, ["tasks"]) == 1
        assert client.execute_command("ACL", "LOG") == []
        for cache in (one, two):
            assert cache.stats.snapshot()["errors"] == 0


@pytest.mark.requirement("#397")
async def test_a_wrong_password_is_a_cache_that_is_away(make_cache, own_server, caplog):
    server = own_server()
    with server.client() as client:
        client.config_set("requirepass", "right")
    cache = await make_cache(server.url.replace("redis://", "redis://:wrong@"), listening=False)
    assert not (await bounded(cache.lookup(request()))).available
    assert (await get(cache, request(), answers(b"1"))).payload == b"1"
    assert "wrong" not in caplog.text


async def test_closing_while_the_server_hangs_takes_a_bounded_time(make_cache, own_server):
    server = own_server()
    cache = await make_cache(server.url, **QUICK)
    with server.frozen():
        waiting = [asyncio.ensure_future(cache.lookup(request(f"k{n}"))) for n in range(50)]
        await asyncio.sleep(0)
        await bounded(cache.aclose())
        for found in await bounded(asyncio.gather(*waiting)):
            assert not found.available


async def test_a_port_where_nobody_listens_costs_no_time(make_cache):
    cache = await make_cache(f"redis://127.0.0.1:{free_port()}", listening=False)
    for _ in range(20):
        assert not (await bounded(cache.lookup(request()))).available
    assert await bounded(cache.invalidate(["tasks"])) == 0


async def test_the_index_of_the_database_in_the_url_is_used(make_cache):
    with valkey() as url, redis.Redis.from_url(f"{url}/3") as client:
        cache = await make_cache(f"{url}/3")
        await get(cache, request(), answers(b"x"))
        assert client.dbsize() == 4
        await cache.aclose()
