"""Commits announced in the store: held tags are loaded and not filled, in every process, until the writer is done."""

import asyncio
import time

from tests.runtime.driving import POLICY, answers, get, request, until
from tests.runtime.test_faults import MINIMAL_ACL, QUICK

from cachewright.spec.semantics import Load, Reason, decide

SAFE = {"crash_safe": True, "l1_lease": 30.0}
TAG = ["tasks"]


async def test_what_is_announced_is_neither_served_nor_filled_anywhere_until_it_is_lifted(make_cache):
    writer, reader = await make_cache(**SAFE), await make_cache(**SAFE)
    await get(reader, request(), answers(b"old"))
    announced = await writer.announce(TAG)
    await until(lambda: reader.lookup_local(request()) is None)
    found = await reader.lookup(request())
    assert decide(POLICY, found.seen, time.time()) == Load(Reason.HELD, fill=False)
    assert found.ticket is None
    assert [(await get(reader, request(), answers(b"old"))).source for _ in range(2)] == ["load", "load"]
    await writer.invalidate(TAG, raise_pending=True)
    await writer.lift(announced)
    assert (await get(reader, request(), answers(b"new"))).source == "load"
    assert (await get(reader, request(), answers(b"no"))).payload == b"new"


async def test_a_load_that_began_before_the_announcement_is_stored_in_vain(make_cache):
    writer, reader = await make_cache(**SAFE), await make_cache(**SAFE, l1_items=0)
    early = (await reader.lookup(request())).ticket
    announced = await writer.announce(TAG)
    await reader.fill(early, b"old", loaded_at=time.time(), lifetime=60.0)
    await writer.lift(announced)  # the writer died, and its hold has ended
    assert (await get(reader, request(), answers(b"new"))).payload == b"new"


async def test_each_transaction_takes_back_its_own_hold_and_those_beyond_the_places_share_one(
    make_cache, server, namespace
):
    writer, reader = await make_cache(**SAFE), await make_cache(**SAFE)
    several = [await writer.announce(TAG) for _ in range(6)]
    for one in several[:-1]:
        await writer.lift(one)
        assert (await reader.lookup(request())).seen.held
    await writer.lift(several[-1])
    assert (await reader.lookup(request())).seen.held, "two of them share a hold that ends by itself"
    assert server.keys(f"{namespace}:1:o:*") == [f"{namespace}:1:o:4:tasks".encode()]
    assert 0 < server.pttl(f"{namespace}:1:o:4:tasks") <= 30_000


async def test_the_hold_of_a_writer_that_died_ends_by_itself_and_nothing_is_stale_then(make_cache):
    writer, reader = await make_cache(**SAFE, commit_hold=0.3), await make_cache(**SAFE)
    database = [b"old"]

    async def load():
        return database[0]

    await get(reader, request(), load)
    await writer.announce(TAG)
    database[0] = b"new"  # committed, and then it died
    sources = set()
    while "l1" not in sources and "local" not in sources:
        got = await get(reader, request(), load)
        assert got.payload == b"new"
        sources.add(got.source)
        await asyncio.sleep(0.01)


async def test_a_hold_that_may_be_anothers_by_now_is_left_alone(make_cache, server, namespace):
    now = [0.0]
    writer = await make_cache(**SAFE, clock=lambda: now[0], listening=False)
    announced = await writer.announce(TAG)
    now[0] += 27.5
    await writer.lift(announced)
    assert len(server.keys(f"{namespace}:1:o:*")) == 1


async def test_what_cannot_be_announced_is_on_record_and_the_commit_goes_on(make_cache, own_server, tmp_path):
    server = own_server()
    writer = await make_cache(server.url, **SAFE, journal_dir=tmp_path, replay_interval=0.05, **QUICK)
    with server.frozen():
        assert await asyncio.wait_for(writer.announce(TAG), 5) is None
        assert writer.pending == 1
        assert len(list(tmp_path.iterdir())) == 1
    await until(lambda: writer.pending == 0)


async def test_a_thread_announces_and_lifts_too_and_without_the_option_nothing_is_sent(
    make_cache, server, namespace
):
    writer, plain = await make_cache(**SAFE), await make_cache()
    announced = await asyncio.to_thread(writer.portal.announce, TAG)
    assert len(server.keys(f"{namespace}:1:o:*")) == 1
    await asyncio.to_thread(writer.portal.lift, announced)
    assert await plain.announce(TAG) is None
    assert await asyncio.to_thread(plain.portal.announce, TAG) is None
    assert server.keys(f"{namespace}:1:o:*") == []


async def test_it_runs_under_the_minimal_acl(make_cache, own_server, namespace):
    server = own_server()
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", *MINIMAL_ACL, f"~{namespace}:1:*", f"&{namespace}:1:bus"
        )
        cache = await make_cache(server.url.replace("redis://", "redis://app:pass@"), **SAFE)
        await get(cache, request(), answers(b"old"))
        await cache.lift(await cache.announce(TAG))
        assert not (await cache.lookup(request())).seen.held
        assert client.execute_command("ACL", "LOG") == []


async def test_nothing_is_learned_from_a_load_while_a_commit_to_its_table_is_announced(make_cache):
    writer, reader = await make_cache(**SAFE), await make_cache(**SAFE)
    asked = request("page", "ns", "rows#bulk", guards=("rows", "rows#word"))
    row = ["rows(id=1)"]
    announced = await writer.announce(["rows", *row])
    assert (await get(reader, asked, answers(b"old"), learned=row)).source == "load"
    await writer.lift(announced)  # the writer died after its commit, and its hold has ended
    assert (await get(reader, asked, answers(b"new"), learned=row)).payload == b"new"
    assert (await get(reader, asked, answers(b"no"), learned=row)).payload == b"new"
