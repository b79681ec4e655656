"""Get or load: one lookup, one decision, one load for all who wait for it, one fill."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final, Literal, assert_never

from cachewright.runtime.bulkhead import Bulkhead
from cachewright.runtime.engine import Engine
from cachewright.runtime.fleet import Landed, Lease
from cachewright.runtime.flight import Alone, Follow, Lead
from cachewright.runtime.negative import NegativeShare
from cachewright.runtime.questions import Lookup, LookupRequest, Tier
from cachewright.runtime.used import USED, note, untold
from cachewright.spec import lifetimes, semantics
from cachewright.spec.semantics import Bypass, Load, Policy, Reason, Scope, Serve


class Unset(Enum):
    """The type of `UNSET`: nothing was said, the policy decides."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Brought:
    """What a load returned.

    Where `fill` is false it is neither stored nor shared. `lifetime` (s, None for no end) is the policy's where
    it is left out. `tags` are the dependencies that were seen while it loaded: where one was not predicted, it
    is not stored. `negative` says that there is nothing under this key.
    """

    payload: bytes
    fill: bool = True
    lifetime: float | Literal[Unset.UNSET] | None = UNSET
    tags: Collection[str] = ()
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """An answer and the tier it came from, None where it was loaded for this call or for one that it waited for.

    `stale` says that its load failed and that it stands in for it.
    """

    payload: bytes
    tier: Tier | None
    stale: bool = False


Loader = Callable[[], Awaitable[Brought]]


@dataclass(frozen=True, slots=True)
class _Call:
    """One question: what is wanted, under which policy, and how to load it."""

    request: LookupRequest
    policy: Policy
    load: Loader


@dataclass(slots=True)
class _Right:
    """Who waits for one load: followers in this process, other processes; in the `background`, no caller."""

    lead: Lead | None = None
    lease: Lease | None = None
    background: bool = False

    def landed(self, payload: bytes, lifetime: float | None) -> None:
        """It was filled."""
        if self.lead is not None:
            self.lead.land(payload)
        self._end(filled=True, lifetime=lifetime)

    def declined(self) -> None:
        """It is nobody else's."""
        if self.lead is not None:
            self.lead.decline()
        self._end(filled=False)

    def failed(self, error: Exception) -> None:
        """It failed, and so have those in this process who waited for it."""
        if self.lead is not None:
            self.lead.fail(error)
        self._end(filled=None)

    def abandoned(self) -> None:
        """It was cancelled, unless it had ended before: the next one may try."""
        self._end(filled=None)

    def _end(self, *, filled: bool | None, lifetime: float | None = None) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.end(filled=filled, lifetime=lifetime)


