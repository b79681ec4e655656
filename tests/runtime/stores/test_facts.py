"""What real servers say of themselves, and how it differs from a specification."""

import pytest

from cachewright.runtime.drift import drift_of
from cachewright.runtime.settings import Settings
from cachewright.runtime.stores.facts import QUESTIONS, ServerFacts, facts_of
from cachewright.spec.configuration import Redis

MEGABYTES = 1024 * 1024
SAME = Settings(read_timeout=0.05, connect_timeout=0.1, max_connections=50)


@pytest.mark.requirement("#133", "#134", "#414")
async def test_a_server_tells_its_memory_its_policy_and_its_load(make_cache, own_server):
    server = own_server(maxmemory="64mb", maxmemory_policy="allkeys-lfu", save="")
    engine = await make_cache(server.url)
    (facts,) = await engine.store.facts()
    assert (facts.role, facts.maxmemory_bytes, facts.maxmemory_policy) == (
        "master",
        64 * MEGABYTES,
        "allkeys-lfu",
    )
    assert (facts.save, facts.appendonly, facts.cluster) == ("", False, False)
    assert facts.used_bytes > 0
    assert facts.clients >= 1
    assert facts.operations_per_second is not None
    assert facts.version


async def test_who_may_not_ask_knows_nothing_and_nothing_fails(make_cache, own_server):
    server = own_server()
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "plain", "on", ">secret", "~*", "&*", "+@all", "-info", "-config"
        )
    engine = await make_cache(server.url.replace("redis://", "redis://plain:secret@"))
    assert await engine.store.facts() == [ServerFacts()]
    assert drift_of(Redis(), SAME, [ServerFacts()]) == []


@pytest.mark.requirement("#145", "#351", "C19")
async def test_nothing_is_ever_set(make_cache, own_server):
    server = own_server()
    engine = await make_cache(server.url)
    with server.client() as client:
        client.config_resetstat()
        await engine.store.facts()
        asked = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    assert {"info", "config|get"} <= asked
    assert not asked & {"config|set", "config|rewrite", "flushall", "flushdb", "script|flush", "shutdown"}


FOUND = ServerFacts(
    maxmemory_bytes=64 * MEGABYTES, maxmemory_policy="allkeys-lru", save="", appendonly=False, cluster=False
)


@pytest.mark.parametrize(
    ("said", "found", "fields"),
    [
        ({}, FOUND, []),
        ({"maxmemory_bytes": 64 * MEGABYTES, "maxmemory_policy": "allkeys-lru"}, FOUND, []),
        ({"maxmemory_bytes": 1}, FOUND, ["maxmemory_bytes"]),
        ({"maxmemory_policy": "volatile-ttl"}, FOUND, ["maxmemory_policy"]),
        ({"persistence": {"enabled": True, "strategy": "aof"}}, FOUND, ["persistence.strategy"]),
        ({"cluster": {"enabled": True}}, FOUND, ["cluster.enabled"]),
        ({"socket_timeout_ms": 20, "max_connections": 60}, FOUND, ["socket_timeout_ms", "max_connections"]),
        ({}, ServerFacts(maxmemory_bytes=0, maxmemory_policy="noeviction"), ["maxmemory_bytes"]),
        ({}, ServerFacts(maxmemory_bytes=1, maxmemory_policy="noeviction"), ["maxmemory_policy"]),
    ],
    ids=str,
)
@pytest.mark.requirement("#145", "#146", "#147", "#379", "#412", "C18", "C19")
def test_what_differs_is_told_with_its_field(said, found, fields):
    differences = drift_of(Redis.model_validate(said), SAME, [found])
    assert [one.field.removeprefix("configuration.redis.") for one in differences] == fields
    assert all(one.advice for one in differences)


def test_answers_that_are_none_are_unknown():
    assert facts_of([Exception("NOPERM")] * len(QUESTIONS)) == ServerFacts()
