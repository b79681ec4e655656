"""write_back: a write is durable when it returns, and in the database a little later, in order for each key."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Generic, TypeVar
from urllib.parse import unquote

from cachewright.errors import CachewrightError, StoreUnavailableError, WriteNotAcceptedError
from cachewright.runtime.naming import name_of
from cachewright.runtime.principal import principal
from cachewright.runtime.settings import Clock
from cachewright.runtime.strategies.cached import Cached, Outcome
from cachewright.runtime.strategies.journal import WriteJournal
from cachewright.runtime.strategies.pending import Backlog, Pending
from cachewright.runtime.strategies.plans import WriteBack
from cachewright.runtime.strategies.records import Write
from cachewright.runtime.strategies.through import Written
from cachewright.runtime.strategies.versions import Versions
from cachewright.runtime.tasks import Tasks
from cachewright.runtime.values import ValueCodec

K = TypeVar("K")
V = TypeVar("V")

_log = logging.getLogger("cachewright")


@dataclass(frozen=True, slots=True)
class Coding(Generic[K, V]):
    """Keys and values of a resource as they stand in the journal."""

    keys: ValueCodec[K]
    values: ValueCodec[V]


class Back(Generic[K, V]):
    """Accepts writes, answers reads of what is pending, and stores it in the background; on one event loop.

    `absent` is what a read of a deleted key answers while its deletion is pending. `clock` is any that never
    goes back (s), `dice` gives numbers in [0, 1).
    """

    def __init__(
        self,
        plan: WriteBack,
        cached: Cached[K, V],
        coding: Coding[K, V],
        journal: WriteJournal,
        versions: Versions,
        *,
        absent: V,
        clock: Clock,
        dice: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._cached = cached
        self._coding = coding
        self._journal = journal
        self._versions = versions
        self._absent = absent
        self._clock = clock
        self._pending = Pending(first=plan.first_retry, longest=plan.longest_retry, dice=dice)
        self._order = _Turns()
        self._arriving = 0
        self._room = asyncio.Condition()
        self._changed = asyncio.Event()
        self._tasks = Tasks()
        self._deliveries = Tasks()
        self._hurries = 0
        self._closed = False
        self._last_error: str | None = None

    async def start(self) -> None:
        """Take over what earlier processes accepted and did not store. Raises `SurroundingsError`."""
        found = await self._journal.open()
        now = self._clock()
        for write in found.values():
            self._versions.seen(write.version)
            self._pending.accept(write, now, due=now)
        resource = self._cached.names.resource
        _log.warning(
            "%s is written back: for about %g s after a write the database has the value before it",
            resource,
            self._plan.interval,
        )
        if found:
            _log.warning("%s: %d accepted writes of an earlier process are stored now", resource, len(found))
        self._tasks.spawn(self._run())

    async def read(self, key: K) -> V:
        """What is pending for `key`, else the entry, else what the database has."""
        waiting = self._pending.look(self._cached.names.of(key))
        return self._value(waiting) if waiting is not None else await self._cached.read(key)

    def _value(self, write: Write) -> V:
        return self._absent if write.payload is None else self._coding.values.decode(write.payload)

    async def write(self, key: K, value: V) -> Written:
        """Accept a write: it is in the journal when this returns. Raises `WriteNotAcceptedError`."""
        return await self._accept(key, self._coding.values.encode(value))

    async def remove(self, key: K) -> Written:
        """Accept a deletion, as `write`."""
        return await self._accept(key, None)

    async def _accept(self, key: K, payload: bytes | None) -> Written:
        name = self._cached.names.of(key)
        name_of(name)  # what is no key of an entry is refused before it is accepted
        draft = Write(name, 0, self._coding.keys.encode(key), payload)
        async with self._place(name):
            # To its end also where the caller goes away: what is in the journal has to be pending here.
            return await asyncio.shield(self._tasks.spawn(self._keep(draft, key)))

    @asynccontextmanager
    async def _place(self, name: str) -> AsyncIterator[None]:
        """Wait for room in the queue; keys that wait already need none."""
        if self._closed:
            raise WriteNotAcceptedError(f"{self._cached.names.resource} is being closed")
        try:
            async with asyncio.timeout(self._plan.patience), self._room:
                await self._room.wait_for(lambda: name in self._pending or self._has_room())
                self._arriving += 1
        except TimeoutError:
            raise WriteNotAcceptedError(
                f"{len(self._pending)} writes of {self._cached.names.resource} wait for the database",
                hint="the write is not kept; repeat it later, or look at why the database takes no more",
            ) from None
        try:
            yield
        finally:
            self._arriving -= 1
            self._changed.set()

    def _has_room(self) -> bool:
        return len(self._pending) + self._arriving < self._plan.limit

    async def _keep(self, draft: Write, key: K) -> Written:
        async with self._order.turn(draft.name):
            try:
                version = await self._versions.next(draft.name)
            except StoreUnavailableError as error:
                raise WriteNotAcceptedError(
                    "the order of this write among those of other processes cannot be told",
                    hint="the Redis that processes share does not answer; repeat the write when it does",
                ) from error
            write = Write(draft.name, version, draft.key, draft.payload)
            await self._journal.append(write)
            now = self._clock()
            self._pending.accept(write, now, due=now + self._plan.interval)
            self._changed.set()
            return Written(stored=False, entry=await self._show(key, write), version=version)

    async def _show(self, key: K, write: Write) -> Outcome:
        """Let other processes see the newest value; one that accepted a newer one does that itself."""

        async def newest() -> V:
            latest = await self._latest(write.name)
            return self._value(write) if latest == write.version else await self._cached.source.loaded(key)

        latest = await self._latest(write.name)
        if latest is not None and latest > write.version:
            return "invalidated"
        try:
            return await self._cached.replace(key, newest)
        except CachewrightError:
            _log.warning("an accepted write is not shown to other processes", exc_info=True)
            return "delayed"

    async def _latest(self, name: str) -> float | None:
        try:
            return await self._versions.latest(name)
        except StoreUnavailableError:
            return None

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            async with self._room:
                self._room.notify_all()
            now = self._clock()
            full = self._hurries > 0 or len(self._pending) >= self._plan.batch
            for write in self._pending.take(now, self._plan.at_once - len(self._deliveries), all_due=full):
                task = self._deliveries.spawn(self._deliver(write))
                task.add_done_callback(lambda _: self._changed.set())  # its place is free by then
            due = self._pending.next_due() if len(self._deliveries) < self._plan.at_once else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - now)):
                    await self._changed.wait()

    async def _deliver(self, write: Write) -> None:
        try:
            with _on_behalf_of(write.name):
                await self._store(write)
        except Exception as error:  # noqa: BLE001 - whatever the application raised, the write is not given up
            self._last_error = f"{type(error).__name__}: {error}"
            delay = self._pending.failed(write, self._clock())
            _log.warning(
                "an accepted write of %s could not be stored; next try in %.1f s",
                self._cached.names.resource,
                delay,
                exc_info=True,
            )

    async def _store(self, write: Write) -> None:
        key = self._coding.keys.decode(write.key)
        source = self._cached.source
        if write.payload is None:
            answer = await source.deleted(key, write.version)
        else:
            answer = await source.stored(key, self._coding.values.decode(write.payload), write.version)
        refused = answer is False
        if refused:
            _log.warning("%s: the database has a newer version than an accepted write", write.name)
        async with self._order.turn(write.name):
            if self._pending.look(write.name) == write:
                # Whatever was filled with the value before, while this one waited, is void.
                showable = not refused and write.payload is not None
                if not showable or await self._show(key, write) != "filled":
                    await self._cached.drop(key)
            await self._journal.done(write.name, write.version)
            self._pending.stored(write, self._clock(), refused=refused)

    def backlog(self) -> Backlog:
        """What waits, and what happened so far in this process."""
        figures = self._pending.backlog(self._clock())
        return replace(figures, damaged=self._journal.damaged, last_error=self._last_error)

    async def flush(self, patience: float) -> bool:
        """Store what waits now, whatever its interval; whether all of it was stored within `patience` seconds."""
        self._hurries += 1
        self._changed.set()
        try:
            async with asyncio.timeout(patience), self._room:
                await self._room.wait_for(lambda: not self._pending and not self._arriving)
        except TimeoutError:
            return False
        finally:
            self._hurries -= 1
        return True

    async def aclose(self) -> None:
        """Accept nothing more, store what waits within `drain` seconds, and close the journal."""
        self._closed = True
        if not await self.flush(self._plan.drain):
            _log.warning(
                "%s: %d accepted writes stay in the journal for the next process",
                self._cached.names.resource,
                len(self._pending),
            )
        await self._deliveries.end(self._plan.drain)
        await self._tasks.end(self._plan.drain)
        await self._journal.aclose()


class _Turns:
    """One at a time for each name; names that nobody waits for take no room."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(name)
            if users > 1:
                self._locks[name] = lock, users - 1


@contextmanager
def _on_behalf_of(key: str) -> Iterator[None]:
    """In the background an entry is used for whom its own key names: that principal's write was accepted."""
    name = name_of(key)
    with principal(
        tenant=None if name.tenant is None else unquote(name.tenant),
        user=None if name.user is None else unquote(name.user),
    ):
        yield
