"""The public API as type checkers see it; nothing here runs."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any, assert_type

import cachewright
from cachewright import (
    MISSING,
    BlockingCache,
    Cache,
    CacheStats,
    Entries,
    Health,
    LoadOptions,
    Missing,
    Settings,
)


class User:
    name: str = ""


async def load_user() -> User:
    return User()


async def awaited(cache: Cache) -> None:
    assert_type(await cache.get("k"), Any)
    found = await cache.get("k", User)
    assert_type(found, User | Missing)
    if found is not MISSING:
        assert_type(found, User)
    assert_type(await cache.get("k", list[int]), list[int] | Missing)
    assert_type(await cache.set("k", 1, ttl=None, tags=("a", "b")), bool)
    assert_type(await cache.set_many({"k": 1}, ttl=5), int)
    assert_type(await cache.get_many(["k"]), dict[str, Any])
    assert_type(await cache.delete("k", "l"), int)
    assert_type(await cache.get_or_load("k", load_user, ttl=1.5), User)
    assert_type(await cache.get_or_load("k", lambda: 7, options=LoadOptions(retries=1)), int)
    assert_type(await cache.invalidate("a"), int)
    assert_type(await cache.invalidate_pattern("user:1:*"), int)
    assert_type(await cache.get_stats(), CacheStats)
    assert_type(await cache.health(), Health)
    assert_type(await cache.delete_user(7, tenant="a", physically=True), int)


async def context() -> None:
    async with Cache("redis://localhost", namespace="shop", settings=Settings(l1_items=10)) as cache:
        assert_type(cache, Cache)
    async with Cache.from_spec("caching.yaml", redis_url=None) as cache:
        assert_type(BlockingCache(cache=cache), BlockingCache)


cache = Cache()


@cache.cached(ttl_seconds=300, key="perm:{tenant}:{user}", tags=("user:{user}",))
async def permissions(tenant: str, user: int, *, on: date | None = None) -> set[str]:
    return {tenant, str(user), str(on)}


@cache.cached()
def rate(currency: str) -> float:
    return float(len(currency))


@BlockingCache(cache=cache).cached(type_=dict[str, int])
def counts() -> dict[str, int]:
    return {}


async def calls() -> None:
    assert_type(await permissions("a", user=1, on=None), set[str])
    assert_type(rate("EUR"), float)
    assert_type(counts(), dict[str, int])
    assert_type(cache.key_of(permissions, "a", 1), str)
    again: Callable[[str], float] = rate
    again("USD")


def blocking(cache: BlockingCache) -> None:
    assert_type(cache.get("k", User), User | Missing)
    assert_type(cache.get_or_load("k", lambda: 7, ttl=1), int)
    assert_type(cache.set("k", b"", ttl=1), bool)


def strategies(entries: Entries) -> None:
    pass


strategies(cache)
with cachewright.principal(tenant="a", user=1) as own:
    assert_type(own, cachewright.Principal)
assert_type(cachewright.key("perm:{tenant}", tenant="a"), str)
asyncio.run(awaited(cache))
