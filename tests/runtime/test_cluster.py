"""A cluster whose primaries die, stop, change places and forget: nothing stale, no hang, and a way back."""

import asyncio
import time
from contextlib import nullcontext, suppress

import pytest
import redis
from tests.runtime.asking import Asked, Truth, ask_on, write_on
from tests.runtime.driving import answers, get, request, until
from tests.runtime.test_faults import MINIMAL_ACL
from tests.runtime.topologies import ClusterOfThree

from cachewright import Cache
from cachewright.errors import StoreUnavailableError
from cachewright.runtime.invalidation import Invalidations
from cachewright.runtime.settings import Settings
from cachewright.runtime.stores.cluster import Cluster
from cachewright.runtime.stores.names import Names
from cachewright.runtime.stores.slots import by_slot

pytestmark = pytest.mark.faults

PATIENT = {"read_timeout": 0.25, "connect_timeout": 0.5, "topology_interval": 0.3, "replay_interval": 0.1}
HANG = 5.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = ClusterOfThree(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def well(cluster):
    """The cluster, well before and after."""
    cluster.settle()
    yield cluster
    cluster.settle()


async def bounded(call):
    return await asyncio.wait_for(call, HANG)


def on_every_node(count=40):
    """Requests whose entries and row tags are spread over all slots."""
    return [request(f"note:id={n}", "ns", "notes", f"notes(id={n})") for n in range(count)]


async def until_token_is_not(cluster, key, before):
    for _ in range(2000):
        with suppress(redis.RedisError, AssertionError):
            if await asyncio.to_thread(cluster.get, key) != before:
                return
        await asyncio.sleep(0.01)
    raise AssertionError("the token never changed")


async def until_all_cached(cache, asked, body=b"again"):
    """Every one of these is served from the cache before long."""
    for one in asked:
        for _ in range(1000):
            if (await bounded(get(cache, one, answers(body)))).source != "load":
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError("it never recovered")


@pytest.mark.requirement("#172", "#413", "C36")
async def test_entries_tokens_and_words_find_their_servers(well, make_cache):
    one = await make_cache(well.url, l1_lease=30.0)
    two = await make_cache(well.url, l1_lease=30.0)
    asked = on_every_node()
    for each in asked:
        assert (await get(one, each, answers(b"old"))).source == "load"
        assert (await get(two, each, answers(b"new"))).source == "l2"
        assert two.lookup_local(each) is not None
    assert await one.invalidate([tag for each in asked for tag in each.tags[2:]], raise_pending=True) == len(
        asked
    )
    for each in asked:
        await until(lambda each=each: two.lookup_local(each) is None)
        assert (await get(two, each, answers(b"new"))).payload == b"new"
    assert await asyncio.to_thread(one.portal.invalidate, ["notes"]) == 1
    for each in asked:
        await until(lambda each=each: two.lookup_local(each) is None)
        assert (await get(two, each, answers(b"newer"))).payload == b"newer"
    for cache in (one, two):
        assert cache.stats.snapshot()["errors"] == 0
        assert cache.store.lines == (3, 3), "one to each primary"


@pytest.mark.requirement("#142", "#414", "C73")
async def test_each_primary_tells_how_it_is(well, make_cache):
    cache = await make_cache(well.url)
    told = await cache.store.facts()
    assert [(each.role, each.cluster) for each in told] == [("master", True)] * 3
    assert all(each.used_bytes and each.version for each in told)


async def test_the_url_of_one_of_its_servers_is_enough(well, make_cache):
    one = await make_cache(f"redis://127.0.0.1:{well.nodes[1].port}")
    two = await make_cache(well.url)
    for each in on_every_node():
        await get(one, each, answers(b"x"))
        assert (await get(two, each, answers(b"y"))).source == "l2"


@pytest.mark.parametrize(("colocate", "most"), [("entity", 2), ("tenant", 2), ("none", 3)])
@pytest.mark.requirement("#170")
async def test_what_is_asked_together_stands_together(namespace, colocate, most):
    """The tokens of every lookup share a slot; those of a user or a tenant share the slot of the entry."""
    names = Names(namespace, spread=True, colocate=colocate)
    tags = ["ns", "target:GET /tasks", "tasks", "tenant:a:user:1", "key:tenant:a:user:1:tasks"]
    key = "tenant:a:user:1:tasks"
    places = [names.place(f"e:{key}"), *map(names.token, tags)]
    assert len(by_slot(places)) == most
    assert all(place.endswith(f":v:{tag}") for place, tag in zip(places[1:], tags, strict=True))
    assert places[0].startswith(f"{namespace}:1:{{")
    assert places[0].endswith(f":e:{key}")
    assert [names.name(place) for place in places] == [f"e:{key}", *(f"v:{tag}" for tag in tags)]


async def test_a_slot_that_is_moved_is_followed_without_an_error(well, make_cache, namespace):
    cache = await make_cache(well.url, l1_items=0)
    names = Names(namespace, spread=True, colocate="entity")
    asked = request("note:id=1", "ns", "notes", "notes(id=1)")
    await get(cache, asked, answers(b"old"))
    place = names.token("notes(id=1)")
    source = well.owner(place)
    target = next(node for node in well.live() if well.role(node) == "master" and node is not source)
    slot = source.ask("CLUSTER", "KEYSLOT", place)
    try:
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        assert (await bounded(get(cache, asked, answers(b"new")))).source == "l2"  # still here
        for key in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        assert (await bounded(get(cache, asked, answers(b"new")))).source == "l2"  # ASK
        assert await bounded(cache.invalidate(["notes(id=1)"], raise_pending=True)) == 1
        assert (await bounded(get(cache, asked, answers(b"new")))).payload == b"new"
    finally:
        name = target.ask("CLUSTER", "MYID")
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)
    assert (await bounded(get(cache, asked, answers(b"newer")))).payload == b"new"  # MOVED
    assert await bounded(cache.invalidate(["notes(id=1)"], raise_pending=True)) == 1
    assert (await bounded(get(cache, asked, answers(b"newer")))).payload == b"newer"
    assert cache.stats.snapshot()["errors"] == 0


