"""The cache as code uses it, in memory and over a server."""

import asyncio
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.runtime.driving import until

from cachewright import (
    MISSING,
    Cache,
    InvalidationPendingError,
    LoadOptions,
    Settings,
    StoreUnavailableError,
    UsageError,
    ValueRefusedError,
)

CALM = {"read_timeout": 5.0, "connect_timeout": 5.0}


@pytest.fixture(params=["memory", "server"])
def url(request, valkey_url) -> str | None:
    return None if request.param == "memory" else valkey_url


@pytest.fixture
async def make(namespace, url):
    """Caches of one namespace; over a server each is a process of its own as far as the protocol can tell."""
    made: list[Cache] = []

    def cache(place: str | None = url, *, limits: dict | None = None, **options) -> Cache:
        own = Settings(**{**CALM, **(limits or {})})
        made.append(Cache(place, namespace=namespace, settings=own, **options))
        return made[-1]

    yield cache
    for one in made:
        await one.aclose()


class Gate:
    """A load that waits until it is let through, and returns what was true when it began."""

    def __init__(self, value) -> None:
        self.value, self.calls = value, 0
        self.began, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self):
        self.calls += 1
        value = self.value
        self.began.set()
        await self.may_end.wait()
        return value


@pytest.mark.requirement("#330", "#331", "#332")
async def test_what_was_set_is_got_until_it_is_deleted(make):
    cache = make()
    assert await cache.get("user:1:name") is MISSING
    assert await cache.set("user:1:name", "Ada", ttl=60)
    assert await cache.get("user:1:name") == "Ada"
    assert await cache.delete("user:1:name", "user:2:name") == 1
    assert await cache.get("user:1:name") is MISSING
    assert await cache.delete("user:1:name") == 0


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, b""])
@pytest.mark.requirement("#86", "#327", "#330", "C31")
async def test_values_that_look_like_nothing_are_values(make, value):
    cache = make()
    await cache.set("k", value)
    found = await cache.get("k")
    assert found == value
    assert type(found) is type(value)
    assert await cache.get_or_load("k", lambda: pytest.fail("it was there")) == value


async def test_missing_is_false_and_says_what_it_is():
    assert not MISSING
    assert repr(MISSING) == "cachewright.MISSING"


@dataclass
class Task:
    title: str
    due: datetime


async def test_a_class_comes_back_as_itself_where_its_type_is_named(make):
    cache, task = make(), Task("write", datetime(2026, 1, 2, tzinfo=UTC))
    await cache.set("task:1", task, type_=Task)
    assert await cache.get("task:1", Task) == task


async def test_a_value_that_its_type_cannot_hold_is_refused_and_an_object_is_never_guessed(make):
    cache = make()
    with pytest.raises(ValueRefusedError):
        await cache.set("k", object())
    with pytest.raises(ValueRefusedError):
        await cache.get_or_load("k", object)
    assert await cache.get("k") is MISSING


async def test_a_value_of_another_type_gives_way_to_the_one_that_is_asked_for(make):
    cache = make()
    await cache.set("k", "text", ttl=None)
    task = Task("write", datetime(2026, 1, 2, tzinfo=UTC))
    assert await cache.get("k", Task) is MISSING
    assert await cache.get_or_load("k", lambda: task, type_=Task) == task
    assert await cache.get_or_load("k", lambda: task, type_=Task) == task
    assert await cache.get("k", Task) == task


@pytest.mark.requirement("#329")
async def test_changing_a_value_that_was_handed_out_changes_no_entry(make):
    """A13, for each way a value leaves the cache."""
    cache, loaded = make(), [[1]]
    first = await cache.get_or_load("k", lambda: loaded)
    first[0].append(2)
    loaded[0].append(3)
    second = await cache.get_or_load("k", lambda: pytest.fail("it was there"))
    second.append(4)
    assert await cache.get("k") == [[1]]
    given = {"a": [1]}
    await cache.set("s", given)
    given["a"].append(2)
    (await cache.get("s"))["a"].append(3)
    (await cache.get_many(["s"]))["s"]["a"].append(4)
    assert await cache.get("s") == {"a": [1]}


async def test_memory_holds_as_many_as_there_is_room_for(namespace):
    keys = [f"k{number}" for number in range(12_000)]
    async with Cache(namespace=namespace, settings=Settings(l1_items=12_000)) as cache:
        for at in range(0, 12_000, 500):
            await cache.set_many(dict.fromkeys(keys[at : at + 500], "x"))
        assert len(await cache.get_many(keys)) == 12_000


