"""The cache for code that cannot await: the same entries, the same guarantees, one call at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from cachewright.errors import StoreUnavailableError, UsageError
from cachewright.runtime.api import Cache, Ttl
from cachewright.runtime.figures import CacheStats, Health
from cachewright.runtime.home import Unreachable, on_loop
from cachewright.runtime.loads import UNSET, Unset
from cachewright.runtime.missing import MISSING, Missing
from cachewright.runtime.options import LoadOptions

T = TypeVar("T")
R = TypeVar("R")

_OPTIONS = LoadOptions()


class BlockingCache:
    """A `Cache` for programs and threads without an event loop; called on one, it refuses to block it.

    `BlockingCache(redis_url, namespace=…)` takes what `Cache` takes, or a `cache` to be the form of. The work
    is done on the event loop of the cache, which runs in a thread of its own where there is no other. Loads
    run in the calling thread.
    """

    def __init__(self, redis_url: str | None = None, *, cache: Cache | None = None, **options: Any) -> None:
        self._cache = Cache(redis_url, **options) if cache is None else cache
        self._home = self._cache.home
        self.cached = self._cache.cached

    def __enter__(self) -> Self:
        self._home.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """As `Cache.aclose`."""
        _refuse_loop()
        self._home.close()

    @overload
    def get(self, key: str) -> Any: ...
    @overload
    def get(self, key: str, type_: type[T]) -> T | Missing: ...
    @overload
    def get(self, key: str, type_: Any) -> Any: ...
    def get(self, key: str, type_: Any = Any) -> Any:
        """As `Cache.get`."""
        found = self._cache.peek(key, type_)
        if found is not MISSING:
            return found
        return self._call(lambda: self._cache.get(key, type_), MISSING)

    def get_many(self, keys: Collection[str], type_: Any = Any) -> dict[str, Any]:
        """As `Cache.get_many`."""
        return self._call(lambda: self._cache.get_many(keys, type_), {})

    def set(
        self, key: str, value: Any, *, ttl: Ttl = UNSET, tags: Collection[str] = (), type_: Any = UNSET
    ) -> bool:
        """As `Cache.set`."""
        return self._call(lambda: self._cache.set(key, value, ttl=ttl, tags=tags, type_=type_))

    def set_many(
        self, entries: Mapping[str, Any], *, ttl: Ttl = UNSET, tags: Collection[str] = (), type_: Any = UNSET
    ) -> int:
        """As `Cache.set_many`."""
        return self._call(lambda: self._cache.set_many(entries, ttl=ttl, tags=tags, type_=type_))

    def delete(self, *keys: str) -> int:
        """As `Cache.delete`."""
        return self._call(lambda: self._cache.delete(*keys))

    def get_or_load(
        self,
        key: str,
        load: Callable[[], T],
        *,
        ttl: Ttl = UNSET,
        tags: Collection[str] = (),
        type_: Any = Any,
        options: LoadOptions = _OPTIONS,
    ) -> T:
        """As `Cache.get_or_load`; `load` runs in the calling thread and returns the value itself."""
        _refuse_loop()
        try:
            return self._home.call_loading(
                lambda ask: self._cache.get_or_load(
                    key, ask, ttl=ttl, tags=tags, type_=type_, options=options
                ),
                load,
            )
        except Unreachable:
            return load()

    def invalidate(self, *tags: str) -> int:
        """As `Cache.invalidate`."""
        return self._call(lambda: self._cache.invalidate(*tags))

    def invalidate_pattern(self, pattern: str) -> int:
        """As `Cache.invalidate_pattern`."""
        return self._call(lambda: self._cache.invalidate_pattern(pattern))

    def invalidate_all(self) -> int:
        """As `Cache.invalidate_all`."""
        return self._call(self._cache.invalidate_all)

    def delete_tenant(self, tenant: object, *, physically: bool = False) -> int:
        """As `Cache.delete_tenant`."""
        return self._call(lambda: self._cache.delete_tenant(tenant, physically=physically))

    def delete_user(self, user: object, *, tenant: object | None = None, physically: bool = False) -> int:
        """As `Cache.delete_user`."""
        return self._call(lambda: self._cache.delete_user(user, tenant=tenant, physically=physically))

    def get_stats(self) -> CacheStats:
        """As `Cache.get_stats`."""
        return self._call(self._cache.get_stats)

    def health(self) -> Health:
        """As `Cache.health`."""
        return self._call(self._cache.health)

    def _call(self, work: Callable[[], Awaitable[R]], instead: R | Unset = UNSET) -> R:
        """The result of `work`; where the loop of the cache is stuck, `instead`, or an error of ours."""
        _refuse_loop()
        try:
            return self._home.call(work)
        except Unreachable:
            if isinstance(instead, Unset):
                raise StoreUnavailableError(
                    "the event loop of the cache does not answer", hint="is it waiting for this very thread?"
                ) from None
            return instead


def _refuse_loop() -> None:
    if on_loop():
        raise UsageError(
            "a blocking call on a running event loop would stop it", hint="await the same method of `Cache`"
        )
