"""One request to a cached route: lookup, decision, and either an answer or the turn to load one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import assert_never

import msgspec

from cachewright.capture.context import RequestContext
from cachewright.integrations.answers import Answer
from cachewright.integrations.binding import Lookup, is_conditional
from cachewright.integrations.parts import OUTCOMES, WARMING, Outcome, Parts
from cachewright.integrations.visits import visit_of
from cachewright.runtime.fleet import Landed, Lease
from cachewright.runtime.flight import Alone, Follow, Lead
from cachewright.runtime.questions import Lookup as Found
from cachewright.runtime.questions import LookupRequest
from cachewright.runtime.warming.heat import Visit
from cachewright.spec import semantics
from cachewright.spec.semantics import Bypass, Decision, Load, Reason, Serve


@dataclass(frozen=True, slots=True)
class Turn:
    """The application is to answer: `found` is what there was instead and `reason` why that does not do.

    Others may wait for this load, in this process (`lead`) and in the fleet (`lease`).
    """

    found: Found
    reason: Reason
    fill: bool = True
    lead: Lead | None = None
    lease: Lease | None = None

    def decline(self) -> None:
        """What was loaded is shared with nobody."""
        if self.lead is not None:
            self.lead.decline()


@dataclass(slots=True)
class Exchange:
    """One request, with what it is looked up by, and the headers that its dependencies have set (`said`).

    `plain` is the answer of a hit as the application gave it, without fields of ours. `visit` is what is counted of
    it, as far as that was made before.
    """

    parts: Parts
    context: RequestContext
    lookup: Lookup
    request: LookupRequest
    said: tuple[tuple[bytes, bytes], ...] = ()
    plain: Answer | None = None
    visit: Visit | None = None

    async def seek(self, ends: ExitStack, found: Found | None = None) -> Answer | Turn | None:
        """The answer, or the turn to load one; None: the application answers as if there were no cache.

        `found` is a lookup that was made before, if there was one. `ends` is to be closed when the request has been
        answered: then nobody waits for its load any more.
        """
        asked = self.parts.wall()
        policy = self.lookup.target.policy
        dice = 1.0 - self.parts.dice() if policy.early > 0 else 1.0
        if found is None and not self.parts.at_its_word:
            found = self.parts.cache.lookup_local(self.request)
        if self.parts.dressing is not None and self.parts.dressing.reloads(self.context.scope):
            self._count_miss(Reason.REQUESTED)
            return Turn(await self.ask(), Reason.REQUESTED)
        decision = None if found is None else semantics.decide(policy, found.seen, asked, dice)
        if found is None or (found.ticket is None and not isinstance(decision, Serve)):
            found = await self.ask()
            decision = semantics.decide(policy, found.seen, self.parts.wall(), dice)
        assert decision is not None
        if not (isinstance(decision, Serve) and decision.refresh):
            return await self._decided(ends, found, decision, asked)
        refresher = self.parts.cache.flights.lead(("refresh", self.request.key, self.request.variant))
        if refresher is None:
            return await self._decided(ends, found, semantics.through(decision, refreshing=True), asked)
        ends.enter_context(refresher)
        if found.ticket is None:
            found = await self.ask()
        decision = semantics.decide(policy, found.seen, self.parts.wall(), dice)
        return await self._decided(ends, found, semantics.through(decision, refreshing=False), asked)

    async def ask(self) -> Found:
        """What the tiers hold, with every token asked for now."""
        found = await self.parts.cache.lookup(self.request)
        return await self._at_its_word(found) if self.parts.at_its_word else found

    async def _decided(
        self, ends: ExitStack, found: Found, decision: Decision, asked: float
    ) -> Answer | Turn | None:
        match decision:
            case Serve():
                return await self._served(ends, found, asked)
            case Load(reason, fill):
                return await self._missed(ends, found, reason, fill=fill)
            case Bypass(reason):
                self.parts.cache.stats.bypassed(self.lookup.target.name, reason)
                return None
            case other:
                assert_never(other)

    async def _at_its_word(self, found: Found) -> Found:
        """`found` as a cache would see it that believes the key.

        Whatever is stored there is meant for this request, as long as the entry's own tags stand.
        """
        entry = found.seen.entry
        if entry is None:
            return found
        beyond = tuple(tag for tag in entry.tokens if tag not in found.seen.tokens)
        tokens = dict(found.seen.tokens)
        if beyond:
            name = self.lookup.target.name
            more = await self.parts.cache.lookup(LookupRequest(target=name, key=self.lookup.key, tags=beyond))
            tokens.update(more.seen.tokens)
        return replace(found, seen=replace(found.seen, tokens=tokens, predicted=(), variant=entry.variant))

    async def _served(self, ends: ExitStack, found: Found, asked: float) -> Answer | Turn | None:
        assert found.payload is not None
        assert found.tier is not None
        try:
            answer = Answer.unpack(found.payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return await self._missed(ends, found, Reason.ABSENT, fill=True)
        reason = self._unfit(answer)
        if reason is not None:
            self.parts.cache.stats.bypassed(self.lookup.target.name, reason)
            return None
        self._count_hit(found.tier, self.parts.wall() - asked)
        self.parts.cache.served(found)
        self.report(found, hit=True, reason=None)
        self.plain = answer
        dressing, meta = self.parts.dressing, found.seen.entry
        if dressing is None or meta is None:
            return answer
        return dressing.hit(self.context.scope, self.lookup.target, answer, meta, self.parts.wall())

    def _unfit(self, answer: Answer) -> Reason | None:
        """Why this request is not answered with it, although it may have it.

        The application compares the request's conditions with its validators itself, or its dependencies say
        something else than they said then.
        """
        if answer.validated and is_conditional(self.context.scope):
            return Reason.BYPASS_CONDITION
        return None if set(self.said) <= set(answer.headers) else Reason.SET_HEADER

    async def _missed(
        self, ends: ExitStack, found: Found, reason: Reason, *, fill: bool
    ) -> Answer | Turn | None:
        """The turn to load, or the load of another request for the same key under the same tokens."""
        parts = self.parts
        self._count_miss(reason)
        place = await parts.cache.flights.join_or_lead(
            found.flight if fill else None, may_follow=found.may_follow(parts.wall())
        )
        match place:
            case Follow(payload):
                return self._shared(found, payload, reason)
            case Lead():
                ends.enter_context(place)
                landed = None if reason is Reason.REFRESH else self._landed_meanwhile()
                if landed is not None and landed.payload is not None:
                    place.land(landed.payload)
                    return self._shared(landed, landed.payload, reason)
                return await self._lead(ends, found, reason, place)
            case Alone():
                return Turn(found, reason, fill)
            case other:
                assert_never(other)

    def _landed_meanwhile(self) -> Found | None:
        """What a flight has brought that ended between this request's lookup and its turn, if it may be served."""
        if self.parts.at_its_word:
            return None
        found = self.parts.cache.lookup_local(self.request)
        if found is None:
            return None
        decision = semantics.decide(self.lookup.target.policy, found.seen, self.parts.wall())
        return found if isinstance(decision, Serve) and not decision.refresh else None

    async def _lead(self, ends: ExitStack, found: Found, reason: Reason, lead: Lead) -> Answer | Turn | None:
        """The turn to load for this process; for the fleet too, where the target asks for it."""
        cache, policy = self.parts.cache, self.lookup.target.policy
        if policy.single_flight == "process" or found.flight is None:
            return Turn(found, reason, lead=lead)
        entry = found.seen.entry
        refresh = reason is Reason.REFRESH and entry is not None
        flight = ("refresh", found.flight, entry.loaded_at) if refresh and entry else found.flight
        place = await cache.fleet.join(flight, wait=not refresh and found.may_follow(self.parts.wall()))
        if isinstance(place, Lease):
            ends.callback(place.end, filled=None)
            return Turn(found, reason, lead=lead, lease=place)
        if not refresh and isinstance(place, Landed):
            found = await self.ask()
        if found.payload is None or not isinstance(
            semantics.decide(policy, found.seen, self.parts.wall()), Serve
        ):
            return Turn(found, reason, lead=lead)
        lead.land(found.payload)
        return self._shared(found, found.payload, reason)

    def _shared(self, found: Found, payload: bytes, reason: Reason) -> Answer | Turn:
        answer = Answer.unpack(payload)
        if self._unfit(answer) is not None:
            return Turn(found, reason, fill=False)
        if self._is_users:
            self.parts.cache.stats.shared(self.lookup.target.name)
        self.report(found, hit=False, reason=reason, stored=True)
        return self.dressed(answer, reason, stored=True, left=self.lookup.target.policy.ttl, shared=True)

    def dressed(
        self, answer: Answer, reason: Reason, *, stored: bool, left: float | None, shared: bool = False
    ) -> Answer:
        """What the application answered to this request, or to one that it `shared` the load with, as it leaves."""
        dressing, lookup = self.parts.dressing, self.lookup
        if dressing is None:
            return answer
        return dressing.load(
            self.context.scope,
            lookup.target,
            answer,
            tags=lookup.tags,
            left=left,
            reason=reason,
            stored=stored,
            shared=shared,
        )

    @property
    def _is_users(self) -> bool:
        """Whether somebody sent the request: what warms is no part of the hit rate."""
        return WARMING not in self.context.scope

    def _count_hit(self, tier: str, seconds: float) -> None:
        if self._is_users:
            self.parts.cache.stats.hit(self.lookup.target.name, tier, seconds)
            if self.parts.onlooker is not None:
                self.parts.onlooker.hit(self.visit or visit_of(self.lookup, self.context.scope))

    def _count_miss(self, reason: Reason) -> None:
        if self._is_users:
            self.parts.cache.stats.miss(self.lookup.target.name, reason)
            if self.parts.onlooker is not None:
                self.parts.onlooker.missed(self.visit or visit_of(self.lookup, self.context.scope))

    def report(
        self,
        found: Found,
        *,
        hit: bool,
        reason: Reason | None,
        refused: tuple[Reason, ...] = (),
        unkeyed: tuple[str, ...] = (),
        stored: bool = False,
    ) -> None:
        """Say what became of the request, to whoever asked for it in its scope."""
        outcomes = self.context.scope.get(OUTCOMES)
        if outcomes is not None:
            lookup = self.lookup
            outcomes.append(
                Outcome(
                    lookup.target.name,
                    lookup.key,
                    dict(found.seen.tokens),
                    hit,
                    reason,
                    refused,
                    unkeyed,
                    stored,
                )
            )
