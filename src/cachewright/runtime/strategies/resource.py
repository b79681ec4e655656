"""A resource: what the application loads, stores and deletes by key, with a cache in between."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from cachewright.errors import UsageError
from cachewright.runtime.entries import Entries
from cachewright.runtime.forking import start_anew_in_children
from cachewright.runtime.settings import Clock, boottime
from cachewright.runtime.strategies.cached import Cached
from cachewright.runtime.strategies.journal import WriteJournal
from cachewright.runtime.strategies.pending import Backlog
from cachewright.runtime.strategies.plans import Plan, WriteBack, WriteThrough, plan_of
from cachewright.runtime.strategies.source import Delete, Load, Names, Source, Store, Versioning, no_tags
from cachewright.runtime.strategies.through import Through, Written
from cachewright.runtime.strategies.versions import LocalVersions, Versions
from cachewright.runtime.strategies.write_back import Back, Coding
from cachewright.runtime.values import ValueCodec
from cachewright.spec.keys import escape

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

#: How long (s) an exchange with a journal's Redis may take: it may have to wait for a disk.
_JOURNAL_SECONDS = 2.0


class Resource(Generic[K, V]):
    """Values of the application by key, by one of the four strategies (#85-#98, C7, C9, C41).

    `load(key)` answers what the database has (None or whatever the application calls absent, too);
    `store(key, value)` and `delete(key)` return after their commit. With `WriteThrough(counted=True)` and
    `WriteBack` they are called with a version as well, must do nothing where the row has a higher one, and may
    return False then; the same write may reach them more than once. `store` may return the row as it was
    stored. Each of them is `def`, which runs in a thread, or `async def`.

    `ttl` is in seconds, None for no end. `key` makes a text of a key; by default the resource's name and the
    key. `tags` are those of an entry, `touched` what a write of a key invalidates besides its entry.
    `value_type` and `key_type` say what values, and the keys in a journal, are read as. `absent` is what a read
    of a key answers whose deletion waits. `versions` orders writes: `SharedVersions` where several processes
    write, by default those of this process alone. `admit(name)` is asked before anything is read or written,
    and raises where the caller may not use that entry. `namespace` begins the names of journals; `journal`
    takes the place of the one that a `WriteBack` names.
    """

    def __init__(
        self,
        entries: Entries,
        name: str,
        *,
        load: Load[K, V],
        store: Store | None = None,
        delete: Delete | None = None,
        strategy: Plan | str = "cache_aside",
        ttl: float | None,
        key: Callable[[K], str] | None = None,
        tags: Callable[[K], Collection[str]] = no_tags,
        touched: Callable[[K], Collection[str]] = no_tags,
        versioning: Versioning[K, V] | None = None,
        versions: Versions | None = None,
        value_type: type[V] | Any = Any,
        key_type: type[K] | Any = Any,
        absent: V | None = None,
        namespace: str = "cachewright",
        admit: Callable[[str], object] | None = None,
        journal: WriteJournal | None = None,
        clock: Clock = boottime,
        wall: Clock = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._source: Source[K, V] = Source(load, store, delete)
        self._names = Names(name, key, tags, touched)
        self._admit = admit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        plan = plan_of(strategy)
        cached = Cached(entries, self._source, self._names, versioning, ttl, value_type)
        order = LocalVersions(wall) if versions is None else versions
        self._through: Through[K, V] | None = None
        self._back: Back[K, V] | None = None
        if not isinstance(plan, WriteBack):
            _refuse_ambiguity(name, plan, versioning)
            self._through = Through(plan, cached, order)
            return
        self._make = partial(
            Back,
            plan,
            cached,
            Coding(ValueCodec(key_type), ValueCodec(value_type)),
            _journal(plan, namespace, name) if journal is None else journal,
            order,
            absent=cast("V", absent),
            clock=clock,
            dice=dice,
        )
        self._forked()
        start_anew_in_children(self._forked)

    def _forked(self) -> None:
        """What its parent accepted the parent stores; a child begins with nothing, on a loop of its own."""
        self._loop = self._starting = None
        self._back = self._make()

    async def start(self) -> None:
        """Take over, and begin to store, what earlier processes accepted; only a write-back has anything to do.

        The first call of any method does the same. Call it when the application starts, so that accepted
        writes do not wait for the next one. Raises `SurroundingsError` where nothing can be kept.
        """
        await self._run(_nothing)

    async def get(self, key: K) -> V:
        """The value of `key`: pending, cached, or loaded. What `load` raises is raised."""
        self._admitted(key)
        if self._through is not None:
            return await self._through.read(key)
        return await self._run(lambda: self._written_back.read(key))

    async def set(self, key: K, value: V) -> Written:
        """Write `value`. What `store` raises is raised, and the cache is as before then.

        A cache that fails does not fail a write that the database took: `Written.entry` says so. A write-back
        raises `WriteNotAcceptedError` where the write could not be kept.
        """
        if self._source.store is None:
            raise UsageError(f"the resource {self.name!r} has no store", hint="give `store=` to write it")
        self._admitted(key)
        if self._through is not None:
            return await self._through.write(key, value)
        return await self._run(lambda: self._written_back.write(key, value))

    async def delete(self, key: K) -> Written:
        """Delete `key`; as `set`."""
        if self._source.delete is None:
            raise UsageError(
                f"the resource {self.name!r} has no delete", hint="give `delete=` to remove from it"
            )
        self._admitted(key)
        if self._through is not None:
            return await self._through.remove(key)
        return await self._run(lambda: self._written_back.remove(key))

    async def flush(self, patience: float = 10.0) -> bool:
        """Store what waits, and whether all of it was stored within `patience` seconds."""
        if self._back is None:
            return True
        return await self._run(lambda: self._written_back.flush(patience))

    def backlog(self) -> Backlog | None:
        """What waits to be stored, and what failed; None for strategies where nothing ever waits."""
        return None if self._back is None else self._back.backlog()

    async def aclose(self) -> None:
        """Store what waits, in bounded time; what is left stays in the journal for the next process."""
        if self._back is not None and self._starting is not None:
            starting, self._starting = self._starting, None
            await self._at_home(lambda: self._closed(starting))

    async def _closed(self, starting: asyncio.Task[None]) -> None:
        await starting
        await self._written_back.aclose()

    @property
    def _written_back(self) -> Back[K, V]:
        assert self._back is not None
        return self._back

    def _admitted(self, key: K) -> None:
        if self._admit is not None:
            self._admit(self._names.of(key))

    async def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, on the loop of whoever came first."""
        if self._back is None:
            return await work()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return await self._at_home(lambda: self._started(work))

    async def _at_home(self, work: Callable[[], Awaitable[T]]) -> T:
        home, here = self._loop, asyncio.get_running_loop()
        if home is None or home is here:
            return await work()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(work), home))

    async def _started(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._starting is None or _failed(self._starting):
            self._starting = asyncio.get_running_loop().create_task(self._written_back.start())
        await asyncio.shield(self._starting)
        return await work()


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _refuse_ambiguity(name: str, plan: Plan, versioning: Versioning[Any, Any] | None) -> None:
    if plan == WriteThrough(counted=True) and versioning is not None:
        raise UsageError(
            f"the resource {name!r} has both counted versions and versions of its own",
            hint="leave out `versioning`, or `counted`",
        )


def _journal(plan: WriteBack, namespace: str, name: str) -> WriteJournal:
    if isinstance(plan.journal, str) and "://" in plan.journal:
        from cachewright.runtime.server import Server
        from cachewright.runtime.strategies.redis_journal import RedisJournal

        server = Server(plan.journal, timeout=_JOURNAL_SECONDS)
        return RedisJournal(server.send, f"{namespace}:writes:{escape(name)}", close=server.aclose)
    from cachewright.runtime.strategies.file_journal import FileJournal

    return FileJournal(Path(plan.journal), f"{namespace}.{name}")


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


async def _nothing() -> None:
    """Starting is all there is to do."""
