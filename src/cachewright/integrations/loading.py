"""A load: the application answers, and what it answers is stored before its last byte leaves, if it may be."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from cachewright.capture.asgi import Message, Scope, Send
from cachewright.integrations.answers import Answer, HeldBack
from cachewright.integrations.binding import CONDITIONS, is_conditional
from cachewright.integrations.exchange import Exchange, Turn
from cachewright.runtime.questions import Ticket
from cachewright.runtime.used import USED, Used
from cachewright.spec import filling, lifetimes, semantics
from cachewright.spec.directives import directives_of, varied
from cachewright.spec.filling import LoadFacts
from cachewright.spec.semantics import FAILURES, GUARDS, NOTHING_HERE, Reason
from cachewright.spec.tags import credential_tag, target_tag

_log = logging.getLogger("cachewright")

#: What an application says to whoever it knows, and does not let have this.
FORBIDDEN = 403
#: What an application says to a credential that it does not accept (any more).
REFUSALS = (401, FORBIDDEN)
_CONDITION_READS = frozenset(f"header:{name}" for name in CONDITIONS)


@dataclass(slots=True)
class Loading:
    """The load of one request, whose `turn` it is since `began` (wall s); `scope` is that of its route."""

    exchange: Exchange
    turn: Turn
    began: float
    scope: Scope
    filled: bool = False
    lifetime: float | None = None

    async def run(self, app: Callable[[Send], Awaitable[None]], send: Send) -> None:
        """Run `app` with a `send` of its own, and pass on what it answers."""
        held_back = HeldBack(send, self.whole)
        self.open()
        try:
            await app(held_back)
        except Exception as error:
            instead = await self.failed(error, begun=held_back.begun)
            if instead is None:
                raise
            await instead.send(send)
        finally:
            await self.close(streamed=held_back.streamed)

    def open(self) -> None:
        """The application's code is about to run."""
        self.exchange.parts.loading.add(self.exchange.context)

    async def close(self, *, streamed: bool) -> None:
        """The application has returned, or failed."""
        exchange = self.exchange
        cache, context, name = exchange.parts.cache, exchange.context, exchange.lookup.target.name
        exchange.parts.loading.discard(context)
        if self.filled and context.wrote:  # after it had answered: its next execution would write again
            await cache.invalidate((target_tag(name),))
            cache.stats.refused(name, (Reason.WROTE,))
        cache.stats.loaded(name, exchange.parts.wall() - self.began)
        if streamed:
            self.turn.decline()
            self._refused((Reason.STREAM,))

    async def whole(self, answer: Answer) -> Answer | None:
        """The application's answer is there; what is to be sent instead, if anything."""
        turn = self.turn
        payload = await self._fill(answer)
        self.filled = payload is not None
        if turn.lead is not None and payload is not None:
            turn.lead.land(payload)
        else:
            turn.decline()
        if turn.lease is not None:
            turn.lease.end(filled=self.filled, lifetime=self.exchange.lookup.target.policy.ttl)
        instead = self._instead(str(answer.status)) if answer.status in FAILURES else None
        if instead is not None or self.exchange.parts.dressing is None:
            return instead
        return self.exchange.dressed(answer, turn.reason, stored=self.filled, left=self.lifetime)

    async def failed(self, error: Exception, *, begun: bool) -> Answer | None:
        """What answers in place of a load that raised, if anything."""
        status = getattr(error, "status_code", None)
        if status in REFUSALS:  # an older Starlette answers outside of routes
            await self._refuse_credential(status)
        instead = None if begun else self._instead(type(error).__name__)
        if instead is not None:
            self.exchange.report(self.turn.found, hit=False, reason=self.turn.reason)
        elif hasattr(error, "status_code"):
            self._refused((Reason.STATUS,))
        return instead

    def _instead(self, failure: str) -> Answer | None:
        """The entry that may stand in for a load that failed."""
        parts, target, found = self.exchange.parts, self.exchange.lookup.target, self.turn.found
        if (
            self.exchange.context.wrote
            or found.payload is None
            or semantics.fallback(target.policy, found.seen, parts.wall()) is None
        ):
            return None
        parts.cache.stats.stood_in(target.name, failure)
        answer = Answer.unpack(found.payload)
        answer.repeat(self.scope)
        return answer

    async def _refuse_credential(self, status: int) -> None:
        """The application refused a credential that it had accepted: nothing it was accepted for holds."""
        exchange, seen = self.exchange, self.turn.found.seen
        credential = exchange.lookup.credential
        if seen.acceptance is None or not credential:
            return
        if exchange.lookup.ground is not None and status == FORBIDDEN:
            now = (await exchange.ask()).seen
            if semantics.accepted(now.acceptance, now.tokens, exchange.parts.wall()):
                self._object_decides()
                await exchange.parts.cache.invalidate((target_tag(exchange.lookup.target.name),))
        await exchange.parts.cache.invalidate((credential_tag(credential),))

    def _object_decides(self) -> None:
        """Who may have one object of the target may not have another: no acceptance is for both any more."""
        parts, target = self.exchange.parts, self.exchange.lookup.target
        parts.cache.stats.refused(target.name, (Reason.OBJECT_DECIDES,))
        if parts.binder.distrust(target):
            _log.warning(
                "%s says authorization: target, but access depends on the object: each key is accepted by itself",
                target.name,
            )

    def _accepts(self, answer: Answer, learned: tuple[str, ...]) -> bool:
        """Whether this load shows that the application accepts the credential for what it was looked up under.

        It does for the full key. Beyond it, all that was read from the database before the endpoint was called, or
        at all where nobody saw that, must be among what such an acceptance rests on.
        """
        lookup, context = self.exchange.lookup, self.exchange.context
        if lookup.ground is None or not lookup.needs_acceptance:
            return lookup.needs_acceptance
        if answer.status in NOTHING_HERE:
            return False
        rests_on = {*lookup.ground.tags, *learned}
        reads = self.exchange.parts.eyes.reads_of(context, context.started, context.called)
        if all(not rests_on.isdisjoint(read) for read in reads):
            return True
        self._object_decides()
        return False

    async def _fill(self, answer: Answer) -> bytes | None:
        """Store the answer if it may be stored; its payload if it was."""
        exchange = self.exchange
        parts, lookup, context = exchange.parts, exchange.lookup, exchange.context
        context.reads |= varied(answer.fields(b"vary"))
        unkeyed = parts.binder.unkeyed(lookup, context)
        if answer.validated and not is_conditional(context.scope):
            unkeyed -= _CONDITION_READS  # absent here, and where they are present the entry is not served
        if answer.status in REFUSALS:
            await self._refuse_credential(answer.status)
        facts = self._facts(answer, unkeyed)
        policy = lookup.target.policy
        learned = lookup.target.learning.learned(lookup.tags, facts.reads)
        used = used_here()
        covering = (*lookup.tags, *learned, *used.tokens)
        refused = filling.may_fill(policy, facts, covering, declared=lookup.target.declared)
        binding = set(refused) - GUARDS if parts.at_its_word else set(refused)
        payload = await self._stored(answer, learned, used) if self.turn.fill and not binding else None
        self._refused(refused, tuple(sorted(unkeyed)), stored=payload is not None)
        return payload

    async def _stored(self, answer: Answer, learned: tuple[str, ...], used: Used) -> bytes | None:
        parts, lookup = self.exchange.parts, self.exchange.lookup
        policy, payload, began = lookup.target.policy, answer.after(self.scope).pack(), self.began
        left = None if lookup.expires_at is None else max(0.0, lookup.expires_at - began)
        self.lifetime = lifetimes.entry_lifetime(
            policy,
            lookup.target.scope,
            parts.dice() * 2 - 1,
            left,
            negative=answer.status in NOTHING_HERE,
            cache_control=directives_of(answer.fields(b"cache-control")),
        )
        if used.until < math.inf:
            self.lifetime = min(used.until - began, math.inf if self.lifetime is None else self.lifetime)
        accepted = self._accepts(answer, learned)
        if not parts.binder.stands(
            lookup
        ):  # a process that still believes in its ground would serve it on that
            return None
        stored = await parts.cache.fill(
            _with(self.turn.found.ticket, used),
            payload,
            loaded_at=began,
            lifetime=self.lifetime,
            acceptance_lifetime=lifetimes.acceptance_lifetime(policy, left) if accepted else None,
            load_seconds=parts.wall() - began if policy.early > 0 else 0.0,
            idle=lifetimes.idle_limit(policy),
            keep=lifetimes.kept(policy),
            learned=(*learned, *used.tokens),
        )
        return payload if stored else None

    def _facts(self, answer: Answer, unkeyed: frozenset[str]) -> LoadFacts:
        context, asked = self.exchange.context, self.exchange.lookup.asked or self.exchange.context.entered
        return LoadFacts(
            status=answer.status,
            size=len(answer.body),
            scope=self.exchange.lookup.target.scope,
            set_cookie=answer.header(b"set-cookie") is not None,
            cache_control=directives_of(answer.fields(b"cache-control")),
            wrote=context.wrote,
            background=context.background,
            early_sql=any(statement.started < asked for statement, _ in context.statements),
            snapshot=any(
                transaction.id and transaction.began < asked for _, transaction in context.statements
            ),
            unowned_sql=context.escaped,
            nested_cache=used_here().untold,
            reads=self.exchange.parts.eyes.reads_of(context, context.started),
            unkeyed=unkeyed,
        )

    def _refused(
        self, refused: tuple[Reason, ...], unkeyed: tuple[str, ...] = (), *, stored: bool = False
    ) -> None:
        exchange, turn = self.exchange, self.turn
        if refused:
            exchange.parts.cache.stats.refused(exchange.lookup.target.name, refused)
        exchange.report(
            turn.found, hit=False, reason=turn.reason, refused=refused, unkeyed=unkeyed, stored=stored
        )


def used_here() -> Used:
    """What caches in code have given to this answer so far."""
    used = USED.get()
    assert used is not None, "the cache is around every request"
    return used


def _with(ticket: Ticket | None, used: Used) -> Ticket | None:
    """`ticket` with the tokens of what was used; None where a tag of it has changed since the lookup."""
    if ticket is None or not used.tokens:
        return ticket
    tokens = {**ticket.tokens, **used.tokens}
    stands = all(tokens[tag] == token for tag, token in ticket.tokens.items())
    return replace(ticket, tokens=tokens) if stands else None


async def noting_the_body(receive: Callable[[], Awaitable[Message]], exchange: Exchange) -> Message:
    """A message for the application; that it asked for the body is noted: the key says nothing of it."""
    message = await receive()
    if message["type"] == "http.request":
        exchange.context.read("body")
    return message