async def test_word_reaches_those_who_listen_elsewhere_after_a_redirection(well, make_cache, namespace):
    """What one server is told goes out again from the server that took the change in the end."""
    one, two = await make_cache(well.url), await make_cache(well.url, l1_lease=30.0)
    asked = request("note:id=7", "ns", "notes", "notes(id=7)")
    await get(two, asked, answers(b"old"))
    place = Names(namespace, spread=True, colocate="entity").token("notes(id=7)")
    owner = well.owner(place)
    other = next(node for node in well.live() if well.role(node) == "master" and node is not owner)
    servers = one._core.store._servers
    assert isinstance(servers, Cluster)
    await one.lookup(asked)
    servers._slots.moved(owner.ask("CLUSTER", "KEYSLOT", place), ("127.0.0.1", other.port))
    assert await one.invalidate(["notes(id=7)"], raise_pending=True) == 1
    await until(lambda: two.lookup_local(asked) is None)
    assert (await get(two, asked, answers(b"new"))).payload == b"new"


async def test_a_graceful_failover_costs_no_wrong_answer_and_is_noticed(well, make_cache, namespace):
    one = await make_cache(well.url, l1_items=0, **PATIENT)
    asked = on_every_node(20)
    for each in asked:
        await get(one, each, answers(b"old"))
    primary = well.owner(Names(namespace, spread=True, colocate="entity").token("notes"))
    well.replica_of(primary).ask("CLUSTER", "FAILOVER")
    assert await bounded(one.invalidate(["notes"])) <= 1
    for each in asked:
        assert (await bounded(get(one, each, answers(b"new")))).payload == b"new"
    await until(lambda: one.stats.snapshot()["promotions"] >= 1)
    await until(lambda: one.pending == 0)
    await until_all_cached(one, asked)


