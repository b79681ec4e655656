"""The engine of one process: the doors through which the rest of the runtime uses tiers, tokens and bus."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Collection
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cachewright.errors import SurroundingsError
from cachewright.runtime.bus import Bus
from cachewright.runtime.codec import Codec
from cachewright.runtime.core import Core, log
from cachewright.runtime.fill import Fills
from cachewright.runtime.flight import FlightTable
from cachewright.runtime.invalidation import Invalidations, Recent
from cachewright.runtime.journal import Journal
from cachewright.runtime.lookup import Lookup, LookupRequest, Lookups, Ticket, unavailable
from cachewright.runtime.portal import Portal
from cachewright.runtime.settings import Clock, Settings, boottime
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.memory import MemoryStore
from cachewright.runtime.tasks import Tasks
from cachewright.runtime.tokens import LocalTokens, Mint, fresh_token

if TYPE_CHECKING:
    from cachewright.runtime.stores.redis import RedisStore

_FINISH_SECONDS = 1.0


class Engine:
    """Tiers, tokens and bus of one namespace in one process.

    `redis_url` is the server that processes share; without one only a single worker is cached, in its own
    memory. `secret` keys the digests of stored entries: the same in every process, or empty. `wall` and
    `clock` are seconds since the epoch and since boot; `mint` makes tokens of 16 random bytes, `dice`
    numbers in [0, 1). Nothing is connected before `start`, and the server may be away then, and go and come
    back later.
    """

    def __init__(
        self,
        namespace: str,
        *,
        redis_url: str | None = None,
        settings: Settings | None = None,
        secret: bytes = b"",
        wall: Clock = time.time,
        clock: Clock = boottime,
        mint: Mint = fresh_token,
        dice: Callable[[], float] = random.random,
    ) -> None:
        if redis_url is not None and find_spec("redis") is None:
            raise SurroundingsError("redis-py is not installed", hint="pip install 'cachewright[redis]'")
        own = settings if settings is not None else Settings()
        self.namespace = namespace
        self.stats = Stats()
        self.tokens = LocalTokens(limit=own.known_tags)
        self.flights = FlightTable(patience=own.flight_patience)
        self._url = redis_url
        self._origin = os.urandom(8)
        self._core = Core(
            settings=own,
            tokens=self.tokens,
            l1=MemoryStore(items=own.l1_items, limit=own.l1_bytes),
            codec=Codec(
                namespace, secret=secret, compression=own.compression, threshold=own.compression_threshold
            ),
            stats=self.stats,
            wall=wall,
            boottime=clock,
            mint=mint,
            dice=dice,
            alone=redis_url is None and own.workers == 1,
            shared=redis_url is not None,
        )
        self._journal = Journal(
            self.tokens, namespace=namespace, origin=self._origin, directory=own.journal_dir
        )
        self._recent = Recent(clock)
        self._lookups = Lookups(self._core)
        self._fills = Fills(self._core, self._lookups)
        self._invalidations = Invalidations(self._core, None, self._journal, self._recent)
        self.portal = Portal(self._core, self._connect, self._journal, self._recent)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks = Tasks()
        self._adopted = False

    @property
    def usable(self) -> bool:
        """Whether lookups are answered at all: a store was started, or this is the only worker."""
        return self._core.alone or self._core.store is not None

    @property
    def pending(self) -> int:
        """How many tags wait for their invalidation to be delivered."""
        return len(self._journal)

    async def start(self) -> None:
        """Connect under the running event loop; quick, and successful also while the server is away.

        Calling it again changes nothing, except where the loop it ran under is closed: then it starts anew.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None and not self._loop.is_closed():
            return
        self._loop = loop
        if not self._core.shared:
            if not self._core.alone:
                log.warning("several workers share no Redis: nothing is cached")
            return
        if not self._adopted:
            self._adopted = True
            await asyncio.to_thread(self._journal.adopt)
        store = self._connect()
        bus = Bus(
            store.subscription,
            origin=self._origin,
            on_tags=self._core.drop,
            on_gap=self._gap,
            silence=self._core.settings.l1_lease,
            clock=self._core.boottime,
            dice=self._core.dice,
        )
        self._core.heard = bus.alive
        self._invalidations = Invalidations(self._core, store, self._journal, self._recent)
        self._tasks = Tasks()
        self._tasks.spawn(bus.run())
        self._tasks.spawn(self._replay())
        self._core.store = store

    async def aclose(self) -> None:
        """Finish deliveries under way, in bounded time, and close every connection. May be called again."""
        self.portal.close()
        store, self._core.store = self._core.store, None
        self._core.heard = lambda _now: False
        if self._loop is asyncio.get_running_loop() and store is not None:
            await self._invalidations.tasks.finish(_FINISH_SECONDS)
            await self._tasks.end(_FINISH_SECONDS)
            await store.aclose()
            await self._invalidations.tasks.finish(_FINISH_SECONDS)  # what could not be sent is kept now
        self._invalidations = Invalidations(self._core, None, self._journal, self._recent)
        self._loop = None

    def lookup_local(self, request: LookupRequest) -> Lookup | None:
        """What this process may answer without asking anybody, or None; in any thread, without waiting.

        It is good for serving only. Where `semantics.decide` does not serve it, or it is None, call
        `lookup`.
        """
        return self._lookups.local(request)

    async def lookup(self, request: LookupRequest) -> Lookup:
        """What the tiers hold, validated by tokens asked for now. Never raises; bounded in time."""
        if self._core.shared and self._loop is not asyncio.get_running_loop():
            return unavailable(request)
        return await self._lookups.remote(request)

    async def fill(
        self,
        ticket: Ticket | None,
        payload: bytes,
        *,
        loaded_at: float,
        lifetime: float | None,
        acceptance_lifetime: float | None = None,
    ) -> bool:
        """Store what a load brought, for `lifetime` seconds from `loaded_at` (wall s), None for no end.

        With `acceptance_lifetime` (s) the request's credential is accepted for this key too. True where the
        load may be shared with its followers; false where a tag is held, or was touched since the ticket's
        tokens were asked for, or there is no ticket: then nothing was stored.
        """
        return await self._fills.fill(
            ticket, payload, loaded_at=loaded_at, lifetime=lifetime, acceptance_lifetime=acceptance_lifetime
        )

    async def invalidate(self, tags: Collection[str], *, raise_pending: bool = False) -> int:
        """Invalidate everything that depends on `tags`, everywhere; how many of them were in use.

        Once it returns no read that begins later is answered with anything loaded before. A delivery that
        fails is repeated, then kept, and the tags are left alone in this process until it succeeds; with
        `raise_pending` that is raised as `InvalidationPendingError`. It goes on when the caller is
        cancelled.
        """
        if self._core.shared and self._loop is not asyncio.get_running_loop():
            return await asyncio.to_thread(self.portal.invalidate, tags)
        return await self._invalidations.invalidate(tags, raise_pending=raise_pending)

    def journal(self, tags: Collection[str]) -> None:
        """Put `tags` on record for a later delivery, and bypass them here until then; from any thread."""
        self._core.drop(tags)
        self._journal.add(tags)

    def hold(self, tags: Collection[str]) -> None:
        """Neither serve nor fill these tags in this process until `release`; from any thread."""
        self._core.drop(tags)
        self.tokens.hold(tags)

    def release(self, tags: Collection[str]) -> None:
        """Take back one `hold` of these tags; from any thread."""
        self.tokens.release(tags)

    def _connect(self) -> RedisStore:
        from cachewright.runtime.stores.redis import RedisStore

        assert self._url is not None
        core = self._core
        return RedisStore(
            self._url,
            self.namespace,
            core.settings,
            origin=self._origin,
            clock=core.boottime,
            stats=core.stats,
            mint=core.mint,
        )

    def _gap(self, first: bool) -> None:  # noqa: FBT001 - a callback with one fact to tell
        self.tokens.forget()
        if not first:
            self.stats.reconnected()
            self._tasks.spawn(self._invalidations.repeat())

    async def _replay(self) -> None:
        while True:
            try:
                await self._invalidations.replay()
            except Exception:  # noqa: BLE001 - whatever it was, what is kept must be delivered
                log.exception("kept invalidations could not be delivered; it is tried again")
            await asyncio.sleep(self._core.settings.replay_interval)
