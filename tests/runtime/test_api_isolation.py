"""Tenants and users kept apart: at access, and when one of them is deleted."""

import asyncio
import threading
from uuid import UUID

import pytest

from cachewright import (
    MISSING,
    Cache,
    IsolationError,
    Principal,
    Settings,
    UsageError,
    current_principal,
    principal,
)

CALM = {"read_timeout": 5.0, "connect_timeout": 5.0}
ALICE = {"tenant": "a", "user": 1}
BOB = {"tenant": "b", "user": 1}


@pytest.fixture(params=["memory", "server"])
async def cache(request, namespace, valkey_url):
    url = None if request.param == "memory" else valkey_url
    async with Cache(url, namespace=namespace, isolation=True, settings=Settings(**CALM)) as made:
        yield made


DENIED = [
    ("tenant:b:user:1:tasks", ALICE),
    ("tenant:a:user:2:tasks", ALICE),
    ("tenant:b:stats", ALICE),
    ("user:2:tasks", ALICE),
    ("tenant:a:user:1:tasks", {"user": 1}),
    ("tenant:a:user:1:tasks", {"tenant": "a"}),
    ("tenant:a:stats", {}),
    ("user:1:tenant:b:tasks", ALICE),
    ("tenant:a%3Ab:x", {"tenant": "a"}),
    ("tenant:a", BOB),
]
ALLOWED = [
    ("tenant:a:user:1:tasks", ALICE),
    ("tenant:a:stats", ALICE),
    ("tenant:a:stats", {"tenant": "a"}),
    ("user:1:tasks", ALICE),
    ("rates:2026", ALICE),
    ("rates:2026", {}),
    ("tasks:user:2", ALICE),
    ("tenant:a%3Ab:x", {"tenant": "a:b"}),
]


def ways(cache, key):
    return [
        lambda: cache.get(key),
        lambda: cache.get_many(["rates:1", key]),
        lambda: cache.set(key, "mine"),
        lambda: cache.set_many({"rates:1": 1, key: "mine"}),
        lambda: cache.delete(key),
        lambda: cache.get_or_load(key, lambda: pytest.fail("it must not load")),
    ]


@pytest.mark.parametrize(("key", "who"), DENIED)
@pytest.mark.requirement("#158", "#161", "#285", "#289", "#429", "C66")
async def test_the_right_key_in_the_wrong_hands_is_denied_and_counted(cache, key, who):
    for way in ways(cache, key):
        with principal(**who), pytest.raises(IsolationError, match=r"another|nobody") as denied:
            await way()
        assert denied.value.code == "CWE411"
    for way in ways(cache, key):
        with pytest.raises(IsolationError, match="nobody"):
            await way()
    assert (await cache.get_stats()).counters["denied"] == 12


@pytest.mark.requirement("#157", "#160", "#343")
async def test_one_cannot_read_what_another_stored_nor_end_it(cache):
    with principal(**ALICE):
        await cache.set("tenant:a:user:1:tasks", "hers")
    with principal(**BOB):
        with pytest.raises(IsolationError):
            await cache.get("tenant:a:user:1:tasks")
        with pytest.raises(IsolationError):
            await cache.invalidate_pattern("tenant:a:user:1:*")
    with principal(**ALICE):
        assert await cache.get("tenant:a:user:1:tasks") == "hers"
        await cache.invalidate_pattern("tenant:a:user:1:*")
        assert await cache.get("tenant:a:user:1:tasks") is MISSING


@pytest.mark.parametrize(("key", "who"), ALLOWED)
async def test_ones_own_and_what_is_nobodys_is_allowed(cache, key, who):
    with principal(**who):
        await cache.set(key, "mine")
        assert await cache.get(key) == "mine"
        assert await cache.delete(key) == 1


async def test_a_decorated_function_is_denied_as_its_key_is(cache):
    @cache.cached(key="user:{user}:tasks")
    async def tasks(user: int) -> int:
        return user

    @cache.cached(key="user:{user}:count")
    def count(user: int) -> int:
        return user

    with principal(user=1):
        assert await tasks(1) == 1
        assert await asyncio.to_thread(count, 1) == 1
        with pytest.raises(IsolationError):
            await tasks(2)
        with pytest.raises(IsolationError):
            await asyncio.to_thread(count, 2)
    with pytest.raises(IsolationError):
        await tasks(1)


async def test_two_users_at_once_have_principals_of_their_own(cache):
    turns = asyncio.Barrier(2)

    async def act(who: int) -> str:
        with principal(user=who):
            await turns.wait()
            await cache.set(f"user:{who}:name", f"user {who}")
            await turns.wait()
            return await cache.get(f"user:{who}:name")

    assert await asyncio.gather(act(1), act(2)) == ["user 1", "user 2"]
    assert current_principal() is None