@pytest.mark.parametrize("fault", ["killed", "stopped"])
@pytest.mark.requirement("#173")
async def test_a_primary_that_is_lost_costs_a_bounded_time_and_every_invalidation_counts(
    well, make_cache, namespace, fault
):
    one = await make_cache(well.url, **PATIENT)
    two = await make_cache(well.url, l1_lease=0.05, **PATIENT)
    asked = on_every_node(30)
    for each in asked:
        await get(one, each, answers(b"old"))
    primary = well.owner(Names(namespace, spread=True, colocate="entity").token("notes"))
    replica = well.replica_of(primary)
    if fault == "killed":
        primary.kill()
        await change_and_recover(well, one, two, asked, replica)
    else:
        with primary.frozen():
            await change_and_recover(well, one, two, asked, replica)


@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_no_request_fails_is_wrong_or_hangs_while_a_primary_is_lost(well, namespace, fault):
    """Callers go on asking for keys of every primary and writing to those of the one that is lost."""
    keys = [f"k{number}" for number in range(24)]
    names = Names(namespace, spread=True, colocate="entity")
    primary = well.owner(names.place("e:k0"))
    there = [key for key in keys if well.owner(names.place(f"e:{key}")) is primary]
    truth, seen, end, gaps = Truth.of(keys), Asked(HANG), asyncio.Event(), []
    options = {"namespace": namespace, "levels": ("l2",), "settings": Settings(**PATIENT)}
    async with Cache(well.url, **options) as reader, Cache(well.url, **options) as writer:
        work = [
            asyncio.create_task(ask_on(reader, keys, truth, seen, end)),
            asyncio.create_task(write_on(writer, there[:4], truth, gaps, end)),
        ]
        replica = well.replica_of(primary)
        await until(lambda: len(seen.took) > 100)
        with primary.frozen() if fault == "stopped" else nullcontext():
            if fault == "killed":
                primary.kill()
            await until(lambda: well.role(replica) == "master")
            await until(lambda: gaps and not writer.engine.pending)
            asked = len(seen.took)
            await until(lambda: len(seen.took) > asked + 100)
            end.set()
            await asyncio.gather(*work)
        for key in there[:4]:
            assert await reader.get_or_load(key, lambda key=key: truth.now[key]) >= truth.due[key]
    assert (seen.failed, seen.wrong) == (0, 0)
    assert seen.longest < HANG


async def change_and_recover(cluster, one, two, asked, replica):
    await bounded(one.invalidate([asked[0].tags[2], "notes"]))
    for each in asked[:8]:
        assert (await bounded(get(one, each, answers(b"new")))).payload == b"new"
    await until(lambda: cluster.role(replica) == "master")
    await until(lambda: one.pending == 0)
    for each in asked:
        assert (await bounded(get(two, each, answers(b"new")))).payload == b"new"
    await until_all_cached(one, asked, b"new")
    await until(lambda: one.stats.snapshot()["promotions"] >= 1)
    window = one.stats.snapshot()["promotion_seconds"]
    assert window["count"] >= 1
    assert window["seconds"] > 0


@pytest.mark.parametrize("replays", [True, False])
async def test_a_replica_that_lagged_is_told_again_and_only_then_nothing_is_stale(
    well, make_cache, namespace, monkeypatch, replays
):
    if not replays:
        monkeypatch.setattr(Invalidations, "repeat", forgetful)
    one = await make_cache(well.url, l1_items=0, **PATIENT)
    two = await make_cache(well.url, l1_items=0, **PATIENT)
    asked = request("note:id=3", "ns", "notes", "notes(id=3)")
    await get(two, asked, answers(b"old"))
    place = Names(namespace, spread=True, colocate="entity").token("notes(id=3)")
    primary = well.owner(place)
    replica = well.replica_of(primary)
    before = primary.get(place)
    await until(lambda: replica.ask("ROLE")[4] == primary.ask("ROLE")[1])
    replica.cut_off(primary)
    assert await one.invalidate(["notes(id=3)"], raise_pending=True) == 1
    assert primary.get(place) != before
    replica.ask("CLUSTER", "FAILOVER", "TAKEOVER")
    await until(lambda: well.owner(place) is replica)
    if not replays:
        await until_served(two, asked, b"old")
        return
    await until_token_is_not(well, place, before)
    for cache in (one, two):
        assert (await bounded(get(cache, asked, answers(b"new")))).payload == b"new"
    await until(lambda: one.stats.snapshot()["promotions"] >= 1)


