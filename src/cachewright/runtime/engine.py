"""The engine of one process: the doors through which the rest of the runtime uses tiers, tokens and bus."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
from collections.abc import Callable, Collection
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cachewright.errors import StoreUnavailableError, SurroundingsError
from cachewright.runtime.agreement import Agreement
from cachewright.runtime.bus import Bus
from cachewright.runtime.codec import Codec
from cachewright.runtime.core import Core, log
from cachewright.runtime.disk import disk_of
from cachewright.runtime.fill import Fills
from cachewright.runtime.fleet import Fleet
from cachewright.runtime.flight import FlightTable
from cachewright.runtime.forking import start_anew_in_children
from cachewright.runtime.holders import Announced
from cachewright.runtime.invalidation import Invalidations, Recent
from cachewright.runtime.journal import Journal
from cachewright.runtime.lookup import Lookups
from cachewright.runtime.members import Members
from cachewright.runtime.portal import Portal
from cachewright.runtime.questions import Lookup, LookupRequest, Ticket, unavailable
from cachewright.runtime.refresh import Refreshes
from cachewright.runtime.settings import Bounds, Clock, Settings, SteadyWall, boottime
from cachewright.runtime.standing import Standings
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.admission import Doorkeeper
from cachewright.runtime.stores.base import Store
from cachewright.runtime.stores.memory import MemoryStore
from cachewright.runtime.sweeping import keep_swept
from cachewright.runtime.tasks import Tasks
from cachewright.runtime.tokens import LocalTokens, Mint, fresh_token
from cachewright.spec.tags import NAMESPACE_TAG

if TYPE_CHECKING:
    from cachewright.runtime.stores.redis import RedisStore

_FINISH_SECONDS = 1.0


class Engine:
    """Tiers, tokens and bus of one namespace in one process.

    `redis_url` is the server that processes share; without one only a single worker is cached, in its own
    memory. `secret` keys the digests of stored entries: the same in every process, or empty. `wall` and
    `clock` are seconds since the epoch and since boot; `mint` makes tokens of 16 random bytes, `dice`
    numbers in [0, 1). `digest` is that of the column sets this process writes row tags of, None where it
    writes none. Nothing is connected before `start`, and the server may be away then, and go and come
    back later. A forked process has an empty engine of its own, not started.
    """

    def __init__(
        self,
        namespace: str,
        *,
        redis_url: str | None = None,
        settings: Settings | None = None,
        secret: bytes = b"",
        wall: Clock | None = None,
        clock: Clock = boottime,
        mint: Mint = fresh_token,
        dice: Callable[[], float] = random.random,
        digest: bytes | None = None,
    ) -> None:
        if redis_url is not None and find_spec("redis") is None:
            raise SurroundingsError("redis-py is not installed", hint="pip install 'cachewright[redis]'")
        self.namespace = namespace
        self.dice = dice
        self._url = redis_url
        self._digest = digest
        self._build = partial(
            self._built,
            settings if settings is not None else Settings(),
            secret,
            SteadyWall(clock=clock) if wall is None else wall,
            clock,
            mint,
        )
        self._build()
        start_anew_in_children(self._forked)

    def _forked(self) -> None:
        self._build()

    def _built(self, own: Settings, secret: bytes, wall: Clock, clock: Clock, mint: Mint) -> None:
        namespace, redis_url, dice = self.namespace, self._url, self.dice
        self.stats = Stats()
        self.tokens = LocalTokens(limit=own.remembered_tags)
        self.flights = FlightTable(patience=own.flight_patience)
        self._origin = os.urandom(8)
        codec = Codec(
            namespace,
            secret=secret,
            sealing=own.sealing,
            keys=own.keys,
            compression=own.compression,
            threshold=own.compression_threshold,
        )
        disk = disk_of(own, namespace, codec, self.stats, wall=wall, dice=dice)
        self._core = Core(
            settings=own,
            tokens=self.tokens,
            l1=MemoryStore(
                Bounds(own.l1_items, own.l1_bytes, own.l1_eviction),
                groups=own.l1_targets,
                doorkeeper=Doorkeeper(own.l1_items, seed=os.urandom(16), dice=dice),
                stats=self.stats,
                demote=None if disk is None else disk.demote,
            ),
            codec=codec,
            l3=disk,
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
        self.standings = Standings(self._core)
        self._fills = Fills(self._core, self._lookups)
        self._members = (
            Members(self._origin, own.l1_lease, clock) if own.strict and redis_url is not None else None
        )
        self._invalidations = Invalidations(self._core, None, self._journal, self._recent, self._members)
        self.portal = Portal(self._core, self._connect, self._journal, self._recent, self._members)
        self.fleet = Fleet(self._core)
        self.refreshes = Refreshes(own.refreshes_at_once, clock)
        self.agreement = (
            None
            if self._digest is None
            else Agreement(
                self._core,
                self._digest,
                clock=clock,
                flush=lambda: self._invalidations.invalidate((NAMESPACE_TAG,)),
            )
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks = Tasks()
        self._chores = Tasks()
        self._adopted = False
        self._windows: list[float] = []

    @property
    def usable(self) -> bool:
        """Whether lookups are answered at all: a store was started, or this is the only worker."""
        return self._core.alone or self._core.store is not None

    @property
    def shared(self) -> bool:
        """Whether a store is configured that processes share."""
        return self._core.shared

    @property
    def alone(self) -> bool:
        """Whether this process's word is enough: there is no store, and no other worker."""
        return self._core.alone

    @property
    def url(self) -> str | None:
        """The server that processes share; None where this one has its own memory alone."""
        return self._url

    @property
    def settings(self) -> Settings:
        """The bounds it was made with."""
        return self._core.settings

    @property
    def memory(self) -> MemoryStore:
        """The l1 tier of this process."""
        return self._core.l1

    @property
    def store(self) -> Store | None:
        """The store that processes share, None where there is none or it was not started."""
        return self._core.store

    @property
    def now(self) -> float:
        """The time by which entries are dated (wall s)."""
        return self._core.wall()

    @property
    def boottime(self) -> Clock:
        """The clock that measures leases (s)."""
        return self._core.boottime

    @property
    def hears(self) -> bool:
        """Whether this process needs no word of others' invalidations, or word of them arrives."""
        return self._core.alone or self._core.heard(self._core.boottime())

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
            self._sweep()
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
            on_flights=self.fleet.ended,
            on_stamp=self._acknowledge,
            on_heard=self._heard,
        )
        self._tasks = Tasks()
        self._core.heard = self._hearing(bus, store)
        self._invalidations = Invalidations(self._core, store, self._journal, self._recent, self._members)
        self._tasks.spawn(bus.run())
        self._tasks.spawn(self._replay())
        self._tasks.spawn(store.watch(self._promoted))
        self._core.store = store
        self._sweep()
        if self.agreement is not None:
            self.agreement.hold()
            with contextlib.suppress(StoreUnavailableError):
                await self.agreement.look()
            self._tasks.spawn(self.agreement.run())

    def _hearing(self, bus: Bus, store: Store) -> Callable[[float], bool]:
        """Whether word of others arrives, and in strict mode whether they wait for this process, too."""
        members = self._members
        if members is None:
            return bus.alive
        self._tasks.spawn(members.stay(store, self.tokens.forget))
        return lambda now: bus.alive(now) and members.known(now)

    def _acknowledge(self, origin: bytes, stamp: bytes) -> None:
        if self._core.store is not None:
            self._tasks.spawn(self._core.store.acknowledge(origin, stamp))

    def _heard(self, stamp: bytes, origin: bytes) -> None:
        if self._members is not None:
            self._members.heard(stamp, origin)

    def _sweep(self) -> None:
        self._chores = Tasks()
        self._chores.spawn(keep_swept(self._core))

    async def aclose(self) -> None:
        """Finish deliveries under way, in bounded time, and close every connection. May be called again."""
        self.portal.close()
        if self._loop is asyncio.get_running_loop():
            await self.refreshes.aclose(_FINISH_SECONDS)
            await self.fleet.aclose(_FINISH_SECONDS)
            await self._chores.end(_FINISH_SECONDS)
            if self._core.l3 is not None:
                await self._core.l3.aclose(_FINISH_SECONDS)
        store, self._core.store = self._core.store, None
        self._core.heard = lambda _now: False
        if self._loop is asyncio.get_running_loop() and store is not None:
            await self._invalidations.tasks.finish(_FINISH_SECONDS)
            await self._tasks.end(_FINISH_SECONDS)
            if self._members is not None:
                await self._members.leave(store)
            await store.aclose()
            await self._invalidations.tasks.finish(_FINISH_SECONDS)  # what could not be sent is kept now
        self._invalidations = Invalidations(self._core, None, self._journal, self._recent, self._members)
        if self.agreement is not None:
            self.agreement.release()
        self._loop = None

    def tell(self, told: Callable[[Collection[str]], None]) -> None:
        """From now on call `told` with the tags of every invalidation made in this process, in any thread."""
        before = self._core.told

        def tell_all(tags: Collection[str]) -> None:
            before(tags)
            told(tags)

        self._core.told = tell_all

    def lookup_local(self, request: LookupRequest) -> Lookup | None:
        """What this process may answer without asking anybody, or None; in any thread, without waiting.

        It is good for serving only. Where `semantics.decide` does not serve it, or it is None, call
        `lookup`.
        """
        return self._lookups.local(request)

    async def lookup(self, request: LookupRequest, *, mint: bool = True) -> Lookup:
        """What the tiers hold, validated by tokens asked for now. Never raises; bounded in time.

        Without `mint` nothing is prepared for a load: for readers that only want to know what is there.
        """
        if self._core.shared and self._loop is not asyncio.get_running_loop():
            return unavailable(request)
        return await self._lookups.remote(request, mint=mint)

    async def fill(
        self,
        ticket: Ticket | None,
        payload: bytes,
        *,
        loaded_at: float,
        lifetime: float | None,
        acceptance_lifetime: float | None = None,
        load_seconds: float = 0.0,
        idle: float | None = None,
        keep: float = 0.0,
        learned: Collection[str] = (),
    ) -> bool:
        """Store what a load brought, for `lifetime` seconds from `loaded_at` (wall s), None for no end.

        With `acceptance_lifetime` (s) the request's credential is accepted for this key too. The entry says how
        long its load took, and with `idle` that it ends that long after its last read; for `keep` seconds after
        its end it may still answer for loads that fail (s, all of them). It holds the tags that its load has
        `learned` too, which is only possible while nothing changed the guards of its request. True where the
        load may be shared with its followers; false where a tag is held, or was touched since the ticket's
        tokens were asked for, or there is no ticket: then nothing was stored.
        """
        return await self._fills.fill(
            ticket,
            payload,
            loaded_at=loaded_at,
            lifetime=lifetime,
            acceptance_lifetime=acceptance_lifetime,
            load_seconds=load_seconds,
            idle=idle,
            keep=keep,
            learned=learned,
        )

    def served(self, found: Lookup) -> None:
        """An entry was served: where reads prolong its life, it lives on, here and in the store."""
        entry = self._lookups.prolonged(found)
        if entry is None or entry.idle is None or "l2" not in found.request.levels:
            return
        store, now = self._core.store, self._core.wall()
        if store is not None and self._loop is asyncio.get_running_loop():
            left = entry.idle if entry.expires_at is None else min(entry.idle, entry.expires_at - now)
            self._tasks.spawn(store.prolong(found.request.entry_name, left))

    def last_resort(self, request: LookupRequest) -> Lookup | None:
        """What this process holds for `request`, validated by nobody since its lease ended, or None."""
        return self._lookups.unvalidated(request)

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

    async def announce(self, tags: Collection[str]) -> Announced | None:
        """Where writes are crash-safe, hold `tags` in every process before they are committed; see `holders`.

        Give what it returns to `lift`, after the invalidation. Never raises.
        """
        if self._core.shared and self._loop is not asyncio.get_running_loop():
            return await asyncio.to_thread(self.portal.announce, tags)
        return await self._invalidations.announce(tags)

    async def lift(self, announced: Announced) -> None:
        """Take back what was announced. Never raises."""
        if self._loop is not asyncio.get_running_loop():
            await asyncio.to_thread(self.portal.lift, announced)
        else:
            await self._invalidations.lift(announced)

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
        from cachewright.runtime.stores.connecting import connect

        assert self._url is not None
        core = self._core
        return connect(
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

    async def _promoted(self, silent: float) -> None:
        """Another primary took over; the one before was heard last `silent` seconds ago."""
        self.tokens.forget()
        self._tasks.spawn(self._repeat(silent))

    async def _repeat(self, silent: float) -> None:
        self._windows.append(self._core.boottime() - (silent if math.isfinite(silent) else 0.0))
        await self._invalidations.repeat(silent)
        self._close_windows()

    def _close_windows(self) -> None:
        """What a new primary did not know has been told to it, unless some of it is still kept."""
        if not self.pending:
            for since in self._windows:
                self.stats.promoted(self._core.boottime() - since)
            self._windows.clear()

    async def _replay(self) -> None:
        while True:
            try:
                await self._invalidations.replay()
                self._close_windows()
            except Exception:  # noqa: BLE001 - whatever it was, what is kept must be delivered
                log.exception("kept invalidations could not be delivered; it is tried again")
            await asyncio.sleep(self._core.settings.replay_interval)
