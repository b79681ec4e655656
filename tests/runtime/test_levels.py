"""Entries in memory, on a server and in files: which tier answers, what moves between them, and that all are fresh."""

import asyncio
import os
import time

import pytest
from tests.runtime.driving import POLICY, answers, get, request, until

from cachewright.runtime.settings import Bounds, Settings
from cachewright.runtime.tiers import with_tiers
from cachewright.spec.model import CachingSpecification
from cachewright.spec.semantics import Load, Reason, Serve, decide

CALM = {"l3_timeout": 20.0}
ALL = ("l1", "l2", "l3")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "files"


@pytest.fixture
async def make(make_cache, directory):
    async def make(*arguments, **options):
        return await make_cache(*arguments, **{"l3_dir": directory, **CALM, **options})

    return make


def files(directory):
    return [path for path in directory.glob("*/??/*") if not path.name.startswith(".")]


def counted(cache, name):
    return cache.stats.snapshot()[name]


@pytest.mark.parametrize("levels", [("l3",), ("l1", "l3")])
@pytest.mark.requirement("#28", "#154", "C4")
async def test_an_entry_in_files_answers_other_processes_of_the_machine(make, levels):
    one, two = await make(), await make()
    asked = request(levels=levels)
    assert (await get(one, asked, answers(b"old"))).source == "load"
    got = await get(two, asked, answers(b"new"))
    assert (got.payload, got.source) == (b"old", "l3")
    again = await get(two, asked, answers(b"new"))
    assert again.source == ("local" if "l1" in levels else "l3")


async def test_entries_in_files_outlive_the_process(make, server, namespace):
    one = await make()
    asked = request(levels=("l1", "l3"))
    await get(one, asked, answers(b"old"))
    await one.aclose()
    assert not server.exists(f"{namespace}:1:e:tasks")
    assert (await get(await make(), asked, answers(b"new"))).source == "l3"


@pytest.mark.parametrize("levels", [("l3",), ("l1", "l3"), ("l2", "l3"), ALL])
@pytest.mark.requirement("#155")
async def test_after_an_invalidation_no_tier_of_any_process_serves_what_was_loaded_before(make, levels):
    one, two = await make(l1_lease=30.0, l2_value_bytes=10), await make(l1_lease=30.0, l2_value_bytes=10)
    asked = request(levels=levels)
    for cache in (one, two):
        assert (await get(cache, asked, answers(b"old" * 100))).payload == b"old" * 100
    await one.invalidate(["tasks"])
    assert (await get(one, asked, answers(b"new"))).payload == b"new"
    await until(lambda: two.lookup_local(asked) is None or two.lookup_local(asked).payload == b"new")
    assert (await get(two, asked, answers(b"never asked"))).payload == b"new"


async def test_a_file_written_by_a_load_that_began_before_an_invalidation_is_never_served(make):
    one, two = await make(), await make()
    asked = request(levels=("l3",))
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        reached.set()
        await go_on.wait()
        return b"old"

    loading = asyncio.ensure_future(get(one, asked, slow))
    await reached.wait()
    await two.invalidate(["tasks"])
    go_on.set()
    assert (await loading).payload == b"old"
    for cache in (one, two):
        assert (await get(cache, asked, answers(b"new"))).payload == b"new"


async def test_a_file_whose_tokens_have_changed_is_a_miss_and_is_removed(make, directory, server, namespace):
    cache = await make()
    asked = request(levels=("l3",))
    await get(cache, asked, answers(b"old"))
    server.set(f"{namespace}:1:v:tasks", os.urandom(16))
    found = await cache.lookup(asked)
    assert decide(POLICY, found.seen, time.time()) == Load(Reason.ABSENT)
    await until(lambda: not files(directory))


async def test_without_the_server_files_are_not_served(own_server, make_cache, directory):
    own = own_server()
    cache = await make_cache(own.url, l3_dir=directory, read_timeout=0.2, connect_timeout=0.2)
    asked = request(levels=("l3",))
    await get(cache, asked, answers(b"old"))
    own.kill()
    found = await cache.lookup(asked)
    assert not found.available
    assert found.payload is None


async def test_a_single_worker_without_a_server_uses_files_under_its_own_tokens(make, directory):
    cache = await make(None)
    asked = request(levels=("l3",))
    await get(cache, asked, answers(b"old"))
    assert cache.lookup_local(asked) is None
    assert (await get(cache, asked, answers(b"new"))).source == "l3"
    await cache.invalidate(["tasks"])
    assert (await get(cache, asked, answers(b"new"))).payload == b"new"
    await cache.aclose()
    assert files(directory)
    assert (await get(await make(None), asked, answers(b"newer"))).payload == b"newer"