async def forgetful(self, silent=0.0):
    return


async def until_served(cache, asked, payload):
    """An old entry is valid again once the old token is: it is what the replay is for."""
    for _ in range(500):
        found = await bounded(cache.lookup(asked))
        if found.payload == payload and found.seen.entry.tokens == {
            tag: found.seen.tokens.get(tag) for tag in found.seen.entry.tokens
        }:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the token was not rolled back: this shows nothing about the replay")


async def test_a_server_that_comes_back_with_an_old_file_makes_nothing_valid_again(
    well, make_cache, namespace
):
    """It was saved before the invalidation, killed, and started anew before anybody took its place."""
    one = await make_cache(well.url, l1_items=0, **PATIENT)
    asked = request("note:id=5", "ns", "notes", "notes(id=5)")
    await get(one, asked, answers(b"old"))
    place = Names(namespace, spread=True, colocate="entity").token("notes(id=5)")
    primary = well.owner(place)
    before = primary.get(place)
    await asyncio.sleep(2 * PATIENT["topology_interval"])
    primary.ask("SAVE")
    await asyncio.sleep(2 * PATIENT["topology_interval"])
    assert await one.invalidate(["notes(id=5)"], raise_pending=True) == 1
    primary.kill()
    await asyncio.to_thread(primary.start)
    await until_token_is_not(well, place, before)
    await until(lambda: one.stats.snapshot()["promotions"] >= 1)
    assert (await bounded(get(one, asked, answers(b"new")))).payload == b"new"


async def test_everything_runs_under_the_minimal_acl_and_two_commands_more(well, make_cache, namespace):
    acl = [*MINIMAL_ACL, "+asking", "+cluster|slots", f"~{namespace}:1:*", f"&{namespace}:1:bus"]
    for node in well.nodes:
        node.ask("ACL", "LOG", "RESET")
        node.ask("ACL", "SETUSER", "app", *acl)
    url = well.url.replace("://", "://app:pass@")
    one, two = await make_cache(url, **PATIENT), await make_cache(url, l1_lease=30.0)
    asked = on_every_node(10)
    for each in asked:
        await get(one, each, answers(b"old"))
        assert (await get(two, each, answers(b"new"))).source == "l2"
    await one.invalidate(["notes"], raise_pending=True)
    for each in asked:
        await until(lambda each=each: two.lookup_local(each) is None)
        assert (await get(two, each, answers(b"new"))).payload == b"new"
    await asyncio.sleep(3 * PATIENT["topology_interval"])
    assert [node.ask("ACL", "LOG") for node in well.nodes] == [[]] * 6
    assert one.stats.snapshot()["errors"] == 0


async def test_a_refused_password_or_a_missing_permission_is_a_cache_that_is_away(well, make_cache, caplog):
    wrong = await make_cache(well.url.replace("://", "://app:hunter2@"), listening=False, **PATIENT)
    assert not (await bounded(wrong.lookup(request()))).available
    assert (await bounded(get(wrong, request(), answers(b"1")))).payload == b"1"
    for node in well.nodes:
        node.ask("ACL", "SETUSER", "poor", *MINIMAL_ACL, "~*", "&*", "+cluster|slots", "-mget")
    poor = await make_cache(well.url.replace("://", "://poor:pass@"), **PATIENT)
    began = time.monotonic()
    for _ in range(20):
        assert not (await poor.lookup(request())).available
    assert time.monotonic() - began < HANG
    assert poor.stats.snapshot()["refusals"]["NOPERM"] >= 20
    for node in well.nodes:
        node.ask("ACL", "SETUSER", "poor", "+mget")
    await until_all_cached(poor, [request()])
    assert "hunter2" not in caplog.text


async def test_no_server_of_the_cluster_answering_is_bounded(make_cache):
    cache = await make_cache("redis+cluster://127.0.0.1:1,127.0.0.1:2", listening=False, **PATIENT)
    for _ in range(20):
        assert not (await bounded(cache.lookup(request()))).available
    with pytest.raises(StoreUnavailableError):
        await bounded(cache._core.store.erase("x"))