class Loads:
    """Answers from the tiers of `engine`, or loads. `bulkhead` bounds how many loads run at once."""

    def __init__(self, engine: Engine, *, bulkhead: Bulkhead | None = None) -> None:
        self._engine = engine
        self._bulkhead = bulkhead
        self._negatives = NegativeShare()

    async def get_or_load(
        self, request: LookupRequest, policy: Policy, load: Loader, *, beside: bool = True
    ) -> Loaded:
        """What is cached for `request`, or what `load` brings; returns when its fill was answered or timed out.

        `load` may be called again where the policy declares retries, and later, in the background and in an
        empty context, where it asks for refreshes: it must open what it uses. Where it does not, and cannot run
        `beside` its callers, one of them waits for the refresh while the others are served. What it raises is
        raised here, unless an entry may stand in for it. Raises `OverloadedError` where the bulkhead has no room.
        """
        engine, asked = self._engine, self._engine.now
        local = engine.lookup_local(request)
        found, decision = local, None if local is None else self._decide(policy, local)
        if found is None or not isinstance(decision, Serve):
            found = await engine.lookup(request)
            decision = self._decide(policy, found)
        call = _Call(request, policy, load)
        match decision:
            case Serve(refresh=refresh):
                renewed = await self._refresh(call, found, beside=beside) if refresh else None
                if renewed is not None:
                    untold()
                    engine.stats.miss(request.target, Reason.REFRESH)
                    return renewed
                engine.stats.hit(request.target, found.tier or "l1", engine.now - asked)
                engine.served(found)
                note(engine, found.seen.entry)
                return _served(found)
            case Load(reason, fill):
                engine.stats.miss(request.target, reason)
                return await self._miss(call, found, local, fill=fill)
            case Bypass(reason):
                untold()
                engine.stats.bypassed(request.target, reason)
                return Loaded((await self._bring(call, self._bulkhead)).payload, None)
            case None:
                raise AssertionError
            case other:
                assert_never(other)

    def _decide(self, policy: Policy, found: Lookup) -> semantics.Decision:
        dice = 1.0 - self._engine.dice() if policy.early > 0 else 1.0
        return semantics.decide(policy, found.seen, self._engine.now, dice)

    async def _miss(self, call: _Call, found: Lookup, local: Lookup | None, *, fill: bool) -> Loaded:
        engine = self._engine
        try:
            place = await self._place(call, found, fill=fill)
            match place:
                case Follow(payload):
                    untold()
                    engine.stats.shared(call.request.target)
                    return Loaded(payload, None)
                case Lead():
                    with place:
                        return await self._lead(call, found, place)
                case Alone():
                    return await self._load(call, found, _Right(), fill=fill)
                case other:
                    assert_never(other)
        except Exception as error:
            instead = self._instead(call, found, local)
            if instead is None:
                raise
            untold()
            engine.stats.stood_in(call.request.target, type(error).__name__)
            return instead

    async def _place(self, call: _Call, found: Lookup, *, fill: bool) -> Lead | Follow | Alone:
        flights = self._engine.flights
        if not found.available and not found.seen.needs_acceptance:
            return await flights.join_later((call.request.key, call.request.variant, call.request.tags))
        may_follow = found.may_follow(self._engine.now)
        return await flights.join_or_lead(found.flight if fill else None, may_follow=may_follow)

    async def _lead(self, call: _Call, found: Lookup, lead: Lead) -> Loaded:
        """Load for this process; for the fleet too, where the policy asks for it."""
        engine, right = self._engine, _Right(lead)
        landed = engine.lookup_local(call.request)  # by a flight that ended while this lookup was under way
        if landed is not None and isinstance(self._decide(call.policy, landed), Serve):
            answer = _served(landed)
            note(engine, landed.seen.entry)
            lead.land(answer.payload)
            engine.stats.shared(call.request.target)
            return answer
        if call.policy.single_flight == "fleet" and found.flight is not None:
            match await engine.fleet.join(found.flight):
                case Lease() as lease:
                    right.lease = lease
                case Landed():
                    again = await engine.lookup(call.request)
                    if isinstance(semantics.decide(call.policy, again.seen, engine.now), Serve):
                        answer = _served(again)
                        note(engine, again.seen.entry)
                        lead.land(answer.payload)
                        engine.stats.shared(call.request.target)
                        return answer
                case Alone():
                    pass
        return await self._load(call, found, right)

    async def _load(self, call: _Call, found: Lookup, right: _Right, *, fill: bool = True) -> Loaded:
        engine = self._engine
        try:
            began = engine.now
            brought = await self._bring(call, None if right.background else self._bulkhead)
            engine.stats.loaded(call.request.target, engine.now - began)
            await self._land(call, found, brought, began, right, fill=fill)
        except Exception as error:
            right.failed(error)
            raise
        finally:
            right.abandoned()
        return Loaded(brought.payload, None)

    async def _bring(self, call: _Call, bulkhead: Bulkhead | None) -> Brought:
        """What the load returns, repeated where the policy declares it, within the bulkhead."""
        failures = 0
        while True:
            with await bulkhead.enter() if bulkhead is not None else nullcontext():
                try:
                    return await call.load()
                except Exception:
                    failures += 1
                    wait = semantics.retry_wait(call.policy, failures, self._engine.dice())
                    if wait is None:
                        raise
            await asyncio.sleep(wait)

    async def _land(
        self, call: _Call, found: Lookup, brought: Brought, began: float, right: _Right, *, fill: bool
    ) -> None:
        """Store what was brought, if it may be, and give it to those who wait."""
        lifetime = self._lifetime(call.policy, brought)
        if not right.background:
            self._used(call, found, None if lifetime is None else began + lifetime)
        if fill and not found.available and brought.fill and right.lead is not None:
            right.lead.land(
                brought.payload
            )  # begun after everybody who waits had come: fresh for all of them
        elif (
            fill
            and self._admitted(call.request, brought)
            and await self._fill(call, found, brought, began, lifetime)
        ):
            right.landed(brought.payload, lifetime)
        else:
            right.declined()

    def _used(self, call: _Call, found: Lookup, until: float | None) -> None:
        """Tell whoever is being answered what the value that was loaded depends on."""
        used = USED.get()
        if used is not None and found.ticket is not None:
            own = {tag: found.ticket.tokens[tag] for tag in call.request.tags}
            used.value(self._engine, own, until)
        else:
            untold()

    def _admitted(self, request: LookupRequest, brought: Brought) -> bool:
        if not brought.fill:
            return False
        if any(tag not in request.tags for tag in brought.tags):
            self._engine.stats.refused(request.target, (Reason.DEPENDENCY_DRIFT,))
            return False
        if not self._negatives.admits(negative=brought.negative):
            self._engine.stats.refused(request.target, (Reason.NEGATIVE,))
            return False
        return True

    async def _fill(
        self, call: _Call, found: Lookup, brought: Brought, began: float, lifetime: float | None
    ) -> bool:
        policy = call.policy
        return await self._engine.fill(
            found.ticket,
            brought.payload,
            loaded_at=began,
            lifetime=lifetime,
            load_seconds=self._engine.now - began if policy.early > 0 else 0.0,
            idle=lifetimes.idle_limit(policy),
            keep=lifetimes.kept(policy),
        )

    def _lifetime(self, policy: Policy, brought: Brought) -> float | None:
        if brought.lifetime is not UNSET:
            return brought.lifetime
        jitter = self._engine.dice() * 2 - 1
        return lifetimes.entry_lifetime(policy, Scope.PUBLIC, jitter, None, negative=brought.negative)

    def _instead(self, call: _Call, found: Lookup, local: Lookup | None) -> Loaded | None:
        """What stands in for a load that failed.

        While the store is away: a copy whose lease held when it was asked for, or any where the policy does
        not mind.
        """
        candidates = [found]
        if not found.available:
            candidates += [
                each for each in (local, self._engine.last_resort(call.request)) if each is not None
            ]
        now = self._engine.now
        for candidate in candidates:
            if semantics.fallback(call.policy, candidate.seen, now) is not None:
                return _served(candidate, stale=True)
        return None

    async def _refresh(self, call: _Call, served: Lookup, *, beside: bool) -> Loaded | None:
        """Have the entry that is `served` loaded anew: what was loaded, None where its caller is not to wait."""
        entry, key = served.seen.entry, (call.request.key, call.request.variant)
        assert entry is not None
        work = partial(self._renew, call, entry.loaded_at)
        if not beside:
            return await self._engine.refreshes.here(key, work)
        self._engine.refreshes.start(key, work)
        return None

    async def _renew(self, call: _Call, loaded_at: float) -> Loaded | None:
        """Load anew what is being served, unless somebody else does, or did, or the bulkhead is busy."""
        engine = self._engine
        place = nullcontext() if self._bulkhead is None else self._bulkhead.enter_background()
        if place is None:
            return None
        with place:
            found = await engine.lookup(call.request)
            entry = found.seen.entry
            lead = engine.flights.lead(found.flight)
            if lead is None:
                return None
            with lead:
                if entry is not None and entry.loaded_at > loaded_at:
                    return None
                return await self._renew_leading(call, found, lead, loaded_at)

    async def _renew_leading(self, call: _Call, found: Lookup, lead: Lead, loaded_at: float) -> Loaded | None:
        engine, right = self._engine, _Right(lead, background=True)
        if call.policy.single_flight == "fleet":
            lease = await engine.fleet.join(("refresh", found.flight, loaded_at), wait=False)
            if not isinstance(lease, Lease):
                return None
            right.lease = lease
        loaded = await self._load(call, found, right)
        engine.stats.refreshed(call.request.target)
        return loaded


def _served(found: Lookup, *, stale: bool = False) -> Loaded:
    assert found.payload is not None
    return Loaded(found.payload, found.tier, stale)
