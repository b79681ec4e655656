"""Writes that are in the database when they return, and what the cache makes of them."""

import asyncio
from datetime import UTC, datetime

import pytest
import redis.asyncio
from tests.servers import unguarded

from cachewright.errors import UsageError
from cachewright.runtime.server import Server
from cachewright.runtime.strategies import (
    CacheAside,
    Resource,
    SharedVersions,
    Versioning,
    WriteThrough,
)

VERSION = Versioning(version=lambda row: row["version"])


def resource(cache, table, strategy, **options) -> Resource:
    parts = {"load": table.load, "store": table.store, "delete": table.delete, "ttl": 60.0, **options}
    return Resource(cache, "rows", strategy=strategy, **parts)


@pytest.mark.parametrize("strategy", ["cache_through", "cache_aside", "write_through"])
@pytest.mark.parametrize("value", [[], 0, False, "", {}, None])
@pytest.mark.requirement("#86")
async def test_a_hit_gives_the_same_value_and_loads_once(make_cache, strategy, value):
    """Falsy values and None are hits like any other (#86, C31)."""
    loads = []

    async def load(key):
        loads.append(key)
        return value

    rows = Resource(make_cache(), "rows", load=load, strategy=strategy, ttl=60.0)
    for _ in range(3):
        found = await rows.get(1)
        assert found == value
        assert type(found) is type(value)
    assert loads == [1]


async def test_concurrent_misses_load_once(make_cache, table):
    table.rows[1] = {"text": "a", "version": 1}
    rows = resource(make_cache(), table, "cache_through")
    assert len(await asyncio.gather(*(rows.get(1) for _ in range(20)))) == 20
    assert table.loads == 1


@pytest.mark.requirement("#89", "#90", "#91", "C7")
async def test_cache_aside_stores_then_invalidates(make_cache, table):
    rows = resource(make_cache(), table, "cache_aside")
    table.rows[1] = {"text": "old", "version": 0}
    assert (await rows.get(1))["text"] == "old"
    written = await rows.set(1, {"text": "new"})
    assert (written.stored, written.entry) == (True, "invalidated")
    assert table.loads == 1
    assert (await rows.get(1))["text"] == "new"
    assert table.loads == 2


@pytest.mark.parametrize("strategy", ["cache_through", CacheAside(populate_on_write=True), "write_through"])
async def test_without_versions_a_write_is_read_back_and_the_next_read_is_a_hit(make_cache, table, strategy):
    rows = resource(make_cache(), table, strategy)
    assert (await rows.set(1, {"text": "new"})).entry == "filled"
    loads = table.loads
    assert await rows.get(1) == {"text": "new", "version": 1}
    assert table.loads == loads


@pytest.mark.requirement("#93", "#94")
async def test_write_through_never_loads_what_it_wrote(make_cache, table, versions):
    """The value in the cache is the row as it was stored, with its version (#93, #94)."""
    cache = make_cache()
    rows = resource(cache, table, "write_through", versioning=VERSION, versions=versions)
    for text in "abc":
        assert (await rows.set(1, {"text": text})).entry == "filled"
        assert (await rows.get(1))["text"] == text
    assert table.loads == 0


@pytest.mark.parametrize("strategy", ["cache_through", "cache_aside", WriteThrough(counted=True)])
@pytest.mark.requirement("#93", "#95")
async def test_a_store_that_fails_leaves_the_cache_as_it_was(make_cache, table, strategy):
    rows = resource(make_cache(), table, strategy)
    table.rows[1] = {"text": "old", "version": 0}
    await rows.get(1)

    async def fails(*_):
        raise ConnectionError("the database is away")

    broken = resource(rows_cache(rows), table, strategy, store=fails)
    with pytest.raises(ConnectionError):
        await broken.set(1, {"text": "new"})
    assert (await rows.get(1))["text"] == "old"
    assert table.loads == 1


def rows_cache(rows: Resource):
    return rows._through._cached.entries


