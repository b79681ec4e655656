"""A network that swallows, delays and keeps silent, seen through the public cache: never wrong, never a hang."""

import asyncio
from collections import Counter

import pytest
from tests.runtime.driving import until
from tests.runtime.proxy import Proxy

from cachewright import Cache, InvalidationPendingError, Settings
from cachewright.runtime.settings import boottime

QUICK = {"read_timeout": 0.1, "connect_timeout": 0.1, "retry_budget": 0.05, "replay_interval": 0.05}
CALM = Settings(read_timeout=5.0, connect_timeout=5.0)
HANG = 10.0


@pytest.fixture
async def proxy(own_server):
    async with Proxy(own_server().port).open() as proxy:
        yield proxy


def direct(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy._target}"


async def test_a_network_that_swallows_everything_costs_misses_and_kept_invalidations_and_no_stale_answer(
    proxy, namespace
):
    here = Cache(proxy.url, namespace=namespace, settings=Settings(**QUICK, l1_lease=0.2))
    there = Cache(direct(proxy), namespace=namespace, settings=CALM)
    async with here, there:
        assert await here.get_or_load("k", lambda: 1, tags=("t",)) == 1
        assert await there.get_or_load("k", lambda: 0, tags=("t",)) == 1
        proxy.swallows = True
        async with asyncio.timeout(HANG):
            for number in range(30):
                assert await here.get_or_load(f"k{number}", lambda n=number: n) == number
            with pytest.raises(InvalidationPendingError):
                await here.invalidate("t")
            assert await here.get_or_load("k", lambda: 2, tags=("t",)) == 2
            changed = await there.invalidate("t")
            assert changed == 1
            assert await there.get_or_load("k", lambda: 3, tags=("t",)) == 3
            await until(lambda: here.peek("k") != 1)
            assert await here.get_or_load("k", lambda: 4, tags=("t",)) == 4
        proxy.swallows = False
        await until(lambda: here.engine.pending == 0)
        await until(lambda: here.engine.hears)
        assert await there.get_or_load("k", lambda: 5, tags=("t",)) == 5, "what was kept was delivered"
        assert await here.get_or_load("k", lambda: 6, tags=("t",)) == 5


async def test_a_bus_that_falls_silent_ends_the_trust_in_copies_within_their_lease(proxy, namespace):
    lease = 0.3
    here = Cache(
        proxy.url,
        namespace=namespace,
        settings=Settings(read_timeout=5.0, connect_timeout=5.0, l1_lease=lease),
    )
    there = Cache(direct(proxy), namespace=namespace, settings=CALM)
    async with here, there:
        await here.get_or_load("k", lambda: "old", tags=("t",))
        proxy.swallows = True
        await there.invalidate("t")
        returned = boottime()
        while (asked := boottime()) < returned + 2 * lease:
            if here.peek("k") == "old":
                assert asked < returned + lease
            await asyncio.sleep(0.001)
        proxy.swallows = False


async def test_an_answer_that_comes_after_the_word_of_its_invalidation_is_kept_nowhere(proxy, namespace):
    here = Cache(
        proxy.url, namespace=namespace, settings=Settings(**{**QUICK, "read_timeout": 5.0}, l1_lease=30.0)
    )
    there = Cache(direct(proxy), namespace=namespace, settings=CALM)
    async with here, there:
        await there.get_or_load("k", lambda: "old", tags=("t",))
        proxy.delay = 0.3
        asking = asyncio.create_task(here.get_or_load("k", lambda: "new", tags=("t",)))
        await asyncio.sleep(0.1)
        proxy.delay = (
            0.0  # the answer that is on its way still takes its time, what follows on other lines does not
        )
        await there.invalidate("t")
        assert await asking in {"old", "new"}, "it was asked before"
        assert here.peek("k") != "old"
        assert await here.get_or_load("k", lambda: "new", tags=("t",)) == "new"


async def test_ten_thousand_cancellations_give_nobody_anothers_answer_and_open_no_connections(
    proxy, namespace
):
    # A bus that is found silent is opened again, and what was invalidated lately (by `set_many`) is then repeated.
    patient = Settings(read_timeout=30.0, connect_timeout=30.0, l1_items=0, l1_lease=60.0)
    async with Cache(proxy.url, namespace=namespace, settings=patient) as cache:
        await cache.set_many({f"k{number}": number for number in range(100)})
        proxy.delay = 0.002
        before, seen = proxy.connections, Counter()
        for wave in range(50):
            asking = {number: asyncio.create_task(cache.get(f"k{number % 100}")) for number in range(220)}
            await asyncio.sleep(0.0005 * (wave % 5))
            for number in range(200):
                seen["cancelled"] += asking[number].cancel()
            for number, task in asking.items():
                if number >= 200:
                    assert await task == number % 100
                elif not task.cancelled():
                    await asyncio.wait((task,))
                    assert task.cancelled() or task.result() == number % 100
        assert seen["cancelled"] == 10_000
        assert proxy.connections == before
        assert await cache.get_many([f"k{number}" for number in range(100)]) == {
            f"k{number}": number for number in range(100)
        }
