"""One request to a cached route on its way through: lookup, decision, load, fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import msgspec

from cachewright.capture.asgi import ASGIApp, Receive, Scope, Send
from cachewright.capture.context import RequestContext
from cachewright.capture.credentials import header_of
from cachewright.integrations.answers import Answer, HeldBack
from cachewright.integrations.binding import Binder, Lookup
from cachewright.integrations.writes import DatabaseEyes
from cachewright.runtime.engine import Engine
from cachewright.runtime.flight import Alone, Follow, Lead
from cachewright.runtime.lookup import Lookup as Found
from cachewright.runtime.lookup import LookupRequest
from cachewright.spec import semantics
from cachewright.spec.semantics import GUARDS, Bypass, Load, LoadFacts, Reason, Serve, Token
from cachewright.spec.tags import credential_tag, target_tag
from cachewright.spec.target import Plan

#: A scope may carry a list under this key; what became of the request is appended to it.
OUTCOMES = "cachewright.outcomes"
#: RFC 9110 §13.1
_CONDITIONS = ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since")
_CONDITION_READS = frozenset(f"header:{name}" for name in _CONDITIONS)


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
    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send

    async def run(self) -> None:
        """Answer the request."""
        cache, lookup = self.parts.cache, self.lookup
        asked = self.parts.wall()
        request = LookupRequest(
            target=lookup.target.name,
            key=lookup.key,
            tags=lookup.tags,
            levels=lookup.target.levels,
            needs_acceptance=lookup.needs_acceptance,
            credential=lookup.credential,
            variant=lookup.variant,
        )
        found = None if self.parts.at_its_word else cache.lookup_local(request)
        decision = None if found is None else semantics.decide(lookup.target.policy, found.seen, asked)
        if found is None or not isinstance(decision, Serve):
            found = await cache.lookup(request)
            if self.parts.at_its_word:
                found = await self._at_its_word(found)
            decision = semantics.decide(lookup.target.policy, found.seen, self.parts.wall())
        match decision:
            case Serve():
                await self._serve(found, asked)
            case Load(reason, fill):
                await self._miss(found, reason, fill=fill)
            case Bypass(reason):
                cache.stats.bypassed(lookup.target.name, reason)
                await self.app(self.scope, self.receive, self.send)
            case None:
                raise AssertionError
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
        if _conditional(self.context.scope) and _validated(answer):
            self.parts.cache.stats.bypassed(self.lookup.target.name, Reason.BYPASS_CONDITION)
            await self.app(self.scope, self.receive, self.send)
            return
        self.parts.cache.stats.hit(self.lookup.target.name, found.tier, self.parts.wall() - asked)
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
                    await self._load(found, reason, place)
            case Alone():
                await self._load(found, reason, None, fill=fill)
            case other:
                assert_never(other)

    async def _load(self, found: Found, reason: Reason, lead: Lead | None, *, fill: bool = True) -> None:
        parts = self.parts
        began = parts.wall()

        filled = False

        async def whole(answer: Answer) -> None:
            nonlocal filled
            payload = await self._fill(found, answer, reason, began, wanted=fill)
            filled = payload is not None
            if lead is not None and payload is not None:
                lead.land(payload)
            elif lead is not None:
                lead.decline()

        held_back = HeldBack(self.send, whole)
        parts.loading.add(self.context)
        try:
            await self.app(self.scope, self.receive, held_back)
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

    async def _fill(
        self, found: Found, answer: Answer, reason: Reason, began: float, *, wanted: bool
    ) -> bytes | None:
        """Store the answer if it may be stored; its payload if it was."""
        parts, lookup = self.parts, self.lookup
        unkeyed = parts.binder.unkeyed(lookup, self.context)
        if _validated(answer) and not _conditional(self.context.scope):
            unkeyed -= _CONDITION_READS  # absent here, and where they are present the entry is not served
        if answer.status in (401, 403) and found.seen.acceptance is not None and lookup.credential:
            await parts.cache.invalidate((credential_tag(lookup.credential),))
        facts = self._facts(answer, unkeyed)
        policy = lookup.target.policy
        refused = semantics.may_fill(policy, facts, lookup.tags, declared=lookup.target.declared)
        binding = set(refused) - GUARDS if parts.at_its_word else set(refused)
        payload = None
        if wanted and not binding:
            payload = await self._stored(found, answer.pack(), began)
        self._refused(found, refused, reason, tuple(sorted(unkeyed)))
        return payload

    async def _stored(self, found: Found, payload: bytes, began: float) -> bytes | None:
        parts, lookup = self.parts, self.lookup
        policy = lookup.target.policy
        left = None if lookup.expires_at is None else max(0.0, lookup.expires_at - began)
        stored = await parts.cache.fill(
            found.ticket,
            payload,
            loaded_at=began,
            lifetime=semantics.entry_lifetime(policy, lookup.target.scope, parts.dice() * 2 - 1, left),
            acceptance_lifetime=(
                semantics.acceptance_lifetime(policy, left) if lookup.needs_acceptance else None
            ),
        )
        return payload if stored else None

    def _facts(self, answer: Answer, unkeyed: frozenset[str]) -> LoadFacts:
        context = self.context
        return LoadFacts(
            status=answer.status,
            size=len(answer.body),
            scope=self.lookup.target.scope,
            set_cookie=answer.header(b"set-cookie") is not None,
            cache_control=answer.cache_control(),
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


def _conditional(scope: Mapping[str, Any]) -> bool:
    return any(header_of(scope, name) is not None for name in _CONDITIONS)


def _validated(answer: Answer) -> bool:
    """Whether the application gives validators, and so compares them with the request's conditions itself."""
    return answer.header(b"etag") is not None or answer.header(b"last-modified") is not None
