import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress

import pytest
from tests.runtime.driving import request, until

from cachewright.errors import OverloadedError
from cachewright.runtime.bulkhead import Bulkhead
from cachewright.runtime.loads import Brought, Loaded, Loads
from cachewright.spec.semantics import Policy

POLICY = Policy(ttl=60.0, identity_ttl=30.0, jitter=0.0)


class Wall:
    """Wall seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Database:
    """Loads that say how often they ran: `1`, `2`, …; they wait while `gate` is shut, and fail while `down`."""

    def __init__(self, **answer) -> None:
        self.loads = 0
        self.running = 0
        self.most = 0
        self.down: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.answer = answer

    async def __call__(self) -> Brought:
        self.loads += 1
        number = self.loads
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        await asyncio.sleep(0)
        if self.down is not None:
            raise self.down
        return Brought(str(number).encode(), **self.answer)


def policy(**facts) -> Policy:
    return Policy(ttl=facts.pop("ttl", 60.0), identity_ttl=30.0, jitter=0.0, **facts)


def counted(cache) -> dict:
    return cache.stats.snapshot()["targets"]["GET /tasks"]


@pytest.fixture(params=["memory", "valkey"])
def make(request, make_cache) -> Callable:
    """Make a cache over its own memory only, or over a server."""

    async def make(**options):
        return await make_cache(None, **options) if request.param == "memory" else await make_cache(**options)

    return make


@pytest.mark.requirement("#85", "#86", "#87")
async def test_a_miss_loads_and_fills_and_the_next_call_is_a_hit(make):
    loads, database = Loads(await make()), Database()
    assert await loads.get_or_load(request(), POLICY, database) == Loaded(b"1", None)
    assert await loads.get_or_load(request(), POLICY, database) == Loaded(b"1", "l1")
    assert database.loads == 1


@pytest.mark.requirement("#87")
async def test_a_hundred_callers_load_once(make):
    cache, database = await make(), Database()
    loads = Loads(cache)
    database.gate.clear()
    calls = [asyncio.create_task(loads.get_or_load(request(), POLICY, database)) for _ in range(100)]
    await until(
        lambda: counted(cache)["misses"].get("absent") == 100 if cache.stats.snapshot()["targets"] else False
    )
    database.gate.set()
    assert {got.payload for got in await asyncio.gather(*calls)} == {b"1"}
    assert database.loads == 1
    assert counted(cache)["shared"] == 99


async def test_a_call_after_an_invalidation_does_not_join_an_older_load(make):
    cache, database = await make(), Database()
    loads = Loads(cache)
    database.gate.clear()
    older = asyncio.create_task(loads.get_or_load(request(), POLICY, database))
    await until(lambda: database.running == 1)
    await cache.invalidate(["tasks"])
    newer = asyncio.create_task(loads.get_or_load(request(), POLICY, database))
    await until(lambda: database.running == 2)
    database.gate.set()
    assert (await older).payload == b"1"
    assert (await newer).payload == b"2"
    assert (await loads.get_or_load(request(), POLICY, database)).payload == b"2"


async def test_a_cancelled_leader_fails_nobody(make):
    cache, database = await make(), Database()
    loads = Loads(cache)
    database.gate.clear()
    leader = asyncio.create_task(loads.get_or_load(request(), POLICY, database))
    await until(lambda: database.running == 1)
    followers = [asyncio.create_task(loads.get_or_load(request(), POLICY, database)) for _ in range(10)]
    await until(lambda: counted(cache)["misses"]["absent"] == 11)
    leader.cancel()
    await until(lambda: database.loads == 2)
    database.gate.set()
    assert {got.payload for got in await asyncio.gather(*followers)} == {b"2"}
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert not len(cache.flights)


async def test_followers_of_a_load_that_failed_fail_with_it(make):
    cache, database = await make(), Database()
    loads = Loads(cache)
    database.gate.clear()
    database.down = LookupError("no such table")
    calls = [asyncio.create_task(loads.get_or_load(request(), POLICY, database)) for _ in range(5)]
    await until(lambda: database.running == 1)
    await until(lambda: counted(cache)["misses"]["absent"] == 5)
    database.gate.set()
    got = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in got] == [LookupError] * 5
    assert database.loads == 1


@pytest.mark.parametrize("answer", [{"fill": False}, {"tags": ("users",)}], ids=["unwanted", "surprising"])
async def test_a_load_that_may_not_be_filled_is_nobody_elses(make, answer):
    cache, database = await make(), Database(**answer)
    loads = Loads(cache)
    database.gate.clear()
    calls = [asyncio.create_task(loads.get_or_load(request(), POLICY, database)) for _ in range(3)]
    await until(lambda: cache.stats.snapshot()["targets"] and counted(cache)["misses"].get("absent") == 3)
    database.gate.set()
    assert {got.payload for got in await asyncio.gather(*calls)} == {b"1", b"2", b"3"}
    assert (await loads.get_or_load(request(), POLICY, database)).tier is None


async def test_past_its_soft_end_an_entry_is_served_and_loaded_anew_once(make):
    wall = Wall()
    cache, database = await make(wall=wall), Database()
    loads, soft = Loads(cache), policy(soft_ttl=10.0)
    await loads.get_or_load(request(), soft, database)
    wall.now += 9
    assert (await loads.get_or_load(request(), soft, database)).payload == b"1"
    assert database.loads == 1

    wall.now += 1
    database.gate.clear()
    for _ in range(20):
        assert await loads.get_or_load(request(), soft, database) == Loaded(b"1", "l1")
        await asyncio.sleep(0)
    await until(lambda: database.running == 1)
    database.gate.set()
    await until(lambda: counted(cache)["refreshes"] == 1)
    assert await loads.get_or_load(request(), soft, database) == Loaded(b"2", "l1")
    assert database.loads == 2


async def test_a_refresh_knows_nothing_of_the_request_that_wanted_it(make):
    wall, session = Wall(), contextvars.ContextVar("session", default="its own")
    cache, seen = await make(wall=wall), []

    async def load() -> Brought:
        seen.append(session.get())
        return Brought(b"x")

    session.set("the request's")
    loads, soft = Loads(cache), policy(soft_ttl=10.0)
    await loads.get_or_load(request(), soft, load)
    wall.now += 11
    await loads.get_or_load(request(), soft, load)
    await until(lambda: counted(cache)["refreshes"] == 1)
    assert seen == ["the request's", "its own"]


async def test_a_refresh_that_fails_leaves_the_entry_and_pauses(make, caplog):
    wall = Wall()
    cache, database = await make(wall=wall, clock=lambda: 0.0), Database()
    loads, soft = Loads(cache), policy(soft_ttl=10.0)
    await loads.get_or_load(request(), soft, database)
    wall.now += 11
    database.down = OSError("away")
    await loads.get_or_load(request(), soft, database)
    await until(lambda: database.loads == 2 and not len(cache.refreshes))
    for _ in range(5):
        assert (await loads.get_or_load(request(), soft, database)).payload == b"1"
        await asyncio.sleep(0)
    assert database.loads == 2
    assert "a refresh failed" in caplog.text


async def test_an_invalidation_overtakes_a_refresh(make):
    wall = Wall()
    cache, database = await make(wall=wall), Database()
    loads, soft = Loads(cache), policy(soft_ttl=10.0)
    await loads.get_or_load(request(), soft, database)
    wall.now += 11
    database.gate.clear()
    await loads.get_or_load(request(), soft, database)
    await until(lambda: database.running == 1)
    await cache.invalidate(["tasks"])
    database.gate.set()
    await until(lambda: not len(cache.refreshes))
    assert (await loads.get_or_load(request(), soft, database)).payload == b"3"


async def test_refreshes_at_once_are_bounded_and_leave_room(make):
    wall = Wall()
    cache, database = await make(wall=wall, refreshes_at_once=8), Database()
    bulkhead = Bulkhead(4, background=2)
    loads, soft = Loads(cache, bulkhead=bulkhead), policy(soft_ttl=10.0)
    for number in range(10):
        await loads.get_or_load(request(f"k{number}"), soft, database)
    wall.now += 11
    database.gate.clear()
    database.most = 0
    for number in range(10):
        assert (await loads.get_or_load(request(f"k{number}"), soft, database)).tier == "l1"
    await until(lambda: (len(cache.refreshes), database.running) == (2, 2))
    assert bulkhead.used == 2
    database.gate.set()
    await until(lambda: not len(cache.refreshes))
    assert database.most == 2
    assert bulkhead.used == 0


async def test_an_early_refresh_is_the_likelier_the_longer_a_load_takes(make):
    """XFetch with a throw of 1/e: an entry is loaded anew `beta` times its load's duration before its end."""
    wall = Wall()
    cache = await make(wall=wall)
    cache.dice = lambda: 1 - 1 / 2.718281828459045
    loads, early = Loads(cache), policy(early=2.0)
    count = 0

    async def load() -> Brought:
        nonlocal count
        count += 1
        wall.now += 5
        return Brought(b"x")

    await loads.get_or_load(request(), early, load)
    wall.now += 44  # 49 s old, 11 s before its end
    await loads.get_or_load(request(), early, load)
    assert not len(cache.refreshes)
    wall.now += 1.5
    assert (await loads.get_or_load(request(), early, load)).tier == "l1"
    await until(lambda: counted(cache)["refreshes"] == 1)
    assert count == 2


