"""What a cache says of itself."""

import json

import pytest
from tests.runtime.driving import until

from cachewright import Cache, Settings
from cachewright.runtime.figures import Sampler, check_health, error_rate, pressure
from cachewright.runtime.stats import Stats
from cachewright.spec.observing import Metrics


@pytest.mark.requirement("#255-#271", "#335", "#344")
async def test_figures_have_every_field_of_a_specifications_metrics(namespace):
    async with Cache(namespace=namespace, settings=Settings(l1_items=50, l1_bytes=1_000_000)) as cache:
        figures = (await cache.get_stats()).as_dict()
        for name, field in Metrics.model_fields.items():
            assert set(field.annotation.model_fields) == set(figures[name])
        json.dumps(figures)


@pytest.mark.requirement("#128", "#130", "C14", "C64")
async def test_what_is_not_known_is_none_and_what_was_measured_is_a_number(namespace):
    async with Cache(namespace=namespace, settings=Settings(l1_items=50, l1_bytes=1_000_000)) as cache:
        before = await cache.get_stats()
        assert (before.performance.hit_rate, before.performance.speedup, before.health.error_rate) == (
            None,
        ) * 3
        for _ in range(4):
            await cache.get_or_load("k", lambda: "value")
        await cache.invalidate("t")
        after = await cache.get_stats()
    assert (after.performance.hit_rate, after.performance.miss_rate) == (0.75, 0.25)
    assert after.performance.avg_response_time_with_cache_ms > 0
    assert after.performance.cache_performance_ratio * after.performance.speedup == pytest.approx(1)
    assert (after.cache_size.items_count, after.cache_size.max_items) == (1, 50)
    assert 0 < after.cache_size.memory_used_bytes <= after.cache_size.max_memory_bytes == 1_000_000
    rates = after.operations
    assert rates.get_operations_per_second == pytest.approx(4 * rates.set_operations_per_second)
    assert rates.delete_operations_per_second > 0
    assert rates.avg_operation_latency_ms > 0
    assert (after.health.cache_status, after.health.error_rate, after.health.memory_pressure) == (
        "healthy",
        0,
        "low",
    )


@pytest.mark.requirement("#139", "#140", "C73")
async def test_over_a_server_health_asks_it(namespace, valkey_url):
    async with Cache(
        valkey_url, namespace=namespace, settings=Settings(read_timeout=5, connect_timeout=5)
    ) as cache:
        health = await cache.health()
        assert (health.cache_status, health.pending_invalidations, health.hears) == ("healthy", 0, True)
        assert health.latency_ms > 0
    assert (await cache.health()).cache_status == "down", "it was closed"


@pytest.mark.requirement("#270")
async def test_the_connections_that_are_open_are_told_of_those_that_there_are(
    namespace, make_cache, own_server
):
    async with Cache(namespace=namespace) as cache:
        assert (await cache.get_stats()).health.connection_pool_status is None
    server = own_server()
    cache = await make_cache(server.url)
    sampler = Sampler()
    await check_health(cache)
    assert sampler.sample(cache).health.connection_pool_status == "1/1"
    server.kill()
    await until(lambda: sampler.sample(cache).health.connection_pool_status == "0/1")
    server.start()
    await until(lambda: sampler.sample(cache).health.connection_pool_status == "1/1")


async def test_several_workers_without_a_server_are_down(namespace):
    async with Cache(namespace=namespace, settings=Settings(workers=2)) as cache:
        assert (await cache.health()).cache_status == "down"
        assert await cache.get_or_load("k", lambda: 1) == 1
        assert not await cache.set("k", 1)


@pytest.mark.parametrize(
    ("used", "said"),
    [(0, "low"), (60, "low"), (61, "medium"), (80, "medium"), (81, "high"), (95, "high"), (96, "critical")],
)
@pytest.mark.requirement("#271", "C63")
def test_pressure_at_its_boundaries(used, said):
    assert pressure(used, 100) == said
    assert pressure(0, 0) == "critical"


@pytest.mark.requirement("#141", "#269")
def test_errors_are_a_share_of_operations():
    stats = Stats()
    stats.hit("t", "l1", 0.001)
    stats.filled("t")
    stats.store_failed(timeout=True)
    assert error_rate(stats.snapshot()) == 0.5
