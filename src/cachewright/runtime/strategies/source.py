"""The application's side of a resource: how its values are loaded, stored and deleted, and in what form."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cachewright.errors import UsageError
from cachewright.runtime.strategies.versions import Version
from cachewright.spec.keys import encode

K = TypeVar("K")
V = TypeVar("V")

Load = Callable[[K], V | Awaitable[V]]
#: `(key, value)`, or `(key, value, version)` where versions are counted. What it answers: see `Resource`.
Store = Callable[..., Any]
#: `(key)`, or `(key, version)` where versions are counted.
Delete = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Source(Generic[K, V]):
    """Functions of the application. `def` ones run in a thread, so that a database call blocks no event loop."""

    load: Load[K, V]
    store: Store | None = None
    delete: Delete | None = None

    async def loaded(self, key: K) -> V:
        """What the database has."""
        value: V = await called(self.load, key)
        return value

    async def stored(self, key: K, value: V, *version: int) -> Any:
        """Write one value; what the application's function answered."""
        assert self.store is not None
        return await called(self.store, key, value, *version)

    async def deleted(self, key: K, *version: int) -> Any:
        """Delete one; what the application's function answered."""
        assert self.delete is not None
        return await called(self.delete, key, *version)


async def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function of the application, whatever its colour."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    answer = await asyncio.to_thread(function, *arguments)
    return await answer if inspect.isawaitable(answer) else answer


def no_tags(_key: Any) -> Collection[str]:
    """The tags of an entry that has none."""
    return ()


@dataclass(frozen=True, slots=True)
class Names(Generic[K]):
    """What a key of the application is called in the cache, and which tags go with it.

    `tags` are held by its entry, `touched` are invalidated by a write of it (lists it occurs in).
    """

    resource: str
    key: Callable[[K], str] | None = None
    tags: Callable[[K], Collection[str]] = no_tags
    touched: Callable[[K], Collection[str]] = no_tags

    def of(self, key: K) -> str:
        """The key of the entry. Raises `UsageError` for a key that has no text of its own."""
        if self.key is not None:
            return self.key(key)
        try:
            return f"{self.resource}:{encode(key)}"
        except TypeError as error:
            raise UsageError(
                f"a key of the resource {self.resource!r}: {error}",
                hint="give `key=`, a function that makes a text of it",
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Versioning(Generic[K, V]):
    """Versions that the data carries: `version` is that of a value, such as its `updated_at` or a counter.

    With `compare` every read asks `current` for the version in the database (None: no such row), and an entry
    with a lower one is a miss; otherwise entries change when writes do (`invalidate_on_change`). `in_key` makes
    the current version part of the entry's key instead of comparing it. A version that two writes can share,
    such as a time in whole seconds, cannot tell them apart: such writes are read back from the database.
    """

    version: Callable[[V], Version | None]
    current: Callable[[K], Any] | None = None
    compare: bool = False
    in_key: bool = False

    def __post_init__(self) -> None:
        if (self.compare or self.in_key) and self.current is None:
            raise UsageError(
                "versions are to be compared, and nothing says which one is current",
                hint="give `current`, a function that asks the database for the version of a key",
            )