@pytest.mark.parametrize("age", [61, 119])
async def test_an_expired_entry_stands_in_for_a_load_that_failed(make, age):
    wall = Wall()
    cache, database = await make(wall=wall), Database()
    loads, lenient = Loads(cache), policy(stale_if_error=60.0)
    await loads.get_or_load(request(), lenient, database)
    wall.now += age
    database.down = OSError("away")
    got = await loads.get_or_load(request(), lenient, database)
    assert (got.payload, got.stale) == (b"1", True)
    assert counted(cache)["stood_in"] == {"OSError": 1}
    database.down = None
    assert await loads.get_or_load(request(), lenient, database) == Loaded(b"3", None)


@pytest.mark.parametrize("lenient", [{"stale_if_error": 60.0}, {"stale_if_error": 0.0}], ids=str)
async def test_past_its_hard_end_nothing_stands_in(make, lenient):
    wall = Wall()
    cache, database = await make(wall=wall), Database()
    loads = Loads(cache)
    await loads.get_or_load(request(), policy(**lenient), database)
    wall.now += 60 + lenient["stale_if_error"]
    database.down = OSError("away")
    with pytest.raises(OSError, match="away"):
        await loads.get_or_load(request(), policy(**lenient), database)


async def test_what_was_invalidated_never_stands_in(make):
    cache, database = await make(), Database()
    loads, lenient = Loads(cache), policy(stale_if_error=600.0)
    await loads.get_or_load(request(), lenient, database)
    await cache.invalidate(["tasks"])
    database.down = OSError("away")
    with pytest.raises(OSError, match="away"):
        await loads.get_or_load(request(), lenient, database)


