"""Invalidations: dropped here, delivered everywhere, or kept until they can be; never swallowed."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress

from cachewright.errors import InvalidationPendingError, StoreUnavailableError
from cachewright.runtime.core import Core, log
from cachewright.runtime.holders import Announced, announce, lift
from cachewright.runtime.journal import Journal
from cachewright.runtime.members import Members
from cachewright.runtime.settings import Clock
from cachewright.runtime.stores.base import Store
from cachewright.runtime.tasks import Tasks
from cachewright.spec.tags import NAMESPACE_TAG, with_words

_RETRIES = 3
_REMEMBERED_SECONDS = 60.0
_REMEMBERED_TAGS = 50_000


class Recent:
    """The tags of the last minute: a primary that was promoted meanwhile may never have heard of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._lost = 0.0

    def add(self, tags: Collection[str]) -> None:
        """Note that these are being invalidated now."""
        now = self._clock()
        with self._lock:
            for tag in tags:
                self._seen[tag] = now
                self._seen.move_to_end(tag)
            while len(self._seen) > _REMEMBERED_TAGS:
                self._lost = self._seen.popitem(last=False)[1]

    def tags(self, silent: float = 0.0) -> tuple[str, ...]:
        """What was invalidated within the last minute, and within the `silent` seconds before it.

        All of the namespace where that is too much, or longer than anybody remembers.
        """
        if silent > _REMEMBERED_SECONDS:
            return (NAMESPACE_TAG,)
        now = self._clock()
        since = now - _REMEMBERED_SECONDS - silent
        with self._lock:
            while self._seen and next(iter(self._seen.values())) < now - 2 * _REMEMBERED_SECONDS:
                self._seen.popitem(last=False)
            if self._lost and self._lost >= since:
                return (NAMESPACE_TAG,)
            return tuple(tag for tag, at in self._seen.items() if at >= since)


class Invalidations:
    """Delivers invalidations through one store, on the event loop of that store.

    In strict mode `members` are those who have to hear of them before they have returned.
    """

    def __init__(
        self, core: Core, store: Store | None, journal: Journal, recent: Recent, members: Members | None
    ) -> None:
        self._members = members
        self._core = core
        self._store = store
        self._journal = journal
        self._recent = recent
        self.tasks = Tasks()

    async def invalidate(
        self, tags: Collection[str], *, retries: int = _RETRIES, raise_pending: bool = False
    ) -> int:
        """See `Engine.invalidate`; a failed delivery is repeated `retries` times before it is kept."""
        wanted = with_words(tags)
        if not wanted:
            return 0
        known = self._core.drop(wanted)
        if not self._core.shared:
            self._core.stats.invalidated(len(wanted))
            self._core.told(wanted)
            return known
        # Shielded: the row is committed, whatever becomes of the request that wrote it.
        changed = await asyncio.shield(self.tasks.spawn(self._deliver(wanted, retries)))
        if changed is not None:
            return changed
        if raise_pending:
            raise InvalidationPendingError(
                f"the invalidation of {len(wanted)} tags could not be delivered",
                hint="It is kept and repeated; this process leaves these tags alone meanwhile.",
            )
        return 0

    async def _deliver(self, tags: tuple[str, ...], retries: int) -> int | None:
        began = self._core.boottime()
        self._recent.add(tags)
        changed = await self._told(tags, retries)
        if changed is not None:
            self._core.stats.delivered(self._core.boottime() - began)
        else:
            await asyncio.to_thread(self._journal.add, tags, since=began)
            self._core.stats.pending()
            log.warning(
                "an invalidation could not be delivered; until it is, its tags (%d) are left alone", len(tags)
            )
        self._core.drop(tags)
        self._core.stats.invalidated(len(tags))
        self._core.told(tags)
        return changed

    async def _told(self, tags: tuple[str, ...], retries: int) -> int | None:
        """As `_attempt`; in strict mode once all have heard, or their leases are over."""
        if self._members is None or self._store is None:
            return await self._attempt(tags, retries)
        told = self._members.tell()
        try:
            changed = await self._attempt(tags, retries, told.stamp)
            if changed is not None and not await self._members.heard_by_all(told, self._store):
                self._core.stats.unheard()
        finally:
            self._members.ended(told)
        return changed

    async def _attempt(
        self, tags: tuple[str, ...], retries: int, stamp: Callable[[], bytes] | None = None
    ) -> int | None:
        """How many tags changed, None where the store did not take it."""
        store = self._store
        if store is None:
            return None
        wait = self._core.settings.retry_budget / _RETRIES
        for left in range(retries, -1, -1):
            try:
                return await store.change(tags, stamp=stamp)
            except StoreUnavailableError:
                if not left or store.struggling:
                    break
            await asyncio.sleep(wait * self._core.dice())
        return None

    async def announce(self, tags: Collection[str]) -> Announced | None:
        """Hold `tags` everywhere before a commit; None where that is not asked for, or they are on record instead."""
        if self._store is None or not self._core.settings.crash_safe:
            return None
        wanted = tuple(dict.fromkeys(tags))
        self._recent.add(wanted)
        try:
            return await announce(self._core, self._store, wanted)
        except StoreUnavailableError:
            await asyncio.to_thread(self._journal.add, wanted)
            log.warning("a commit could not be announced; its %d tags are on record for later", len(wanted))
            return None

    async def lift(self, announced: Announced) -> None:
        """Take back what was announced; where that fails it ends by itself."""
        if self._store is not None:
            with suppress(StoreUnavailableError):
                await lift(self._core, self._store, announced)

    async def repeat(self, silent: float = 0.0) -> None:
        """Deliver again what was invalidated within the last minute, and the `silent` seconds before it."""
        tags = self._recent.tags(silent)
        if tags:
            await self._deliver_again(tags)

    async def _deliver_again(self, tags: tuple[str, ...]) -> None:
        if await self._attempt(tags, _RETRIES) is None:
            await asyncio.to_thread(self._journal.add, tags)
        self._core.drop(tags)

    async def replay(self) -> bool:
        """Deliver what the journal keeps; whether nothing is left of it."""
        pending = self._journal.pending()
        if not pending:
            return True
        if self._store is None:
            return False
        try:
            await self._store.change(tuple(pending))
        except StoreUnavailableError:
            return False
        self._core.drop(tuple(pending))
        for since in self._journal.delivered(pending):
            self._core.stats.delivered(self._core.boottime() - since)
        log.info("%d kept invalidations were delivered", len(pending))
        return True