@pytest.mark.requirement("#410", "C34")
async def test_several_are_set_and_got_at_once(make):
    cache = make()
    entries = {f"item:{number}": number for number in range(300)}
    assert await cache.set_many(entries, ttl=60, tags=("items",)) == 300
    assert await cache.get_many([*entries, "item:none", "item:7"]) == entries
    assert await cache.invalidate("items") == 1
    assert await cache.get_many(entries) == {}
    assert await cache.set_many({}) == 0
    assert await cache.get_many([]) == {}


@pytest.mark.parametrize("ttl", [0, -1, 0.0, math.nan, math.inf, True, "60"])
@pytest.mark.requirement("#331")
async def test_a_ttl_that_is_none_is_refused(make, ttl):
    cache = make()
    with pytest.raises(UsageError, match="TTL"):
        await cache.set("k", 1, ttl=ttl)
    with pytest.raises(UsageError, match="TTL"):
        cache.cached(ttl)
    with pytest.raises(UsageError, match="TTL"):
        Cache(ttl=ttl)


@pytest.mark.parametrize("ttl", [0.0004, 0.4, 1, 9.9])
async def test_a_short_ttl_never_rounds_to_none(make, url, server, namespace, ttl):
    """A17: fractions stay, the server's own expiry included."""
    cache = make()
    clock = cache.engine._core
    now = clock.wall()
    clock.wall = lambda: now
    await cache.set("k", 1, ttl=ttl)
    if url is not None and ttl >= 0.4:
        assert 0 < server.pttl(f"{namespace}:1:e:k") <= math.ceil(ttl * 1000)
    assert await cache.get("k") == 1 or ttl < 0.1
    clock.wall = lambda: now + ttl
    assert await cache.get("k") is MISSING


@pytest.mark.requirement("#76", "#149", "#331")
async def test_none_is_no_expiry_and_no_word_is_the_default(make):
    cache = make(ttl=10)
    clock = cache.engine._core
    now = clock.wall()
    await cache.set("for-ever", 1, ttl=None)
    await cache.set("by-default", 1)
    clock.wall = lambda: now + 1_000_000
    assert await cache.get("for-ever") == 1
    assert await cache.get("by-default") is MISSING


@pytest.mark.parametrize("how", ["delete", "set", "tag", "pattern", "all", "tenant", "user"])
async def test_a_load_that_began_before_an_invalidation_is_not_served_after_it(make, url, how):
    """A1, by whatever another process may say."""
    cache, other = make(), make() if url else None
    other = other or cache
    key, gate = "tenant:a:user:1:tasks:page=1", Gate("old")
    loading = asyncio.create_task(cache.get_or_load(key, gate, ttl=None, tags=("tasks(user_id=1)",)))
    await gate.began.wait()
    await {
        "delete": lambda: other.delete(key),
        "set": lambda: other.set(key, "new", ttl=None),
        "tag": lambda: other.invalidate("tasks(user_id=1)"),
        "pattern": lambda: other.invalidate_pattern("tenant:a:user:1:tasks:*"),
        "all": other.invalidate_all,
        "tenant": lambda: other.delete_tenant("a"),
        "user": lambda: other.delete_user(1, tenant="a"),
    }[how]()
    gate.may_end.set()
    assert await loading == "old"
    for each in (cache, other):
        assert await each.get_or_load(key, lambda: "new", ttl=None, tags=("tasks(user_id=1)",)) == "new"


@pytest.mark.parametrize("how", ["delete", "set", "tag"])
@pytest.mark.requirement("#103")
async def test_an_entry_that_is_there_is_gone_everywhere_after_an_invalidation(make, url, how):
    cache, other = make(), make() if url else None
    other = other or cache
    await cache.get_or_load("k", lambda: "old", tags=("t",))
    for each in (cache, other):
        assert await each.get("k") == "old"
    await {
        "delete": lambda: other.delete("k"),
        "set": lambda: other.set("k", "new"),
        "tag": lambda: other.invalidate("t"),
    }[how]()
    assert await other.get("k") == ("new" if how == "set" else MISSING)
    lease = cache.engine.settings.l1_lease

    async def gone() -> bool:
        return await cache.get("k") != "old"

    if url is not None:  # a copy in memory may lag by its lease at the very most
        cache.engine._core.boottime = lambda boot=cache.engine._core.boottime: boot() + lease
    assert await gone()