async def test_what_was_invalidated_stands_in_where_the_policy_allows_it(make_cache):
    cache, database = await make_cache(), Database()
    loads = Loads(cache)
    lenient = policy(stale_if_error=600.0, stale_after_invalidation=True)
    await loads.get_or_load(request(), lenient, database)
    await cache.invalidate(["tasks"])
    database.down = OSError("away")
    assert (await loads.get_or_load(request(), lenient, database)) == Loaded(b"1", "l2", stale=True)


async def test_an_entry_of_another_variant_stands_in_for_nobody(make):
    wall = Wall()
    cache, database = await make(wall=wall), Database()
    loads = Loads(cache)
    lenient = policy(stale_if_error=600.0, stale_after_invalidation=True)
    await loads.get_or_load(request(variant=b"admin"), lenient, database)
    wall.now += 61
    database.down = OSError("away")
    with pytest.raises(OSError, match="away"):
        await loads.get_or_load(request(variant=b"user"), lenient, database)


async def test_with_the_store_away_only_a_leased_copy_stands_in(make_cache, own_server):
    """The lease of a copy runs from when its tokens were asked for; afterwards nobody knows whether it stands."""
    server, wall, boot = own_server(), Wall(), Wall()
    cache = await make_cache(server.url, wall=wall, clock=boot, read_timeout=0.2, connect_timeout=0.2)
    database = Database()
    loads, lenient = Loads(cache), policy(stale_if_error=600.0)
    await loads.get_or_load(request(), lenient, database)
    with server.frozen():
        wall.now += 61
        database.down = OSError("away")
        got = await loads.get_or_load(request(), lenient, database)
        assert (got.payload, got.tier, got.stale) == (b"1", "l1", True)
        boot.now += 1.5
        with pytest.raises(OSError, match="away"):
            await loads.get_or_load(request(), lenient, database)
        allowed = policy(stale_if_error=600.0, stale_after_invalidation=True)
        assert (await loads.get_or_load(request(), allowed, database)).payload == b"1"


async def test_with_the_store_away_callers_share_a_load_that_begins_after_they_came(make_cache, own_server):
    server = own_server()
    cache = await make_cache(server.url, read_timeout=0.1, connect_timeout=0.1)
    loads, database = Loads(cache), Database()
    with server.frozen():
        database.gate.clear()
        first = asyncio.create_task(loads.get_or_load(request(), POLICY, database))
        await until(lambda: database.running == 1)
        later = [asyncio.create_task(loads.get_or_load(request(), POLICY, database)) for _ in range(20)]
        await until(lambda: counted(cache)["misses"]["absent"] == 21)
        database.gate.set()
        assert (await first).payload == b"1"
        assert {got.payload for got in await asyncio.gather(*later)} == {b"2"}
    assert database.loads == 2


@pytest.mark.requirement("C31")
async def test_what_was_not_found_lives_for_a_time_of_its_own(make):
    wall = Wall()
    cache, database = await make(wall=wall), Database(negative=True)
    loads, short = Loads(cache), policy(negative_ttl=5.0)
    await loads.get_or_load(request(), short, database)
    wall.now += 4
    assert (await loads.get_or_load(request(), short, database)).tier == "l1"
    wall.now += 1
    assert (await loads.get_or_load(request(), short, database)).payload == b"2"


