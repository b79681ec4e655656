"""The entries of one resource: read, compared with the current version, replaced and dropped."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from cachewright.errors import RuntimeCacheError
from cachewright.runtime.entries import Entries
from cachewright.runtime.missing import MISSING
from cachewright.runtime.strategies.source import Names, Source, Versioning, called
from cachewright.runtime.strategies.versions import number

K = TypeVar("K")
V = TypeVar("V")

#: What became of the entry of a write: it holds a value of the database, it is gone, or word of that is delayed.
Outcome = Literal["filled", "invalidated", "delayed"]

_log = logging.getLogger("cachewright")


@dataclass(frozen=True, slots=True)
class Cached(Generic[K, V]):
    """Entries by keys of the application. `ttl` is in seconds, None for no end; `type_` what values are."""

    entries: Entries
    source: Source[K, V]
    names: Names[K]
    versioning: Versioning[K, V] | None
    ttl: float | None
    type_: Any

    async def place(self, key: K) -> str:
        """The key of the entry, the current version in it where `in_key` asks for that."""
        name = self.names.of(key)
        if self.versioning is None or not self.versioning.in_key:
            return name
        return f"{name}:v{await self._current(key)}"

    async def read(self, key: K) -> V:
        """The entry's value, or what the database has."""
        place = await self.place(key)
        if self.versioning is not None and self.versioning.compare:
            current = await self._current(key)
            held = await self.entries.get(place, self.type_)
            if held is not MISSING:
                if self._as_new_as(held, current):
                    return held  # type: ignore[no-any-return] # an entry of this resource holds a V
                await self._drop(place)
        return await self._load(place, key, lambda: self.source.loaded(key))

    async def _current(self, key: K) -> int | None:
        assert self.versioning is not None
        assert self.versioning.current is not None
        current = await called(self.versioning.current, key)
        return None if current is None else number(current)

    def _as_new_as(self, held: V, current: int | None) -> bool:
        own = self.version(held)
        return own == current if own is None or current is None else own >= current

    def version(self, value: V) -> int | None:
        """The version that a value carries, None where it carries none."""
        if value is None or self.versioning is None:
            return None
        version = self.versioning.version(value)
        return None if version is None else number(version)

    async def replace(self, key: K, load: Callable[[], Awaitable[V]]) -> Outcome:
        """After a commit: invalidate the entry, then fill it from `load`, which runs with a token in hand.

        A cache that fails, or a load, fails no write: the entry is gone, or word of it is on record.
        """
        outcome = await self.drop(key)
        if outcome == "delayed":
            return outcome
        try:
            await self._load(await self.place(key), key, load)
        except Exception as error:  # noqa: BLE001 - the write has been committed, whatever this load raised
            _log.warning(
                "an entry of %s could not be filled after a write (%s)",
                self.names.resource,
                type(error).__name__,
            )
            return "invalidated"
        return "filled"

    async def drop(self, key: K) -> Outcome:
        """After a commit: invalidate the entry and the tags that the write touches."""
        outcomes = [await self._drop(await self.place(key))]
        if tags := tuple(self.names.touched(key)):
            outcomes.append(await self._try(self.entries.invalidate(*tags)))
        return "delayed" if "delayed" in outcomes else "invalidated"

    async def _drop(self, place: str) -> Outcome:
        return await self._try(self.entries.delete(place))

    async def _try(self, work: Awaitable[int]) -> Outcome:
        try:
            await work
        except RuntimeCacheError as error:
            _log.warning("an invalidation of %s is delayed (%s)", self.names.resource, error.code)
            return "delayed"
        return "invalidated"

    async def _load(self, place: str, key: K, load: Callable[[], Awaitable[V]]) -> V:
        return await self.entries.get_or_load(
            place, load, ttl=self.ttl, tags=self.names.tags(key), type_=self.type_
        )