async def test_a_set_that_came_later_wins_over_a_load_that_is_under_way(make):
    cache, gate = make(), Gate("old")
    loading = asyncio.create_task(cache.get_or_load("k", gate))
    await gate.began.wait()
    await cache.set("k", "new")
    gate.may_end.set()
    await loading
    assert await cache.get("k") == "new"


async def test_a_hundred_callers_make_one_load(make):
    """A5, within a process."""
    cache, gate = make(), Gate({"answer": 42})
    callers = [asyncio.create_task(cache.get_or_load("k", gate)) for _ in range(100)]
    await gate.began.wait()
    gate.may_end.set()
    assert await asyncio.gather(*callers) == [{"answer": 42}] * 100
    assert gate.calls == 1


async def test_two_caches_of_a_fleet_make_one_load(make, url):
    cache, other, gate = make(), make(), Gate("v")
    options = LoadOptions(single_flight="fleet")
    callers = [
        asyncio.create_task(each.get_or_load("k", gate, options=options))
        for each in (cache, other)
        for _ in range(5)
    ]
    await gate.began.wait()
    gate.may_end.set()
    assert await asyncio.gather(*callers) == ["v"] * 10
    assert gate.calls == (1 if url else 2)


async def test_callers_get_the_value_although_the_first_one_was_cancelled(make):
    """A6."""
    cache, gate = make(), Gate("v")
    first, *others = [asyncio.create_task(cache.get_or_load("k", gate)) for _ in range(5)]
    await gate.began.wait()
    first.cancel()
    gate.may_end.set()
    assert await asyncio.gather(*others) == ["v"] * 4
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.requirement("#328")
async def test_what_a_load_raises_is_raised_and_never_cached(make):
    cache = make()

    def fail() -> int:
        raise LookupError("no such row")

    with pytest.raises(LookupError, match="no such row"):
        await cache.get_or_load("k", fail)
    assert await cache.get_or_load("k", lambda: 1) == 1


async def test_a_load_may_return_a_value_or_an_awaitable_and_its_first_answer_is_like_the_later_ones(make):
    cache = make()

    async def load() -> tuple[int, ...]:
        return (1, 2)

    assert await cache.get_or_load("a", load) == (1, 2)
    assert await cache.get_or_load("b", lambda: (1, 2)) == (1, 2)
    assert await cache.get("a") == await cache.get("b") == (1, 2)


@pytest.mark.parametrize(
    "key", ["hello world", "a*", "q?", "{x}", "tab\there", "ü b", "x" * 2000, "%~20", "\0"]
)
async def test_any_text_is_a_key(make, key):
    cache = make()
    await cache.set(key, key)
    assert await cache.get(key) == key
    assert await cache.delete(key) == 1


@pytest.mark.parametrize("key", ["", None, 7, b"k", "user::tasks", "tenant:"])
async def test_what_is_no_key_is_refused(make, key):
    with pytest.raises(UsageError):
        await make().get(key)


async def test_a_wildcard_in_a_key_or_tag_stands_for_itself(make):
    """A10."""
    cache = make()
    await cache.set_many({"user:1:tasks": 1, "user:2:tasks": 2, "user:*:tasks": 3}, tags=("t",))
    assert await cache.delete("user:*:tasks") == 1
    assert await cache.invalidate("user:1*", "*") == 0
    assert await cache.get_many(["user:1:tasks", "user:2:tasks"]) == {"user:1:tasks": 1, "user:2:tasks": 2}


@pytest.mark.requirement("#104", "#105", "#333", "C27")
async def test_a_pattern_reaches_a_collection_and_nothing_beside_it(make):
    cache = make()
    keys = (
        "user:1:tasks",
        "user:1:tasks:page=1",
        "user:1:tasksheet",
        "user:1:profile",
        "user:11:tasks",
        "tenant:a:user:1:tasks",
    )
    await cache.set_many(dict.fromkeys(keys, 1))
    assert await cache.invalidate_pattern("user:1:tasks:*") == 1
    assert list(await cache.get_many(keys)) == list(keys[2:])
    await cache.invalidate_pattern("user:1:*")
    assert list(await cache.get_many(keys)) == list(keys[4:])
    await cache.invalidate_pattern("tenant:a:*")
    assert list(await cache.get_many(keys)) == ["user:11:tasks"]