async def test_what_was_not_found_fills_only_its_share(make_cache):
    cache = await make_cache(None)
    loads, database = Loads(cache), Database(negative=True)
    for number in range(400):
        await loads.get_or_load(request(f"k{number}"), policy(negative_ttl=5.0), database)
    assert counted(cache)["fills"] == 250
    assert counted(cache)["refused"] == {"negative": 150}
    await loads.get_or_load(request("found"), POLICY, Database())
    assert (await loads.get_or_load(request("found"), POLICY, Database())).tier == "l1"


async def test_a_lifetime_that_the_load_names_beats_the_policys(make):
    wall = Wall()
    cache, database = await make(wall=wall), Database(lifetime=5.0)
    loads = Loads(cache)
    await loads.get_or_load(request(), POLICY, database)
    wall.now += 5
    assert (await loads.get_or_load(request(), POLICY, database)).payload == b"2"


@pytest.mark.requirement("#204", "C23")
async def test_reads_prolong_an_entry_up_to_its_longest_life(make):
    wall = Wall()
    cache, database = await make(wall=wall), Database()
    loads, sliding = Loads(cache), policy(ttl=10.0, longest=25.0)
    await loads.get_or_load(request(), sliding, database)
    for _ in range(3):
        wall.now += 8
        assert (await loads.get_or_load(request(), sliding, database)).payload == b"1"
    wall.now += 1
    assert (await loads.get_or_load(request(), sliding, database)).payload == b"2"


async def test_an_entry_that_nobody_reads_is_not_prolonged(make_cache):
    wall = Wall()
    cache, database = await make_cache(None, wall=wall), Database()
    loads, sliding = Loads(cache), policy(ttl=10.0, longest=25.0)
    await loads.get_or_load(request(), sliding, database)
    wall.now += 10
    assert (await loads.get_or_load(request(), sliding, database)).payload == b"2"


async def test_the_store_learns_of_reads_too(make_cache, server, namespace):
    cache, database, wall = await make_cache(), Database(), Wall()
    cache._core.wall = wall
    loads, sliding = Loads(cache), policy(ttl=10.0, longest=100.0)
    await loads.get_or_load(request(), sliding, database)
    name = next(server.scan_iter(f"{namespace}*:e:*"))
    server.pexpire(name, 2000)
    wall.now += 5
    await loads.get_or_load(request(), sliding, database)
    await until(lambda: server.pttl(name) > 5000)
    assert server.pttl(name) <= 10_000


@pytest.mark.requirement("#175")
async def test_a_load_is_repeated_only_where_that_is_declared(make):
    cache, attempts = await make(), []
    cache.dice = lambda: 0.0

    async def load() -> Brought:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("away")
        return Brought(b"x")

    loads = Loads(cache)
    with pytest.raises(OSError, match="away"):
        await loads.get_or_load(request(), POLICY, load)
    assert len(attempts) == 1
    assert (await loads.get_or_load(request(), policy(retries=1), load)).payload == b"x"


async def test_what_the_bulkhead_has_no_room_for_is_stale_or_refused(make):
    wall = Wall()
    cache, database = await make(wall=wall), Database()
    loads = Loads(cache, bulkhead=Bulkhead(1, queue=0))
    lenient = policy(stale_if_error=600.0)
    await loads.get_or_load(request("old"), lenient, database)
    wall.now += 61
    database.gate.clear()
    busy = asyncio.create_task(loads.get_or_load(request("slow"), POLICY, database))
    await until(lambda: database.running == 1)
    with pytest.raises(OverloadedError) as refused:
        await loads.get_or_load(request("new"), POLICY, database)
    assert refused.value.retry_after >= 1
    assert (await loads.get_or_load(request("old"), lenient, database)).stale
    database.gate.set()
    await busy
    assert (await loads.get_or_load(request("new"), POLICY, database)).payload == b"3"


async def test_a_target_that_is_off_only_loads(make):
    loads, database = Loads(await make()), Database()
    off = policy(mode="off")
    assert (await loads.get_or_load(request(), off, database)).payload == b"1"
    assert (await loads.get_or_load(request(), off, database)).payload == b"2"


async def test_closing_ends_refreshes_under_way(make):
    wall = Wall()
    cache, database = await make(wall=wall), Database()
    loads, soft = Loads(cache), policy(soft_ttl=10.0)
    await loads.get_or_load(request(), soft, database)
    wall.now += 11
    database.gate.clear()
    await loads.get_or_load(request(), soft, database)
    await until(lambda: database.running == 1)
    await cache.aclose()
    assert database.running == 0
    with suppress(OverloadedError):
        await loads.get_or_load(request(), soft, Database())
