"""One request to a cached route on its way through: lookup, decision, load, fill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from cachewright.capture.asgi import ASGIApp, Receive, Scope, Send
from cachewright.capture.context import RequestContext
from cachewright.integrations.answers import Answer, HeldBack
from cachewright.integrations.binding import Binder, Lookup
from cachewright.integrations.writes import DatabaseEyes
from cachewright.runtime.cache import Cache
from cachewright.runtime.lookup import Found, LookupRequest
from cachewright.spec import semantics
from cachewright.spec.semantics import GUARDS, Bypass, Load, LoadFacts, Reason, Serve
from cachewright.spec.target import Plan

#: A scope may carry a list under this key; what became of the request is appended to it.
OUTCOMES = "cachewright.outcomes"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request to a cached route; `refused` says why its load was not filled, or, where the
    specification is taken at its word, what the guards would have refused."""

    target: str
    key: str
    tags: tuple[str, ...]
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
    cache: Cache
    binder: Binder
    eyes: DatabaseEyes
    wall: Callable[[], float]
    dice: Callable[[], float]
    at_its_word: bool = False
    loading: set[RequestContext] = field(default_factory=set)


def credential_tag(credential: str) -> str:
    """The tag of everything that was accepted for one credential; also the first prefix of its own keys."""
    return f"cred:{credential}"


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
        parts = self.parts
        request = LookupRequest(
            key=self.lookup.key,
            tags=self.lookup.tags,
            levels=self.lookup.target.levels,
            credential=self.lookup.credential if self.lookup.needs_acceptance else None,
            variant=self.lookup.variant,
        )
        found = parts.cache.lookup_local(request) or await parts.cache.lookup(request)
        now = parts.wall()
        decision = semantics.decide(self.lookup.target.policy, found.seen, now)
        match decision:
            case Serve():
                await self._serve(found)
            case Load(reason, fill):
                await self._load(found, reason, fill=fill and found.usable)
            case Bypass(reason):
                self.parts.cache.stats.bypassed(self.lookup.target.name, reason)
                await self.app(self.scope, self.receive, self.send)
            case other:
                assert_never(other)

    async def _serve(self, found: Found) -> None:
        assert found.payload is not None
        try:
            answer = Answer.unpack(found.payload)
        except msgspec.DecodeError:
            await self._load(found, Reason.ABSENT, fill=found.usable)
            return
        self.parts.cache.stats.hit(self.lookup.target.name, found.tier)
        self._report(hit=True, reason=None)
        await answer.send(self.send)

    async def _load(self, found: Found, reason: Reason, *, fill: bool) -> None:
        parts = self.parts
        parts.cache.stats.miss(self.lookup.target.name, reason)
        began = parts.wall()

        async def whole(answer: Answer) -> None:
            parts.loading.discard(self.context)
            await self._fill(found, answer, reason, began, wanted=fill)

        held_back = HeldBack(self.send, whole)
        parts.loading.add(self.context)
        try:
            await self.app(self.scope, self.receive, held_back)
        finally:
            parts.loading.discard(self.context)
        if held_back.streamed:
            self._refused((Reason.STREAM,), reason)

    async def _fill(self, found: Found, answer: Answer, reason: Reason, began: float, *, wanted: bool) -> None:
        parts = self.parts
        unkeyed = parts.binder.unkeyed(self.lookup, self.context)
        if answer.status in (401, 403) and found.seen.acceptance is not None and self.lookup.credential:
            await parts.cache.invalidate((credential_tag(self.lookup.credential),))
        facts = self._facts(answer, unkeyed)
        target = self.lookup.target
        refused = semantics.may_fill(target.policy, facts, self.lookup.tags, declared=target.declared)
        binding = set(refused) - GUARDS if parts.at_its_word else set(refused)
        if wanted and not binding and not await self._store(found, answer, began):
            refused = (*refused, Reason.CHANGED)
        self._refused(refused, reason, tuple(sorted(unkeyed)))

    async def _store(self, found: Found, answer: Answer, began: float) -> bool:
        parts = self.parts
        policy = self.lookup.target.policy
        return await parts.cache.fill(
            found.ticket,
            answer.pack(),
            loaded_at=began,
            lifetime=semantics.entry_lifetime(
                policy,
                self.lookup.target.scope,
                parts.dice() * 2 - 1,
                self.lookup.expires_in,
            ),
            acceptance_lifetime=(
                semantics.acceptance_lifetime(policy, self.lookup.expires_in) if self.lookup.needs_acceptance else None
            ),
        )

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
                transaction.id and transaction.began < context.entered for _, transaction in context.statements
            ),
            unowned_sql=context.escaped,
            reads=self.parts.eyes.reads_of(context, context.started),
            unkeyed=unkeyed,
        )

    def _refused(self, refused: tuple[Reason, ...], reason: Reason, unkeyed: tuple[str, ...] = ()) -> None:
        if refused:
            self.parts.cache.stats.refused(self.lookup.target.name, refused)
        self._report(hit=False, reason=reason, refused=refused, unkeyed=unkeyed)

    def _report(
        self, *, hit: bool, reason: Reason | None, refused: tuple[Reason, ...] = (), unkeyed: tuple[str, ...] = ()
    ) -> None:
        outcomes = self.context.scope.get(OUTCOMES)
        if outcomes is not None:
            lookup = self.lookup
            outcomes.append(Outcome(lookup.target.name, lookup.key, lookup.tags, hit, reason, refused, unkeyed))
