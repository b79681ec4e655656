"""The runtime's own cache over a recording, in the order of the replay: what the edge does, without HTTP."""

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cachewright.evidence.dependencies import WriteSeen
from cachewright.evidence.trace import RequestSeen
from cachewright.runtime.engine import Engine
from cachewright.runtime.questions import Lookup as Found
from cachewright.runtime.questions import LookupRequest, credential_tag
from cachewright.runtime.settings import Settings
from cachewright.simulator.figures import Run
from cachewright.simulator.lookups import Lookup, Prepared
from cachewright.spec.filling import may_fill
from cachewright.spec.lifetimes import acceptance_lifetime, entry_lifetime, idle_limit, kept
from cachewright.spec.semantics import (
    NOTHING_HERE,
    Bypass,
    EntryMeta,
    Load,
    Reason,
    Serve,
    decide,
    read,
    through,
)

SECOND = 1_000_000_000
DICE = math.exp(-1)
ROOM = {"l1_items": 1_000_000, "l1_bytes": 1 << 40}
#: At one moment writes begin, then end, then loads are filled, then lookups ask.
HOLD, END, FILL, LOOKUP = range(4)

Counts = dict[str, dict[str, Any]]


class Clock:
    """Seconds that the trace tells."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def memory_cache(clock: Clock, namespace: str = "app") -> Engine:
    """A cache of one worker, in its own memory, with nothing left to chance."""
    numbers = itertools.count(1)
    return Engine(
        namespace,
        settings=Settings(workers=1, **ROOM),
        wall=clock,
        clock=clock,
        mint=lambda: next(numbers).to_bytes(16, "big"),
        dice=lambda: 0.5,
    )


@dataclass(frozen=True)
class Loading:
    lookup: Lookup
    found: Found
    fill: bool
    refresh: bool


@dataclass
class Driver:
    """One cache, one recording. A fill comes when the application returned.

    Memory lets go of what an invalidation ended, a shared store keeps it until it is replaced: where an entry
    that was filled is absent, `forgets` tells from the end of its life whether it had expired, as a store
    would say.
    """

    prepared: Prepared
    cache: Engine
    clock: Clock
    forgets: bool = True
    keep: float = 0.0
    filled: dict[tuple[str, ...], EntryMeta] = field(default_factory=dict)
    refreshing: set[tuple[tuple[str, ...], bytes | None]] = field(default_factory=set)

    async def run(self) -> Counts:
        order = itertools.count()
        queue = [(at, turn, next(order), event) for at, turn, event in self._recorded()]
        heapq.heapify(queue)
        await self.cache.start()
        while queue:
            at, turn, _, event = heapq.heappop(queue)
            self.clock.now = at / SECOND
            match event:
                case WriteSeen() if turn == HOLD:
                    self.cache.hold(event.tags)
                case WriteSeen():
                    await self._ended(event)
                case RequestSeen():
                    await self.cache.invalidate((credential_tag(event.credential),))
                case Lookup():
                    loading = await self._looked_up(event)
                    if loading is not None:
                        heapq.heappush(queue, (event.request.returned, FILL, next(order), loading))
                case Loading():
                    await self._filled(event)
        return counted(self.cache)

    def _recorded(self) -> Iterator[tuple[int, int, Any]]:
        for write in self.prepared.writes:
            yield write.began, HOLD, write
            yield write.ended, END, write
        for request in self.prepared.logouts:
            yield request.returned, END, request
        for lookup in self.prepared.lookups:
            yield lookup.at, LOOKUP, lookup

    async def _ended(self, write: WriteSeen) -> None:
        if write.committed:
            await self.cache.invalidate(write.tags)
        self.cache.release(write.tags)

    async def _looked_up(self, lookup: Lookup) -> Loading | None:
        target, stats = lookup.target, self.cache.stats
        request = LookupRequest(
            target.name,
            "|".join(lookup.key),
            lookup.tags,
            needs_acceptance=lookup.needs_acceptance,
            credential=lookup.request.credential,
            variant=lookup.variant,
            guards=target.learning.guards,
        )
        found = self.cache.lookup_local(request)
        decision = None if found is None else decide(target.policy, found.seen, self.clock.now, DICE)
        if not isinstance(decision, Serve) or decision.refresh:
            found = await self.cache.lookup(request)
            decision = decide(target.policy, found.seen, self.clock.now, DICE)
        match through(decision, refreshing=(lookup.key, lookup.variant) in self.refreshing):
            case Serve():
                assert found.payload is not None
                self.cache.served(found)
                self.filled[lookup.key] = read(self.filled[lookup.key], self.clock.now)
                stats.hit(target.name, found.tier, 0.0)
            case Bypass(reason):
                stats.bypassed(target.name, reason)
            case Load(reason, fill):
                stats.miss(target.name, self._told(lookup, reason))
                refresh = reason is Reason.REFRESH
                if refresh:
                    self.refreshing.add((lookup.key, lookup.variant))
                return Loading(lookup, found, fill, refresh)
        return None

    def _told(self, lookup: Lookup, reason: Reason) -> Reason:
        if not self.forgets or reason is not Reason.ABSENT or lookup.key not in self.filled:
            return reason
        return Reason.EXPIRED if self.filled[lookup.key].expired(self.clock.now) else Reason.INVALIDATED

    async def _filled(self, loading: Loading) -> None:
        lookup, found = loading.lookup, loading.found
        target, policy = lookup.target, lookup.target.policy
        began = lookup.at / SECOND
        if loading.refresh:
            self.refreshing.discard((lookup.key, lookup.variant))
        credential = lookup.request.credential
        if lookup.facts.status in (401, 403) and found.seen.acceptance is not None and credential:
            await self.cache.invalidate((credential_tag(credential),))
        refused = may_fill(policy, lookup.facts, lookup.entry_tags, declared=target.declared)
        if refused:
            self.cache.stats.refused(target.name, refused)
        if refused or not loading.fill:
            return
        negative = lookup.facts.status in NOTHING_HERE
        lifetime = entry_lifetime(policy, target.scope, 0.0, lookup.credential_seconds, negative=negative)
        until = acceptance_lifetime(policy, lookup.credential_seconds) if lookup.needs_acceptance else None
        if await self.cache.fill(
            found.ticket,
            str(lookup.request.id).encode(),
            loaded_at=began,
            lifetime=lifetime,
            acceptance_lifetime=until,
            load_seconds=(lookup.request.returned - lookup.at) / SECOND,
            idle=idle_limit(policy),
            keep=max(kept(policy), self.keep),
            learned=lookup.learned,
        ):
            end = None if lifetime is None else began + lifetime
            self.filled[lookup.key] = EntryMeta(began, end, {}, idle=idle_limit(policy))


def counted(cache: Engine) -> Counts:
    """What the runtime counted, by target."""
    return {
        name: {
            "hits": sum(target["hits"].values()),
            "misses": target["misses"],
            "refused": target["refused"],
            "bypassed": target["bypassed"],
        }
        for name, target in cache.stats.snapshot()["targets"].items()
    }


def replayed(prepared: Prepared, run: Run) -> Counts:
    """What a replay counted, by target."""
    return {
        lookup.target.name: {
            "hits": run.hits_of[lookup.route.id],
            "misses": dict(run.misses_of[lookup.route.id]),
            "refused": dict(run.refused_of[lookup.route.id]),
            "bypassed": dict(run.bypassed_of[lookup.route.id]),
        }
        for lookup in prepared.lookups
    }
