"""A primary that sentinels name: killed, stopped, demoted, or followed by one that lagged."""

import asyncio

import pytest
from tests.runtime.driving import answers, get, request, until
from tests.runtime.test_cluster import bounded, forgetful, until_all_cached, until_served
from tests.runtime.test_faults import MINIMAL_ACL
from tests.runtime.topologies import SentinelTrio

from cachewright.runtime.invalidation import Invalidations
from cachewright.runtime.settings import boottime

pytestmark = pytest.mark.faults

PATIENT = {"read_timeout": 0.25, "connect_timeout": 0.5, "topology_interval": 0.3, "replay_interval": 0.1}


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    made = SentinelTrio(tmp_path_factory.mktemp("sentinel"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def well(trio):
    trio.settle()
    yield trio
    trio.settle()


async def test_the_primary_is_found_and_used(well, make_cache):
    one, two = await make_cache(well.url), await make_cache(well.url, l1_lease=30.0)
    assert (await get(one, request(), answers(b"old"))).source == "load"
    assert (await get(two, request(), answers(b"new"))).source == "l2"
    assert await one.invalidate(["tasks"], raise_pending=True) == 1
    await until(lambda: two.lookup_local(request()) is None)
    assert (await get(two, request(), answers(b"new"))).payload == b"new"
    assert await asyncio.to_thread(one.portal.invalidate, ["tasks"]) == 1
    for cache in (one, two):
        assert cache.stats.snapshot()["errors"] == 0
        assert cache.store.lines == (1, 1)


async def test_the_index_of_the_database_is_that_of_the_url(well, make_cache, namespace):
    cache = await make_cache(f"{well.url}?db=3")
    await get(cache, request(), answers(b"x"))
    assert well.primary().get(f"{namespace}:1:v:tasks") is None


async def test_one_sentinel_of_three_is_enough(well, make_cache):
    with well.sentinels[0].frozen(), well.sentinels[1].frozen():
        cache = await make_cache(well.url, **PATIENT)
        await until_all_cached(cache, [request()])


async def test_a_replica_is_never_used_as_a_single_server(well, make_cache):
    cache = await make_cache(f"redis://127.0.0.1:{well.replica().port}", listening=False, **PATIENT)
    for _ in range(10):
        assert not (await bounded(cache.lookup(request()))).available
    assert (await bounded(get(cache, request(), answers(b"1")))).payload == b"1"


@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_the_next_primary_is_used_and_every_invalidation_counts(well, make_cache, fault):
    one = await make_cache(well.url, **PATIENT)
    two = await make_cache(well.url, l1_lease=0.05, **PATIENT)
    await get(one, request(), answers(b"old"))
    primary, replica = well.primary(), well.replica()
    if fault == "killed":
        primary.kill()
        await change_and_recover(one, two, replica)
    else:
        with primary.frozen():
            await change_and_recover(one, two, replica)


async def change_and_recover(one, two, replica):
    await bounded(one.invalidate(["tasks"]))
    assert (await bounded(get(one, request(), answers(b"new")))).payload == b"new"
    await until(lambda: replica.ask("ROLE")[0] == b"master")
    await until(lambda: one.pending == 0)
    for cache in (two, one):
        assert (await bounded(get(cache, request(), answers(b"new")))).payload == b"new"
    await until_all_cached(one, [request()], b"new")
    await until(lambda: one._core.heard(boottime()))
    await until(lambda: one.stats.snapshot()["promotions"] >= 1)
    assert one.stats.snapshot()["promotion_seconds"]["seconds"] > 0


async def test_a_switch_is_noticed_without_an_error_by_who_only_listens(well, make_cache):
    cache = await make_cache(well.url, **{**PATIENT, "topology_interval": 60.0})
    await get(cache, request(), answers(b"old"))
    await until(lambda: any(b"sub=1 " in sentinel.ask("CLIENT", "LIST") for sentinel in well.sentinels))
    well.sentinels[0].ask("SENTINEL", "FAILOVER", well.service)
    await until(lambda: cache.stats.snapshot()["promotions"] == 1)


@pytest.mark.parametrize("replays", [True, False])
async def test_a_replica_that_lagged_is_told_again_and_only_then_nothing_is_stale(
    well, make_cache, namespace, monkeypatch, replays
):
    if not replays:
        monkeypatch.setattr(Invalidations, "repeat", forgetful)
    one = await make_cache(well.url, l1_items=0, **PATIENT)
    two = await make_cache(well.url, l1_items=0, **PATIENT)
    await get(two, request(), answers(b"old"))
    primary, replica, token = well.primary(), well.replica(), f"{namespace}:1:v:tasks"
    before = primary.get(token)
    await until(lambda: replica.get(token) == before)
    replica.cut_off(primary)
    assert await one.invalidate(["tasks"], raise_pending=True) == 1
    primary.kill()
    await until(lambda: replica.ask("ROLE")[0] == b"master")
    if not replays:
        await until_served(two, request(), b"old")
        return
    await until(lambda: replica.get(token) != before)
    for cache in (one, two):
        assert (await bounded(get(cache, request(), answers(b"new")))).payload == b"new"
    await until(lambda: one.stats.snapshot()["promotions"] >= 1)


async def test_everything_runs_under_the_minimal_acl(well, make_cache, namespace):
    acl = [*MINIMAL_ACL, f"~{namespace}:1:*", f"&{namespace}:1:bus"]
    for server in well.servers:
        server.ask("ACL", "LOG", "RESET")
        server.ask("ACL", "SETUSER", "app", *acl)
    for sentinel in well.sentinels:
        sentinel.ask("ACL", "SETUSER", "seeker", "reset", "on", ">found", "-@all", "+auth", "+hello", "+ping",
                     "+client|setinfo", "+subscribe", "+sentinel|get-master-addr-by-name", "&+switch-master")  # fmt: skip
        sentinel.ask("ACL", "LOG", "RESET")
    url = well.url.replace("://", "://app:pass@") + "?sentinel_username=seeker&sentinel_password=found"
    one, two = await make_cache(url, **PATIENT), await make_cache(url, l1_lease=30.0)
    await get(one, request(), answers(b"old"))
    assert (await get(two, request(), answers(b"new"))).source == "l2"
    await one.invalidate(["tasks"], raise_pending=True)
    await until(lambda: two.lookup_local(request()) is None)
    await asyncio.sleep(3 * PATIENT["topology_interval"])
    assert [node.ask("ACL", "LOG") for node in (*well.servers, *well.sentinels)] == [[]] * 5
    assert one.stats.snapshot()["errors"] == 0


async def test_no_sentinel_answering_or_an_unknown_service_is_bounded(well, make_cache):
    for url in ("redis+sentinel://127.0.0.1:1,127.0.0.1:2/cache", f"{well.url}-of-others"):
        cache = await make_cache(url, listening=False, **PATIENT)
        for _ in range(20):
            assert not (await bounded(cache.lookup(request()))).available
        assert await bounded(cache.invalidate(["tasks"])) == 0