async def test_a_value_too_large_for_the_server_goes_to_files_only_and_a_small_one_to_the_server_only(
    make, directory, server, namespace
):
    one, two = await make(l2_value_bytes=2000), await make(l2_value_bytes=2000)
    large, small = request("large", levels=ALL), request("small", levels=ALL)
    await get(one, large, answers(b"x" * 5000))
    assert (server.exists(f"{namespace}:1:e:large"), len(files(directory))) == (0, 1)
    await get(one, small, answers(b"x" * 50))
    assert (server.exists(f"{namespace}:1:e:small"), len(files(directory))) == (1, 1)
    assert (await get(two, large, answers(b""))).source == "l3"
    assert (await get(two, small, answers(b""))).source == "l2"
    assert not server.exists(f"{namespace}:1:e:large")


async def test_a_value_too_large_for_every_tier_is_loaded_each_time(make, directory):
    cache = await make(l2_value_bytes=1000, l3_bytes=8000)
    asked = request(levels=("l2", "l3"))
    for payload in (b"1" * 3000, b"2" * 3000):
        assert (await get(cache, asked, answers(payload))).payload == payload
    assert not files(directory)


@pytest.mark.requirement("#155", "#132")
async def test_what_memory_has_no_room_for_goes_to_files_and_comes_back_to_memory_and_server(
    make, server, namespace
):
    cache = await make(l1_items=3)
    for number in range(6):
        await get(cache, request(f"k{number}", levels=ALL), answers(b"%d" % number))
    await until(lambda: counted(cache, "demotions") == 3)
    assert counted(cache, "evictions") == 3
    server.unlink(f"{namespace}:1:e:k0")
    assert (await get(cache, request("k0", levels=ALL), answers(b"new"))).source == "l3"
    await until(lambda: server.exists(f"{namespace}:1:e:k0"))
    assert (await get(cache, request("k0", levels=ALL), answers(b"new"))).source == "local"
    other = await make()
    got = await get(other, request("k0", levels=ALL), answers(b"new"))
    assert (got.payload, got.source) == (b"0", "l2")


async def test_what_leaves_memory_stays_out_of_files_where_the_target_has_none(make, directory):
    cache = await make(l1_items=1)
    for number in range(4):
        await get(cache, request(f"k{number}", levels=("l1", "l2")), answers(b"v"))
    assert counted(cache, "evictions") == 3
    assert not files(directory)


async def test_a_torn_file_is_a_miss_and_is_removed_and_another_takes_its_place(make, directory):
    cache = await make()
    asked = request(levels=("l3",))
    await get(cache, asked, answers(b"old"))
    (path,) = files(directory)
    path.write_bytes(path.read_bytes()[:-3])
    os.utime(path, (0, 0))
    found = await cache.lookup(asked)
    assert decide(POLICY, found.seen, time.time()) == Load(Reason.ABSENT)
    assert (counted(cache, "codec_errors"), files(directory)) == (1, [])
    assert (await get(cache, asked, answers(b"new"))).payload == b"new"
    assert (await get(cache, asked, answers(b"newer"))).payload == b"new"


async def test_a_file_under_another_name_is_a_miss(make, directory):
    cache = await make()
    one, other = request("one", levels=("l3",)), request("other", levels=("l3",))
    await get(cache, one, answers(b"mine"))
    (first,) = files(directory)
    await get(cache, other, answers(b"theirs"))
    (second,) = set(files(directory)) - {first}
    second.write_bytes(first.read_bytes())
    os.utime(second, (0, 0))
    assert (await get(cache, other, answers(b"new"))).payload == b"new"


@pytest.mark.parametrize("levels", [("l3",), ALL])
async def test_acceptances_hold_beside_entries_in_files(make, levels):
    one, two = await make(l2_value_bytes=600), await make(l2_value_bytes=600)
    mine = request(needs_acceptance=True, credential="mine", levels=levels)
    theirs = request(needs_acceptance=True, credential="theirs", levels=levels)
    await get(one, mine, answers(b"x" * 2000))
    assert (await get(two, mine, answers(b"new"))).source == "l3"
    found = await two.lookup(theirs)
    assert decide(POLICY, found.seen, time.time()) == Load(Reason.NOT_ACCEPTED)