@pytest.mark.parametrize(
    "pattern",
    ["*", "user:*", "user:*:tasks", "user:*:tasks:*", "tasks:*", "user:1", "user:1:tasks:page=1:*", "user:1:ta*", "",
     "user:1:a b:*", "tenant:a:user:[12]:*", None],
)  # fmt: skip
async def test_other_patterns_are_refused_with_a_way_out(make, pattern):
    with pytest.raises(UsageError, match="user:ID:tasks") as refused:
        await make().invalidate_pattern(pattern)
    assert refused.value.code == "CWE410"


@pytest.mark.requirement("#106", "#334")
async def test_all_of_a_namespace_goes_and_nothing_of_another(make, url, namespace):
    cache = make()
    other = Cache(url, namespace=f"{namespace}x", settings=Settings(**CALM))
    async with other:
        for each in (cache, other):
            await each.set("k", 1)
        await cache.invalidate_all()
        assert await cache.get("k") is MISSING
        assert await other.get("k") == 1


async def test_an_entry_outlives_the_shorter_ones_of_its_tag_and_goes_with_it(make):
    """A11."""
    cache = make()
    await cache.set("long", 1, ttl=60, tags=("t",))
    await cache.set("short", 1, ttl=0.001, tags=("t",))
    await cache.invalidate("t")
    assert await cache.get("long") is MISSING


async def test_bounds_refuse_to_store_and_say_so_but_never_to_load(make):
    cache = make(limits={"entry_tags": 2, "value_bytes": 100})
    assert not await cache.set("large", "x" * 200)
    assert await cache.get_or_load("large", lambda: "x" * 200) == "x" * 200
    assert not await cache.set("many", 1, tags=("a", "b", "c"))
    assert await cache.get_or_load("many", lambda: [1], tags=("a", "b", "c")) == [1]
    assert await cache.get_many(["large", "many"]) == {}
    refused = (await cache.get_stats()).counters["targets"]["keys"]["refused"]
    assert refused == {"too_large": 2, "too_many_tags": 2}


async def test_a_read_of_what_is_not_there_leaves_nothing_behind(make, server, namespace, url):
    cache = make()
    for number in range(10):
        assert await cache.get(f"made-up:{number}") is MISSING
    if url is not None:
        assert list(server.scan_iter(f"{namespace}:*")) == []


async def test_the_cache_closes_twice_and_opens_again(make):
    cache = make()
    async with cache:
        await cache.set("k", 1)
    await cache.aclose()
    assert await cache.get_or_load("other", lambda: 2) == 2
    async with cache:
        await cache.set("k", 3)
        assert await cache.get("k") == 3


@pytest.mark.requirement("#397")
async def test_a_server_that_is_away_makes_misses_and_invalidations_that_are_told(own_server, namespace):
    server = own_server()
    limits = Settings(
        read_timeout=0.5, connect_timeout=0.5, retry_budget=0.0, l1_lease=0.2, replay_interval=0.05
    )
    async with Cache(server.url, namespace=namespace, settings=limits) as cache:
        await cache.set("k", "old", ttl=None, tags=("t",))
        server.kill()
        await until(lambda: not cache.engine.hears)
        assert await cache.get("k") is MISSING
        assert await cache.get_or_load("k", lambda: "fresh") == "fresh"
        assert not await cache.set("k", "new")
        with pytest.raises(InvalidationPendingError):
            await cache.invalidate("t")
        with pytest.raises(InvalidationPendingError):
            await cache.delete("k")
        assert (await cache.health()).cache_status == "down"
        with pytest.raises((InvalidationPendingError, StoreUnavailableError)):
            await cache.delete_user(1, physically=True)
        server.start()
        await until(lambda: not cache.engine.pending)
        assert await cache.get("k") is MISSING
        await until(lambda: cache.engine.hears)
        assert (await cache.health()).cache_status == "healthy"