def test_a_principal_ends_with_its_block_and_reaches_no_thread_that_was_there_before():
    seen = []
    with principal(tenant="a", user=7) as own:
        assert own == current_principal() == Principal("a", "7")
        with principal(user=UUID(int=8)):
            assert current_principal() == Principal(None, str(UUID(int=8)))
        thread = threading.Thread(target=lambda: seen.append(current_principal()))
        thread.start()
        thread.join()
    assert (current_principal(), seen) == (None, [None])


@pytest.mark.parametrize("identity", ["", True, False])
def test_what_is_no_id_is_no_principal(identity):
    with pytest.raises(UsageError), principal(user=identity):
        pass


async def test_without_isolation_keys_are_only_keys(namespace):
    async with Cache(namespace=namespace) as cache:
        await cache.set("user:1:tasks", 1)
        with principal(user=2):
            assert await cache.get("user:1:tasks") == 1


KEYS = (
    "tenant:a",
    "tenant:a:stats",
    "tenant:a:user:1:tasks:page=1",
    "tenant:a:user:2:profile",
    "tenant:ab:user:1:tasks",
    "tenant:a%3Ab:stats",
    "tenant:b:user:1:tasks",
    "tenant:b:of:tenant:a:stats",
    "user:1:tasks",
    "user:11:tasks",
    "rates:tenant:a:2026",
)


@pytest.mark.parametrize("physically", [False, True])
@pytest.mark.parametrize(
    ("delete", "gone"),
    [
        (lambda cache, **how: cache.delete_tenant("a", **how), KEYS[:4]),
        (lambda cache, **how: cache.delete_tenant("a:b", **how), KEYS[5:6]),
        (lambda cache, **how: cache.delete_user(1, tenant="a", **how), KEYS[2:3]),
        (lambda cache, **how: cache.delete_user("1", **how), KEYS[8:9]),
        (lambda cache, **how: cache.delete_tenant("*", **how), ()),
        (lambda cache, **how: cache.delete_user("[1]", **how), ()),
    ],
)
@pytest.mark.requirement("#165", "#166", "#167", "#168", "#286", "#290", "#430", "C59")
async def test_a_deletion_is_complete_and_limited(
    namespace, valkey_url, server, delete, gone, physically, request
):
    """Of two identities one disappears whole, the other keeps everything."""
    async with (
        Cache(valkey_url, namespace=namespace, settings=Settings(**CALM)) as cache,
        Cache(valkey_url, namespace=f"{namespace}x", settings=Settings(**CALM)) as other,
    ):
        for each in (cache, other):
            await each.set_many({key: key for key in KEYS}, ttl=None)
        count = await delete(cache, physically=physically)
        assert bool(count) == bool(gone)
        assert list(await cache.get_many(KEYS)) == [key for key in KEYS if key not in gone]
        assert list(await other.get_many(KEYS)) == list(KEYS)
        left = {
            name.decode().removeprefix(f"{namespace}:1:e:") for name in server.scan_iter(f"{namespace}:1:e:*")
        }
        assert left == set(KEYS) - (set(gone) if physically else set())
        if physically:
            tokens = {name.decode() for name in server.scan_iter(f"{namespace}:1:v:*")}
            assert not tokens & {f"{namespace}:1:v:key:{key}" for key in gone}


@pytest.mark.requirement("#165", "#167")
async def test_a_deletion_in_memory_is_complete_and_limited(namespace):
    async with Cache(namespace=namespace) as cache:
        await cache.set_many(dict.fromkeys(KEYS, 1))
        assert await cache.delete_tenant("a", physically=True) == 0
        assert list(await cache.get_many(KEYS)) == list(KEYS[4:])


@pytest.mark.requirement("#114", "#167")
async def test_entries_of_a_user_by_tag_go_with_him(cache):
    with principal(**ALICE):
        await cache.set("tenant:a:board", "with a line of user 1", tags=("tenant:a:user:1",))
        await cache.delete_user(1, tenant="a")
        assert await cache.get("tenant:a:board") is MISSING


async def test_one_principal_cannot_fill_the_cache_with_keys_of_his_own(namespace):
    settings = Settings(**CALM, distinct_keys=3)
    async with Cache(namespace=namespace, settings=settings) as cache:
        clock = cache.engine._core
        clock.wall = lambda: 1200.0
        with principal(user=1):
            assert [await cache.set(f"user:1:q={q}", q) for q in range(5)] == [True, True, True, False, False]
            assert await cache.get_or_load("user:1:q=9", lambda: [9]) == [9]
            assert await cache.get("user:1:q=9") is MISSING
            assert await cache.get_or_load("user:1:q=1", lambda: pytest.fail("it is there")) == 1
        with principal(user=2):
            assert await cache.set("user:2:q=9", 9)
        clock.wall = lambda: 1260.0
        with principal(user=1):
            assert await cache.set("user:1:q=9", 9)
        assert (await cache.get_stats()).counters["targets"]["keys"]["refused"] == {"too_many_keys": 3}