@pytest.mark.requirement("#95", "C9")
async def test_the_later_commit_stays_whatever_the_order_of_cache_writes(make_cache, table, versions):
    """A writer that stalls after its commit never puts its value over that of one that committed later (#109)."""
    cache = make_cache()
    stalled, go = asyncio.Event(), asyncio.Event()

    async def stalling(key, value):
        row = await table.store(key, value)
        stalled.set()
        await go.wait()
        return row

    slow = resource(cache, table, "write_through", versioning=VERSION, versions=versions, store=stalling)
    rows = resource(cache, table, "write_through", versioning=VERSION, versions=versions)
    first = asyncio.create_task(slow.set(1, {"text": "first"}))
    await stalled.wait()
    await rows.set(1, {"text": "second"})
    go.set()
    await first
    assert (await rows.get(1))["text"] == "second"


async def test_a_writer_that_stalls_over_a_deletion_does_not_revive_the_row(make_cache, table, versions):
    cache = make_cache()
    stalled, go = asyncio.Event(), asyncio.Event()

    async def stalling(key, value):
        row = await table.store(key, value)
        stalled.set()
        await go.wait()
        return row

    slow = resource(cache, table, "write_through", versioning=VERSION, versions=versions, store=stalling)
    rows = resource(cache, table, "write_through", versioning=VERSION, versions=versions)
    first = asyncio.create_task(slow.set(1, {"text": "first"}))
    await stalled.wait()
    await rows.delete(1)
    go.set()
    await first
    assert await rows.get(1) is None


async def test_versions_that_two_writes_share_are_read_back(make_cache, table):
    """Times in whole seconds tell two writes of a second apart for nobody."""
    rows = resource(make_cache(), table, "write_through", versioning=Versioning(version=lambda _: 7))
    await rows.set(1, {"text": "a"})
    assert table.loads == 0
    await rows.set(1, {"text": "b"})
    assert table.loads == 1
    assert (await rows.get(1))["text"] == "b"


@pytest.mark.requirement("#109")
async def test_a_lower_counted_version_is_refused_and_the_cache_shows_the_row(make_cache, table):
    rows = resource(make_cache(), table, WriteThrough(counted=True), store=table.store_newer)
    assert (await rows.set(1, {"text": "a"})).stored
    table.rows[1] = {"text": "newer", "version": 2**52}
    assert not (await rows.set(1, {"text": "b"})).stored
    assert (await rows.get(1))["text"] == "newer"


@pytest.mark.requirement("#95", "C9")
async def test_concurrent_writers_converge(make_cache, table, shared_versions):
    """Whatever the interleaving of two processes, the cache ends with what the database has (#95)."""
    caches = [make_cache(), make_cache()]
    for cache in caches:
        await cache.get("warm")
    both = [
        resource(cache, table, "write_through", versioning=VERSION, versions=shared_versions)
        for cache in caches
    ]
    for round_ in range(10):
        writes = [both[n % 2].set(1, {"text": f"{round_}.{n}"}) for n in range(6)]
        await asyncio.gather(*writes)
        for rows in both:
            assert await rows.get(1) == table.rows[1]


@pytest.mark.requirement("#108", "#238")
async def test_compare_versions_treats_an_older_entry_as_a_miss(make_cache, table):
    """Also where the row was changed past the cache (#108)."""
    versioning = Versioning(version=lambda row: row["version"], current=table.current, compare=True)
    rows = resource(make_cache(), table, "cache_aside", versioning=versioning)
    table.rows[1] = {"text": "old", "version": 1}
    assert (await rows.get(1))["text"] == "old"
    assert (await rows.get(1))["text"] == "old"
    assert table.loads == 1
    table.rows[1] = {"text": "new", "version": 2}
    assert (await rows.get(1))["text"] == "new"
    del table.rows[1]
    assert await rows.get(1) is None
    loads = table.loads
    assert await rows.get(1) is None
    assert table.loads == loads


@pytest.mark.requirement("#238")
async def test_invalidate_on_change_asks_no_version_for_a_read(make_cache, table):
    """Without comparing, an entry stays until it is written, or its time is over."""
    rows = resource(make_cache(), table, "cache_aside", versioning=VERSION)
    table.rows[1] = {"text": "old", "version": 1}
    await rows.get(1)
    table.rows[1] = {"text": "past the cache", "version": 2}
    assert (await rows.get(1))["text"] == "old"
    await rows.set(1, {"text": "new"})
    assert (await rows.get(1))["text"] == "new"


