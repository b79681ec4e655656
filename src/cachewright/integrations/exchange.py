"""One request to a cached route on its way through: lookup, decision, load, fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

import msgspec

from cachewright.capture.asgi import ASGIApp, Message, Receive, Scope, Send
from cachewright.capture.context import RequestContext
from cachewright.integrations.answers import Answer, HeldBack
from cachewright.integrations.binding import CONDITIONS, Binder, Lookup, is_conditional
from cachewright.integrations.writes import DatabaseEyes
from cachewright.runtime.engine import Engine
from cachewright.runtime.fleet import Landed, Lease
from cachewright.runtime.flight import Alone, Follow, Lead
from cachewright.runtime.lookup import Lookup as Found
from cachewright.runtime.lookup import LookupRequest
from cachewright.runtime.switches import Switches
from cachewright.spec import semantics
from cachewright.spec.directives import directives_of, varied
from cachewright.spec.semantics import (
    FAILURES,
    GUARDS,
    NOTHING_HERE,
    Bypass,
    Decision,
    Load,
    LoadFacts,
    Reason,
    Serve,
    Token,
)
from cachewright.spec.tags import credential_tag, target_tag
from cachewright.spec.target import Plan

#: A scope may carry a list under this key; what became of the request is appended to it.
OUTCOMES = "cachewright.outcomes"
#: What an application says to a credential that it does not accept (any more).
REFUSALS = (401, 403)
_CONDITION_READS = frozenset(f"header:{name}" for name in CONDITIONS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request to a cached route.

    `refused` says why its load was not filled, or, where the specification is taken at its word, what the guards
    would have refused. `tokens` are those its tags carried when it was looked up.
    """

    target: str
    key: str
    tokens: Mapping[str, Token]
    hit: bool
    reason: Reason | None
    refused: tuple[Reason, ...] = ()
    unkeyed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """What every exchange of one application works with.

    `at_its_word` takes the specification at its word: guards are reported but refuse nothing (`verify`).
    `wall` tells wall seconds, `dice` a number in [0, 1). `loading` holds the requests whose load is under way.
    """

    plan: Plan
    cache: Engine
    binder: Binder
    eyes: DatabaseEyes
    wall: Callable[[], float]
    dice: Callable[[], float]
    at_its_word: bool = False
    loading: set[RequestContext] = field(default_factory=set)
    switches: Switches | None = None

    def is_off(self, target: str) -> bool:
        """Whether somebody, or an alarm, has turned the target off for now."""
        return self.switches is not None and self.switches.is_off(target)


def taint(loading: set[RequestContext]) -> None:
    """SQL ran that belongs to no request: whatever is being loaded now may rest on it."""
    for context in tuple(loading):
        context.escaped = True


