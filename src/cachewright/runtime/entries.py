"""What code that stores entries needs of a cache: a protocol, so that it depends on no implementation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol, TypeVar, overload

from cachewright.runtime.missing import Missing

T = TypeVar("T")


class Entries(Protocol):
    """Values by key. `ttl` is in seconds, None for no expiry; `type_` is what a value is read as.

    A value handed out belongs to the caller: changing it changes no entry.
    """

    @overload
    async def get(self, key: str) -> Any: ...
    @overload
    async def get(self, key: str, type_: type[T]) -> T | Missing: ...
    async def get(self, key: str, type_: Any = Any) -> Any:
        """The value of `key`, `MISSING` where there is none."""

    async def set(self, key: str, value: Any, *, ttl: float | None, tags: Collection[str] = ()) -> bool:
        """Store `value`, and whether it was; no load of `key` that began earlier is served afterwards."""

    async def delete(self, *keys: str) -> int:
        """Invalidate these keys; how many of them were in use."""

    @overload
    async def get_or_load(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        ttl: float | None,
        tags: Collection[str] = (),
        type_: Any = Any,
    ) -> T: ...
    @overload
    async def get_or_load(
        self,
        key: str,
        load: Callable[[], T],
        *,
        ttl: float | None,
        tags: Collection[str] = (),
        type_: Any = Any,
    ) -> T: ...
    async def get_or_load(
        self,
        key: str,
        load: Callable[[], Any],
        *,
        ttl: float | None,
        tags: Collection[str] = (),
        type_: Any = Any,
    ) -> Any:
        """The value of `key`, from `load` (a value or an awaitable of one) where there is no entry."""

    async def invalidate(self, *tags: str) -> int:
        """Invalidate every entry that holds one of `tags`; how many of them were in use."""