async def test_an_invalidation_that_was_not_delivered_outlives_its_process(
    own_server, namespace, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    server = own_server()
    async with Cache(server.url, namespace=namespace, settings=Settings(read_timeout=5.0)) as reader:
        await reader.set("k", "old", ttl=None, tags=("t",))
        async with Cache(server.url, namespace=namespace) as writer:
            with server.frozen():
                with pytest.raises(InvalidationPendingError):
                    await writer.invalidate("t")
                await writer.aclose()  # it never comes to repeat it
        assert list((tmp_path / "cachewright").iterdir())
        async with Cache(server.url, namespace=namespace) as heir:
            await until(lambda: not heir.engine.pending)
        await until(lambda: reader.peek("k") is MISSING)
        assert await reader.get("k") is MISSING


SPEC = Path(__file__).with_name("api_spec.yaml")


@pytest.mark.requirement("#375")
async def test_a_specification_gives_namespace_times_sizes_and_targets(url):
    cache = Cache.from_spec(SPEC, redis_url=url)
    async with cache:
        engine = cache.engine
        assert engine.namespace == "shop"
        assert (engine.settings.l1_items, engine.settings.l1_lease) == (77, 0.5)
        loads = 0

        @cache.cached(target="order totals")
        async def totals(user_id: int, year: int) -> dict[str, int]:
            nonlocal loads
            loads += 1
            return {"sum": year}

        assert cache.key_of(totals, 7, 2026) == "user:7:totals:year=2026"
        assert await totals(7, 2026) == await totals(7, 2026) == {"sum": 2026}
        assert loads == 1
        await cache.invalidate("orders(user_id=7)")
        await totals(7, 2026)
        assert loads == 2
        await cache.invalidate_all()


async def test_a_target_that_a_specification_does_not_name_is_refused():
    with pytest.raises(UsageError, match="order totals"):
        Cache.from_spec(SPEC).cached(target="ordertotals")


async def test_a_resource_is_read_and_written_through_the_cache(make):
    cache, rows, loads = make(), {1: "old"}, []

    def load(number: int) -> str | None:
        loads.append(number)
        return rows.get(number)

    tasks = cache.resource("tasks", load=load, store=rows.__setitem__, ttl=60)
    assert [await tasks.get(1), await tasks.get(1)] == ["old", "old"]
    await tasks.set(1, "new")
    assert (await tasks.get(1), rows, loads) == ("new", {1: "new"}, [1, 1])


async def test_a_value_without_a_word_on_its_type_is_read_as_what_it_is(make):
    cache, task = make(), Task("write", datetime(2026, 1, 2, tzinfo=UTC))
    await cache.set_many({"text": "a", "task": task, "list": [1]})
    assert (await cache.get("text", str), await cache.get("text", str | None)) == ("a", "a")
    assert await cache.get("text", int) is MISSING
    assert await cache.get("task", Task) == task
    assert await cache.get("list", list[int]) == [1]
    with pytest.raises(ValueRefusedError, match="Task"):
        await cache.set("tasks", [task])
    await cache.set("tasks", [task], type_=list[Task])
    assert await cache.get("tasks", list[Task]) == [task]


@pytest.mark.parametrize("change", ["hold", "drop", "forget", "expire", "lease", "silence", "evict"])
async def test_what_was_served_from_memory_is_served_again_only_while_nothing_changed(
    namespace, valkey_url, change
):
    """Repeated hits skip what an unchanged epoch has proven; everything else is looked at each time."""
    async with Cache(valkey_url, namespace=namespace, settings=Settings(**CALM, l1_lease=3600.0)) as cache:
        engine, core = cache.engine, cache.engine._core
        now, boot = core.wall(), core.boottime()
        await cache.get_or_load("k", lambda: 1, ttl=600, tags=("t",))
        assert [cache.peek("k") for _ in range(3)] == [1, 1, 1]
        match change:
            case "hold":
                engine.hold(["t"])
            case "drop":
                core.drop(["t"])
            case "forget":
                engine.tokens.forget()
            case "expire":
                core.wall = lambda: now + 661
            case "lease":
                core.boottime = lambda: boot + 3601
                core.heard = lambda _now: True
            case "silence":
                core.heard = lambda _now: False
            case "evict":
                core.l1.discard("k")
        assert [cache.peek("k") for _ in range(2)] == [MISSING, MISSING]


async def test_a_value_that_was_replaced_is_never_served_from_memory_again(make):
    """Also where no tag changed: an entry that was loaded anew takes the place of the one before."""
    cache = make()
    clock = cache.engine._core
    now = clock.wall()
    options = LoadOptions(soft_ttl=10)
    values = iter([1, 2])
    assert await cache.get_or_load("k", lambda: next(values), ttl=600, options=options) == 1
    assert [await cache.get("k"), await cache.get("k")] == [1, 1]
    clock.wall = lambda: now + 20
    assert await cache.get_or_load("k", lambda: next(values), ttl=600, options=options) == 1
    await until(lambda: not len(cache.engine.refreshes))
    assert await cache.get("k") == 2