@pytest.mark.requirement("#67", "#107", "#215")
async def test_a_version_in_the_key_makes_older_entries_unreachable(make_cache, table):
    """(#107)."""
    versioning = Versioning(version=lambda row: row["version"], current=table.current, in_key=True)
    rows = resource(make_cache(), table, "cache_aside", versioning=versioning)
    for version, text in ((1, "a"), (2, "b")):
        table.rows[1] = {"text": text, "version": version}
        assert (await rows.get(1))["text"] == text
        assert (await rows.get(1))["text"] == text
    assert table.loads == 2


async def test_times_are_versions(make_cache, table):
    rows = resource(
        make_cache(),
        table,
        "write_through",
        versioning=Versioning(version=lambda row: datetime.fromtimestamp(row["version"], UTC)),
    )
    await rows.set(1, {"text": "a"})
    await rows.set(1, {"text": "b"})
    assert (await rows.get(1))["text"] == "b"
    assert table.loads == 0


@pytest.mark.requirement("#112", "#113")
async def test_a_write_touches_the_lists_its_row_occurs_in(make_cache, table):
    cache = make_cache()
    rows = resource(cache, table, "cache_aside", touched=lambda _: ("all-rows",))
    await cache.set("list", ["a"], ttl=60.0, tags=("all-rows",))
    await rows.set(1, {"text": "b"})
    assert not await cache.get("list")


async def test_a_cache_that_is_away_fails_no_write(own_server, make_cache, table):
    """The database took it; the answer says that other processes may lag (C9)."""
    server = own_server()
    cache = make_cache(server.url)
    order = Server(server.url, timeout=1.0)
    versions = SharedVersions(order.send, "version:")
    rows = resource(cache, table, "write_through", versioning=VERSION, versions=versions)
    await rows.set(1, {"text": "a"})
    server.kill()
    written = await rows.set(1, {"text": "b"})
    assert (written.stored, written.entry) == (True, "delayed")
    assert (await rows.get(1))["text"] == "b"
    await order.aclose()


async def test_def_functions_run_beside_the_loop(make_cache):
    """A blocking database call of a `def` store does not stop the event loop."""
    import threading

    threads = set()

    def load(key):
        threads.add(threading.get_ident())
        return key

    rows = Resource(make_cache(), "rows", load=load, store=lambda *_: load(0), ttl=60.0)
    assert await rows.get(5) == 5
    await rows.set(5, 6)
    assert threading.get_ident() not in threads


async def test_what_cannot_be_done_says_so(make_cache, table):
    cache = make_cache()
    with pytest.raises(UsageError, match="no strategy"):
        Resource(cache, "rows", load=table.load, strategy="write_around", ttl=1.0)
    with pytest.raises(UsageError, match="where accepted writes are kept"):
        Resource(cache, "rows", load=table.load, strategy="write_back", ttl=1.0)
    with pytest.raises(UsageError, match="no store"):
        await Resource(cache, "rows", load=table.load, ttl=1.0).set(1, 2)
    with pytest.raises(UsageError, match="no delete"):
        await Resource(cache, "rows", load=table.load, ttl=1.0).delete(1)
    with pytest.raises(UsageError, match="nothing says which one is current"):
        Versioning(version=lambda _: 1, compare=True)
    with pytest.raises(UsageError, match="a key of the resource"):
        await Resource(cache, "rows", load=table.load, ttl=1.0).get(object())


async def test_the_caches_of_one_server_order_their_writes_together(make_cache, table, valkey_url):
    """What another process wrote later is what stays, whoever loads last."""
    one, other = make_cache(), make_cache()
    parts = {"load": table.load, "store": table.store, "delete": table.delete, "versioning": VERSION}
    mine, theirs = (
        cache.resource("rows", ttl=60.0, strategy="write_through", **parts) for cache in (one, other)
    )

    await mine.set(1, {"text": "a"})
    await theirs.set(1, {"text": "b"})

    assert (await mine.get(1))["text"] == (await theirs.get(1))["text"] == "b"
    async with redis.asyncio.from_url(unguarded(valkey_url)) as client:
        assert await client.keys(f"{one.engine.namespace}:versions:*")
