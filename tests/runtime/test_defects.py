"""What caches of this kind are known to get wrong, through the public API over a real server.

What other tests show already is not shown again here; `docs/explanation/defects.md` lists all of it, with the tests.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from tests.runtime.conftest import CALM
from tests.runtime.driving import until
from tests.runtime.topologies import ClusterOfThree

from cachewright import MISSING, Cache, InvalidationPendingError, LoadOptions, UsageError
from cachewright.runtime.settings import Settings


@pytest.fixture
async def make(namespace, valkey_url):
    """Caches over the shared server, each a process of its own as far as the protocol can tell."""
    made: list[Cache] = []

    def cache(url: str | None = valkey_url, name: str = namespace, **limits) -> Cache:
        made.append(Cache(url, namespace=name, settings=Settings(**{**CALM, **limits})))
        return made[-1]

    yield cache
    for one in made:
        await one.aclose()


async def test_deleting_one_key_leaves_the_keys_that_begin_like_it(make):
    cache = make()
    keys = ["user", "user:1", "user:1:tasks", "user:11", "users-admin", "user:1:"]
    await cache.set_many(dict.fromkeys(keys, "here"))
    assert await cache.delete("user:1") == 1
    assert await cache.get_many(keys) == {key: "here" for key in keys if key != "user:1"}


async def test_a_tag_ends_nothing_that_holds_one_beginning_like_it(make):
    cache = make()
    for tag in ("user:1", "user:11", "user:1:x", "users"):
        await cache.set(f"of {tag}", tag, tags=(tag,))
    await cache.invalidate("user:1")
    found = await cache.get_many([f"of {tag}" for tag in ("user:1", "user:11", "user:1:x", "users")])
    assert sorted(found.values()) == ["user:11", "user:1:x", "users"]


@pytest.mark.parametrize("place", ["memory", "server"])
async def test_signs_of_patterns_stand_for_themselves_in_tags(make, valkey_url, place):
    cache = make(valkey_url if place == "server" else None)
    tags = ["a+b", "aab", "a.b", "axb", "(", "[ab]", "a", "^", ".*", "a|b", "\\d", "?"]
    for tag in tags:
        await cache.set(f"of {tag}", tag, tags=(tag,))
    left = list(tags)
    for tag in tags:
        await cache.invalidate(tag)
        left.remove(tag)
        assert list((await cache.get_many([f"of {one}" for one in tags])).values()) == left


async def test_clearing_one_namespace_leaves_the_one_that_begins_like_it_and_foreign_keys(
    make, server, namespace
):
    one, other = make(), make(name=f"{namespace}-admins")
    server.set(foreign := f"{namespace}0", "somebody's")
    for cache in (one, other):
        await cache.set("k", "here")
    await one.invalidate_all()
    assert await one.get("k") is MISSING
    assert await other.get("k") == "here"
    assert server.get(foreign) == b"somebody's"


@pytest.mark.parametrize(
    "hostile",
    ["*", "a?", "[a-z]", "'", '"', "x') redis.call('FLUSHALL') --", "a b", "a\nb", "", "a:b", "{a}"],
)
async def test_a_namespace_is_a_name_and_never_a_pattern_or_a_program(hostile):
    with pytest.raises(UsageError):
        Cache("redis://localhost:1", namespace=hostile)


async def test_nothing_walks_the_keys_of_the_server_or_runs_a_program_on_it(own_server, make):
    server = own_server()
    with server.client() as client:
        client.config_resetstat()  # what was asked to see whether it is there
    cache = make(server.url)
    await cache.set_many({f"user:{n}:tasks": n for n in range(50)}, tags=("tasks",))
    await cache.get_many([f"user:{n}:tasks" for n in range(50)])
    await cache.get_or_load("k", lambda: 1, tags=("t",), options=LoadOptions(single_flight="fleet"))
    await cache.invalidate("tasks")
    await cache.invalidate_pattern("user:1:tasks:*")
    await cache.delete_user(2)
    await cache.delete_tenant("a")
    await cache.delete("k")
    await cache.invalidate_all()
    with server.client() as client:
        asked = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    ours = {"hello", "mget", "set", "unlink", "pexpire", "publish", "subscribe", "ping"}
    assert asked <= {*ours, "client|setinfo", "config|resetstat", "info"}


@dataclass
class Invoice:
    number: int
    due: date
    total: Decimal


KINDS = [
    None, 0, 0.0, False, "", b"", [], {}, (), set(), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1),
    UUID(int=7), Decimal("1.10"), {1: "a", None: ("b",)}, Invoice(1, date(2026, 1, 1), Decimal("0.10")),
]  # fmt: skip


@pytest.mark.parametrize("value", KINDS, ids=repr)
async def test_a_value_of_any_kind_is_loaded_once_and_comes_back_as_what_it_was(make, value):
    type_ = Invoice if isinstance(value, Invoice) else type(value)
    loads = []

    async def load():
        loads.append(1)
        return value

    for cache in (make(), make()):
        for _ in range(2):
            found = await cache.get_or_load("k", load, type_=type_)
            assert (found, type(found)) == (value, type(value))
    assert loads == [1]


async def test_two_caches_that_load_one_key_at_once_both_answer(make):
    one, other = make(), make()
    for number in range(20):
        key = f"k{number}"

        async def load() -> str:
            await asyncio.sleep(0)
            return "v"

        calls = [cache.get_or_load(key, load) for cache in (one, other) for _ in range(10)]
        assert await asyncio.gather(*calls) == ["v"] * 20


async def test_a_load_that_takes_longer_than_its_entry_lives_runs_once_for_all_who_wait(make):
    cache, loads, gate = make(), [], asyncio.Event()

    async def load() -> str:
        loads.append(1)
        await gate.wait()
        return "v"

    callers = [asyncio.create_task(cache.get_or_load("k", load, ttl=0.001)) for _ in range(100)]
    await until(lambda: loads)
    await asyncio.sleep(0.05)  # many of its lifetimes
    gate.set()
    assert await asyncio.gather(*callers) == ["v"] * 100
    assert loads == [1]


@pytest.mark.parametrize("ttl", [0.5, 1, 60, None])
async def test_what_the_server_holds_has_an_end_there(make, server, namespace, ttl):
    await make().set("user:1:k", "v", ttl=ttl)
    ends = {key: server.pttl(key) for key in server.scan_iter(f"{namespace}:*")}
    entry = ends.pop(f"{namespace}:1:e:user:1:k".encode(), None) or next(
        end for key, end in ends.items() if b":e:" in key
    )
    assert entry > 0
    for key, end in ends.items():  # the namespace is one; what a user, or a key, can make more of ends
        assert end > 0 or key.endswith(b":v:ns"), key


@pytest.mark.parametrize("protocol", [2, 3])
async def test_word_of_a_write_elsewhere_arrives_whatever_protocol_the_url_asks_for(
    make, valkey_url, protocol
):
    reader, writer = (make(f"{valkey_url}?protocol={protocol}", l1_lease=30.0) for _ in range(2))
    await writer.set("k", "old")
    assert [await reader.get("k") for _ in range(2)] == ["old", "old"]
    await writer.set("k", "new")
    async with asyncio.timeout(20):
        while await reader.get("k") != "new":
            await asyncio.sleep(0.01)


async def test_what_has_expired_takes_no_memory_although_nobody_asks_for_it(make):
    cache = make(None, sweep_interval=0.05)
    await cache.set_many({f"k{number}": "x" * 1000 for number in range(2000)}, ttl=0.01)
    await until(lambda: cache.engine.memory.size == 0)
    assert len(cache.engine.memory) == 0


async def test_memory_never_holds_more_than_it_was_given(make):
    cache = make(None, l1_items=100, l1_bytes=200_000)
    for number in range(2000):
        await cache.set(f"k{number}", "x" * 1500)
        assert len(cache.engine.memory) <= 100
        assert cache.engine.memory.size <= 200_000
    assert await cache.get("k1999") == "x" * 1500


async def test_a_short_lived_member_of_a_tag_does_not_take_the_tag_along(make, server, namespace):
    cache = make()
    await cache.set("long", "old", ttl=60, tags=("list:1",))
    await cache.set("short", "old", ttl=0.05, tags=("list:1",))
    await asyncio.sleep(0.1)
    await cache.invalidate("list:1")
    assert await cache.get("long") is MISSING


async def test_an_invalidation_while_the_server_is_away_is_told_and_holds_when_it_is_back(own_server, make):
    server = own_server(save="", appendonly="yes", appendfsync="always")
    cache = make(server.url, read_timeout=0.2, connect_timeout=0.2, replay_interval=0.05)
    await cache.set("k", "old")
    with server.frozen(), pytest.raises(InvalidationPendingError):
        await cache.delete("k")
    await until(lambda: not cache.engine.pending)
    assert await cache.get("k") is MISSING


async def test_a_function_that_is_lent_a_session_is_never_refreshed_with_a_closed_one(make):
    class Session:
        closed = False

        def read(self, number: int) -> int:
            assert not self.closed, "the session was closed when its caller left"
            return number

    cache, reads = make(), []

    @cache.cached(60, key="n:{number}", options=LoadOptions(soft_ttl=0.001))
    async def twice(number: int, session: Session) -> int:
        await asyncio.sleep(0)
        reads.append(session)
        return 2 * session.read(number)

    for times in range(1, 6):
        session = Session()
        assert await twice(1, session) == 2
        session.closed = True
        await asyncio.sleep(0.01)
        assert len(reads) == times, "each caller past the soft end loads with a session of his own"
    assert (await cache.get_stats()).counters["targets"].popitem()[1]["refreshes"] == 4


async def test_while_one_caller_refreshes_the_others_are_served_and_his_failure_is_nobodys(make):
    cache, began, gate, failing = make(), asyncio.Event(), asyncio.Event(), [False]

    @cache.cached(60, key="n:{number}", options=LoadOptions(soft_ttl=0.001))
    async def slow(number: int, session: object) -> str:
        if session is None:
            return "old"
        began.set()
        await gate.wait()
        if failing[0]:
            raise LookupError
        return "new"

    assert await slow(1, None) == "old"
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(slow(1, object()))
    await began.wait()
    assert [await slow(1, object()) for _ in range(5)] == ["old"] * 5
    gate.set()
    assert await waiting == "new"
    failing[0] = True
    await asyncio.sleep(0.01)
    assert await slow(1, object()) == "new"


@pytest.mark.faults
async def test_clearing_reaches_every_server_of_a_cluster(tmp_path, namespace):
    cluster = ClusterOfThree(tmp_path / "cluster")
    cluster.start()
    try:
        async with Cache(cluster.url, namespace=namespace, settings=Settings(**CALM)) as cache:
            keys = [f"tenant:a:user:{number}:tasks" for number in range(60)]
            others = [f"tenant:b:user:{number}:tasks" for number in range(60)]
            assert await cache.set_many(dict.fromkeys([*keys, *others], "here"), tags=("tasks",)) == 120
            assert len(await cache.get_many([*keys, *others])) == 120
            assert await cache.delete_tenant("a", physically=True) >= 60
            assert await cache.get_many(keys) == {}
            assert len(await cache.get_many(others)) == 60
            await cache.invalidate("tasks")
            assert await cache.get_many(others) == {}
            await cache.set_many(dict.fromkeys(keys, "here"))
            await cache.invalidate_all()
            assert await cache.get_many(keys) == {}
    finally:
        cluster.stop()