@dataclass(slots=True)
class Exchange:
    """One request, with what it needs to be answered."""

    parts: Parts
    context: RequestContext
    lookup: Lookup
    request: LookupRequest
    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send

    async def run(self) -> None:
        """Answer the request."""
        cache, lookup, request = self.parts.cache, self.lookup, self.request
        asked = self.parts.wall()
        policy = lookup.target.policy
        dice = 1.0 - self.parts.dice() if policy.early > 0 else 1.0
        found = None if self.parts.at_its_word else cache.lookup_local(request)
        decision = None if found is None else semantics.decide(policy, found.seen, asked, dice)
        if found is None or not isinstance(decision, Serve):
            found = await self._asked(request)
            decision = semantics.decide(policy, found.seen, self.parts.wall(), dice)
        if isinstance(decision, Serve) and decision.refresh:
            refresher = cache.flights.lead(("refresh", request.key, request.variant))
            if refresher is not None:
                with refresher:
                    if found.ticket is None:
                        found = await self._asked(request)
                    decision = semantics.decide(policy, found.seen, self.parts.wall(), dice)
                    await self._answer(found, semantics.through(decision, refreshing=False), asked)
                return
        await self._answer(found, semantics.through(decision, refreshing=True), asked)

    async def _asked(self, request: LookupRequest) -> Found:
        found = await self.parts.cache.lookup(request)
        return await self._at_its_word(found) if self.parts.at_its_word else found

    async def _answer(self, found: Found, decision: Decision, asked: float) -> None:
        cache, lookup = self.parts.cache, self.lookup
        match decision:
            case Serve():
                await self._serve(found, asked)
            case Load(reason, fill):
                await self._miss(found, reason, fill=fill)
            case Bypass(reason):
                cache.stats.bypassed(lookup.target.name, reason)
                await self.app(self.scope, self.receive, self.send)
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

    async def _serve(self, found: Found, asked: float) -> None:
        assert found.payload is not None
        assert found.tier is not None
        try:
            answer = Answer.unpack(found.payload)
        except msgspec.DecodeError:
            await self._miss(found, Reason.ABSENT, fill=True)
            return
        if is_conditional(self.context.scope) and _validated(answer):
            self.parts.cache.stats.bypassed(self.lookup.target.name, Reason.BYPASS_CONDITION)
            await self.app(self.scope, self.receive, self.send)
            return
        self.parts.cache.stats.hit(self.lookup.target.name, found.tier, self.parts.wall() - asked)
        self.parts.cache.served(found)
        self._report(found, hit=True, reason=None)
        await answer.send(self.send)

    async def _miss(self, found: Found, reason: Reason, *, fill: bool) -> None:
        """Load, or share the load of another request for the same key under the same tokens."""
        parts, name = self.parts, self.lookup.target.name
        parts.cache.stats.miss(name, reason)
        place = await parts.cache.flights.join_or_lead(
            found.flight if fill else None, may_follow=found.may_follow(parts.wall())
        )
        match place:
            case Follow(payload):
                parts.cache.stats.shared(name)
                self._report(found, hit=False, reason=reason)
                await Answer.unpack(payload).send(self.send)
            case Lead():
                with place:
                    await self._lead(found, reason, place)
            case Alone():
                await self._load(found, reason, None, fill=fill)
            case other:
                assert_never(other)

    async def _lead(self, found: Found, reason: Reason, lead: Lead) -> None:
        """Load for this process; for the fleet too, where the target asks for it."""
        cache, policy = self.parts.cache, self.lookup.target.policy
        if policy.single_flight == "process" or found.flight is None:
            await self._load(found, reason, lead)
            return
        entry = found.seen.entry
        refresh = reason is Reason.REFRESH and entry is not None
        flight = ("refresh", found.flight, entry.loaded_at) if refresh and entry else found.flight
        place = await cache.fleet.join(flight, wait=not refresh and found.may_follow(self.parts.wall()))
        if isinstance(place, Lease):
            try:
                await self._load(found, reason, lead, place)
            finally:
                place.end(filled=None)
            return
        if not refresh and isinstance(place, Landed):
            found = await self._asked(found.request)
        if found.payload is None or not isinstance(
            semantics.decide(policy, found.seen, self.parts.wall()), Serve
        ):
            await self._load(found, reason, lead)
            return
        lead.land(found.payload)
        cache.stats.shared(self.lookup.target.name)
        self._report(found, hit=False, reason=reason)
        await Answer.unpack(found.payload).send(self.send)

    async def _load(
        self,
        found: Found,
        reason: Reason,
        lead: Lead | None,
        lease: Lease | None = None,
        *,
        fill: bool = True,
    ) -> None:
        parts = self.parts
        began = parts.wall()

        filled = False

        async def whole(answer: Answer) -> Answer | None:
            nonlocal filled
            payload = await self._fill(found, answer, reason, began, wanted=fill)
            filled = payload is not None
            if lead is not None and payload is not None:
                lead.land(payload)
            elif lead is not None:
                lead.decline()
            if lease is not None:
                lease.end(filled=filled, lifetime=self.lookup.target.policy.ttl)
            return self._instead(found, str(answer.status)) if answer.status in FAILURES else None

        held_back = HeldBack(self.send, whole)
        parts.loading.add(self.context)
        try:
            await self.app(self.scope, self._receive_noted, held_back)
        except Exception as error:
            if not await self._failed(found, error, reason, begun=held_back.begun):
                raise
        finally:
            parts.loading.discard(self.context)
            if filled and self.context.wrote:  # after it had answered: its next execution would write again
                await parts.cache.invalidate((target_tag(self.lookup.target.name),))
                parts.cache.stats.refused(self.lookup.target.name, (Reason.WROTE,))
        parts.cache.stats.loaded(self.lookup.target.name, parts.wall() - began)
        if held_back.streamed:
            if lead is not None:
                lead.decline()
            self._refused(found, (Reason.STREAM,), reason)

    def _instead(self, found: Found, failure: str) -> Answer | None:
        """The entry that may stand in for a load that failed."""
        parts, target = self.parts, self.lookup.target
        if (
            self.context.wrote
            or found.payload is None
            or semantics.fallback(target.policy, found.seen, parts.wall()) is None
        ):
            return None
        parts.cache.stats.stood_in(target.name, failure)
        return Answer.unpack(found.payload)

    async def _failed(self, found: Found, error: Exception, reason: Reason, *, begun: bool) -> bool:
        """Whether something answered in place of a load that raised."""
        if getattr(error, "status_code", None) in REFUSALS:  # an older Starlette answers outside of routes
            await self._refuse_credential(found)
        instead = None if begun else self._instead(found, type(error).__name__)
        if instead is None:
            return False
        self._report(found, hit=False, reason=reason)
        await instead.send(self.send)
        return True

    async def _receive_noted(self) -> Message:
        """`receive`, noting that the application asked for the body: the key says nothing of it."""
        message = await self.receive()
        if message["type"] == "http.request":
            self.context.read("body")
        return message

    async def _refuse_credential(self, found: Found) -> None:
        """The application refused a credential that it had accepted: nothing it was accepted for holds."""
        if found.seen.acceptance is not None and self.lookup.credential:
            await self.parts.cache.invalidate((credential_tag(self.lookup.credential),))

    async def _fill(
        self, found: Found, answer: Answer, reason: Reason, began: float, *, wanted: bool
    ) -> bytes | None:
        """Store the answer if it may be stored; its payload if it was."""
        parts, lookup = self.parts, self.lookup
        self.context.reads |= varied(answer.fields(b"vary"))
        unkeyed = parts.binder.unkeyed(lookup, self.context)
        if _validated(answer) and not is_conditional(self.context.scope):
            unkeyed -= _CONDITION_READS  # absent here, and where they are present the entry is not served
        if answer.status in REFUSALS:
            await self._refuse_credential(found)
        facts = self._facts(answer, unkeyed)
        policy = lookup.target.policy
        refused = semantics.may_fill(policy, facts, lookup.tags, declared=lookup.target.declared)
        binding = set(refused) - GUARDS if parts.at_its_word else set(refused)
        payload = None
        if wanted and not binding:
            payload = await self._stored(found, answer, began)
        self._refused(found, refused, reason, tuple(sorted(unkeyed)))
        return payload

    async def _stored(self, found: Found, answer: Answer, began: float) -> bytes | None:
        parts, lookup = self.parts, self.lookup
        policy, payload = lookup.target.policy, answer.pack()
        negative = answer.status in NOTHING_HERE
        jitter = parts.dice() * 2 - 1
        left = None if lookup.expires_at is None else max(0.0, lookup.expires_at - began)
        stored = await parts.cache.fill(
            found.ticket,
            payload,
            loaded_at=began,
            lifetime=semantics.entry_lifetime(
                policy,
                lookup.target.scope,
                jitter,
                left,
                negative=negative,
                cache_control=directives_of(answer.fields(b"cache-control")),
            ),
            acceptance_lifetime=(
                semantics.acceptance_lifetime(policy, left) if lookup.needs_acceptance else None
            ),
            load_seconds=parts.wall() - began if policy.early > 0 else 0.0,
            idle=semantics.idle_limit(policy),
            keep=semantics.kept(policy),
        )
        return payload if stored else None

    def _facts(self, answer: Answer, unkeyed: frozenset[str]) -> LoadFacts:
        context = self.context
        return LoadFacts(
            status=answer.status,
            size=len(answer.body),
            scope=self.lookup.target.scope,
            set_cookie=answer.header(b"set-cookie") is not None,
            cache_control=directives_of(answer.fields(b"cache-control")),
            wrote=context.wrote,
            background=context.background,
            early_sql=any(statement.started < context.entered for statement, _ in context.statements),
            snapshot=any(
                transaction.id and transaction.began < context.entered
                for _, transaction in context.statements
            ),
            unowned_sql=context.escaped,
            reads=self.parts.eyes.reads_of(context, context.started),
            unkeyed=unkeyed,
        )

    def _refused(
        self, found: Found, refused: tuple[Reason, ...], reason: Reason, unkeyed: tuple[str, ...] = ()
    ) -> None:
        if refused:
            self.parts.cache.stats.refused(self.lookup.target.name, refused)
        self._report(found, hit=False, reason=reason, refused=refused, unkeyed=unkeyed)

    def _report(
        self,
        found: Found,
        *,
        hit: bool,
        reason: Reason | None,
        refused: tuple[Reason, ...] = (),
        unkeyed: tuple[str, ...] = (),
    ) -> None:
        outcomes = self.context.scope.get(OUTCOMES)
        if outcomes is not None:
            lookup = self.lookup
            outcomes.append(
                Outcome(
                    lookup.target.name, lookup.key, dict(found.seen.tokens), hit, reason, refused, unkeyed
                )
            )


def _validated(answer: Answer) -> bool:
    """Whether the application gives validators, and so compares them with the request's conditions itself."""
    return answer.header(b"etag") is not None or answer.header(b"last-modified") is not None