async def test_files_that_cannot_be_used_cost_nothing_but_themselves(make_cache, tmp_path, caplog):
    place = tmp_path / "not a directory"
    place.write_bytes(b"")
    cache = await make_cache(l3_dir=place, **CALM)
    asked = request(levels=("l3",))
    for payload in (b"one", b"two"):
        assert (await get(cache, asked, answers(payload))).payload == payload
    assert caplog.text.count("nothing is cached in files") == 1
    both = request("both", levels=("l2", "l3"))
    await get(cache, both, answers(b"one"))
    assert (await get(cache, both, answers(b"two"))).source == "l2"


async def test_more_calls_than_may_wait_for_the_disk_are_misses_and_none_waits_for_ever(make):
    cache = await make()
    asked = [request(f"k{number}", levels=("l3",)) for number in range(300)]
    found = await asyncio.gather(*(cache.lookup(one) for one in asked))
    assert all(one.available and one.payload is None for one in found)
    await until(lambda: cache._core.l3._waiting == 0)
    await get(cache, asked[0], answers(b"old"))
    assert (await get(cache, asked[0], answers(b"new"))).source == "l3"


async def test_the_sweep_runs_by_itself(make):
    cache = await make(None, sweep_interval=0.1)
    for number in range(300):
        found = await cache.lookup(request(f"k{number}"))
        await cache.fill(found.ticket, b"v", loaded_at=time.time(), lifetime=0.01)
    assert len(cache.memory) == 300
    await until(lambda: len(cache.memory) == 0)
    assert (counted(cache, "expiries"), counted(cache, "evictions")) == (300, 0)


async def test_a_flood_of_invented_keys_leaves_those_that_are_asked_for(make_cache):
    cache = await make_cache(None, l1_items=50)
    steady = [request(f"steady{number}") for number in range(40)]
    for _ in range(2):
        for one in steady:
            await get(cache, one, answers(b"v"))
    for number in range(1000):
        await get(cache, request(f"invented{number}", open_ended=True), answers(b"v"))
    kept = sum(cache.lookup_local(one) is not None for one in steady)
    assert kept >= 20
    assert counted(cache, "turned_away") > 800


@pytest.mark.requirement("#205", "#206")
async def test_a_target_is_evicted_by_its_own_order_and_bounds(make_cache):
    cache = await make_cache(None, l1_targets={"GET /tasks": Bounds(2, 1 << 20, "fifo")})
    for number in range(3):
        await get(cache, request(f"k{number}"), answers(b"v"))
        cache.lookup_local(request("k0"))
    held = [cache.lookup_local(request(f"k{number}")) is not None for number in range(3)]
    assert held == [False, True, True]


async def test_a_served_entry_is_one_use_of_it(make_cache):
    cache = await make_cache(None, l1_items=2, l1_eviction="lfu")
    for key in ("a", "b"):
        await get(cache, request(key), answers(b"v"))
    for key in ("a", "b", "a"):
        assert isinstance(decide(POLICY, cache.lookup_local(request(key)).seen, time.time()), Serve)
    await get(cache, request("c"), answers(b"v"))
    assert cache.lookup_local(request("b")) is None
    assert cache.lookup_local(request("a")) is not None


@pytest.mark.requirement("#148", "#151", "#306", "#307")
def test_a_specification_says_how_tiers_are_bounded(tmp_path):
    spec = CachingSpecification.model_validate(
        {
            "cache_strategy": {"eviction_policy": {"type": "lfu", "max_items": 500}},
            "configuration": {"in_memory": {"cleanup_interval_seconds": 7}},
            "cache_targets": [
                {"endpoint": "/plain", "levels": ["l1"]},
                {
                    "endpoint": "/own",
                    "strategy": {"eviction_policy": {"type": "fifo", "max_memory_bytes": 9000}},
                },
                {
                    "computed_data": "sums",
                    "cache_type": "file",
                    "strategy": {"eviction_policy": {"max_items": 3}},
                },
            ],
        }
    )
    settings = with_tiers(Settings(l1_items=500, l1_bytes=1000), spec, tmp_path)
    assert (settings.l1_eviction, settings.sweep_interval, settings.l3_dir) == ("lfu", 7.0, tmp_path)
    assert settings.l1_targets == {"GET /own": Bounds(500, 9000, "fifo"), "sums": Bounds(3, 1000, "lfu")}


def test_there_are_no_files_where_no_target_asks_for_them(tmp_path):
    spec = CachingSpecification.model_validate(
        {"cache_targets": [{"endpoint": "/a", "levels": ["l1", "l2"]}]}
    )
    assert with_tiers(Settings(), spec, tmp_path).l3_dir is None
