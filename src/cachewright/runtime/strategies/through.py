"""Writes that are in the database when they return: cache_through, cache_aside, write_through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, assert_never

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.strategies.cached import Cached, Outcome
from cachewright.runtime.strategies.plans import CacheAside, CacheThrough, WriteThrough
from cachewright.runtime.strategies.versions import Versions

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_log = logging.getLogger("cachewright")
_PAUSES = (0.0, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write.

    `stored` is false where the database refused it for a newer one, and, of a write-back, until it is stored.
    `entry` says what became of the cache: `filled`, `invalidated`, or `delayed`, where other processes may serve
    the value before until an invalidation that is on record reaches them, for the entry's TTL at most.
    """

    stored: bool
    entry: Outcome
    version: int | None = None


class Through(Generic[K, V]):
    """Stores first; what the cache then does follows from the plan."""

    def __init__(
        self, plan: CacheThrough | CacheAside | WriteThrough, cached: Cached[K, V], versions: Versions
    ) -> None:
        self._plan = plan
        self._cached = cached
        self._source = cached.source
        self._versions = versions

    async def read(self, key: K) -> V:
        """The entry, or what the database has."""
        return await self._cached.read(key)

    async def write(self, key: K, value: V) -> Written:
        """Store, then bring the cache in line. What `store` raises is raised; the cache is as before then."""
        match self._plan:
            case WriteThrough(counted=True):
                return await self._counted(key, value)
            case WriteThrough() if self._cached.versioning is not None:
                return await self._versioned(key, value)
            case CacheThrough() | WriteThrough() | CacheAside(populate_on_write=True):
                await self._source.stored(key, value)
                return Written(stored=True, entry=await self._reloaded(key))
            case CacheAside():
                await self._source.stored(key, value)
                return Written(stored=True, entry=await self._cached.drop(key))
            case other:
                assert_never(other)

    async def _reloaded(self, key: K) -> Outcome:
        return await self._cached.replace(key, lambda: self._source.loaded(key))

    async def _counted(self, key: K, value: V) -> Written:
        version = await self._versions.next(self._cached.names.of(key))
        if await self._source.stored(key, value, version) is False:
            return Written(stored=False, entry=await self._reloaded(key), version=version)
        entry = await self._confirmed(key, value, version)
        return Written(stored=True, entry=entry, version=version)

    async def _versioned(self, key: K, value: V) -> Written:
        name = self._cached.names.of(key)
        known = await self._quietly_registered(name)
        answer = await self._source.stored(key, value)
        stored: V = value if answer is None else answer
        version = self._cached.version(stored)
        if version is None or not known or not await self._quietly_raised(name, version):
            return Written(stored=True, entry=await self._reloaded(key), version=version)
        return Written(stored=True, entry=await self._confirmed(key, stored, version), version=version)

    async def _confirmed(self, key: K, value: V, version: int) -> Outcome:
        """Fill with what was written if it is still the newest once a token is in hand; else read it back."""
        name = self._cached.names.of(key)

        async def newest() -> V:
            try:
                latest = await self._versions.latest(name)
            except StoreUnavailableError:
                latest = None
            return value if latest == version else await self._source.loaded(key)

        return await self._cached.replace(key, newest)

    async def _quietly_registered(self, name: str) -> bool:
        try:
            await self._versions.register(name)
        except StoreUnavailableError:
            return False
        return True

    async def _quietly_raised(self, name: str, version: int) -> bool:
        raised = await self._insisting(lambda: self._versions.raised(name, version))
        return raised is True

    async def _insisting(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, None where the server does not give one: another writer's older value may then stand.

        Its entry's TTL bounds that, which is why this tries more than once.
        """
        for pause in _PAUSES:
            await asyncio.sleep(pause)
            try:
                return await ask()
            except StoreUnavailableError:
                continue
        _log.warning("a newer version of an entry of %s could not be noted", self._cached.names.resource)
        return None

    async def remove(self, key: K) -> Written:
        """Delete, then invalidate."""
        name = self._cached.names.of(key)
        if self._plan == WriteThrough(counted=True):
            version = await self._versions.next(name)
            answer: Any = await self._source.deleted(key, version)
            return Written(stored=answer is not False, entry=await self._cached.drop(key), version=version)
        await self._source.deleted(key)
        if isinstance(self._plan, WriteThrough) and self._cached.versioning is not None:
            await self._insisting(lambda: self._versions.distrust(name))
        return Written(stored=True, entry=await self._cached.drop(key))
