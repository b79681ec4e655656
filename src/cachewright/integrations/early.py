"""Hits before routing: what l1 holds for a request whose way through the router is known.

Whatever is not plainly a hit goes its way and is looked at again at the door of its route.
"""

from __future__ import annotations

import msgspec

from cachewright.capture.asgi import Reply, Scope
from cachewright.integrations.answers import Answer
from cachewright.integrations.binding import Lookup
from cachewright.integrations.bound import Bindings, Bound
from cachewright.integrations.comparing import COMPARED, Comparisons
from cachewright.integrations.edge import UNCACHED
from cachewright.integrations.parts import OUTCOMES, WARMING, Outcome, Parts
from cachewright.runtime.codec import Entry
from cachewright.spec import semantics
from cachewright.spec.semantics import Bypass, Serve

_METHODS = ("GET", "HEAD")


class Early:
    """The shortcut of an application's edge."""

    def __init__(self, parts: Parts, bindings: Bindings, comparisons: Comparisons) -> None:
        self._parts = parts
        self._comparisons = comparisons
        self._bindings = bindings

    # Shortcut

    def reply(self, scope: Scope, routed: Scope | None, version: int) -> Reply | None:
        """The messages of a hit."""
        bound = self._bound(scope, routed, version)
        if bound is None or bound.request is None or bound.placed is None or self._compared(scope):
            return None
        parts, standing, dressing = self._parts, bound.standing, self._parts.dressing
        asked = parts.wall()
        entry = (
            None if standing is None else parts.cache.standings.entry(standing, parts.cache.boottime(), asked)
        )
        answer = None if entry is None else entry.opened
        if answer is None:
            answer = self._opened(bound, asked)
        if answer is None:
            return None
        if routed is not None:
            bound.placed.put(routed)
            answer.repeat(routed)
        parts.cache.stats.hit(bound.request.target, "l1", parts.wall() - asked)
        if parts.onlooker is not None and bound.visit is not None:
            parts.onlooker.hit(bound.visit)
            parts.onlooker.follow(bound.route, scope, bound.path)
        if OUTCOMES in scope:
            scope[OUTCOMES].append(_outcome(bound))
        if dressing is not None:
            lookup, standing = bound.lookup, bound.standing
            assert isinstance(lookup, Lookup)
            assert standing is not None
            answer = dressing.hit(scope, lookup.target, answer, standing.meta, asked)
        start = {"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)}
        return start, {"type": "http.response.body", "body": answer.body}

    def _bound(self, scope: Scope, routed: Scope | None, version: int) -> Bound | None:
        """What the request is bound to, where it is beyond doubt which route it takes."""
        if scope["method"] not in _METHODS:
            return None
        bound = self._bindings.known(scope)
        if bound is None or bound.placed is None or bound.placed.version != version:
            return None
        if routed is not None and routed.get("root_path", "") != bound.placed.root_path:
            return None
        if bound.conditional or scope.get(UNCACHED) or scope.get(WARMING) or bound.route.outdated:
            return None
        parts = self._parts
        if (
            bound.request is None
            or parts.is_off(bound.request.target)
            or not parts.binder.stands(bound.lookup)
        ):
            return None
        return None if parts.dressing is not None and parts.dressing.reloads(scope) else bound

    def _compared(self, scope: Scope) -> bool:
        """Whether this request is one whose hit is compared: that is done at the door of its route."""
        if not self._comparisons.samples():
            return False
        scope[COMPARED] = True
        return True

    def forget(self) -> None:
        """Routes were looked at anew."""
        self._bindings.forget()

    def _opened(self, bound: Bound, now: float) -> Answer | None:
        """The answer of a lookup in l1 that comes to a plain hit, kept with its entry."""
        entry = self._decided(bound, now)
        if entry is None:
            return None
        if entry.opened is None:
            try:
                answer = Answer.unpack(entry.payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
            self._parts.cache.standings.opened(entry, answer, len(entry.payload))
        return entry.opened  # type: ignore[no-any-return]  # nobody else opens what is filled here

    def _decided(self, bound: Bound, now: float) -> Entry | None:
        """The entry of a lookup in l1 that comes to a plain hit; what it came to is remembered."""
        cache, lookup = self._parts.cache, bound.lookup
        if bound.request is None or isinstance(lookup, Bypass):
            return None
        found = cache.lookup_local(bound.request)
        if found is None:
            return None
        policy = lookup.target.policy
        if self._comparisons.hides(lookup.target.name, policy.mode):
            return None
        decision = semantics.decide(policy, found.seen, now)
        if not isinstance(decision, Serve) or decision.refresh:
            return None
        bound.standing = cache.standings.of(found, semantics.serves_until(policy, found.seen))
        return (
            None if bound.standing is None else cache.standings.entry(bound.standing, cache.boottime(), now)
        )


def _outcome(bound: Bound) -> Outcome:
    standing = bound.standing
    assert standing is not None
    tokens = dict(standing.meta.tokens)
    if standing.acceptance is not None:
        tokens.update(standing.acceptance.tokens)
    return Outcome(standing.request.target, standing.request.key, tokens, hit=True, reason=None)
