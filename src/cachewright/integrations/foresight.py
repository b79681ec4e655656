"""Loads that nobody asked for yet: hot keys refilled once they are invalidated, and what clients ask for next.

Each goes through the application like any other request, under tokens that were read before it, so that it can be
neither staler nor more foreign than what a user would have loaded. What everybody shares is asked for with no
credential, or as `warm_as()` says; what is somebody's own only with the headers of a request that the same client
made a moment ago, which are kept no longer than that.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from cachewright.capture.context import RequestContext
from cachewright.capture.routes import Route
from cachewright.errors import CachewrightError
from cachewright.integrations.binding import CONDITIONS
from cachewright.integrations.parts import WARMING
from cachewright.integrations.visits import visible
from cachewright.integrations.warmth import Identity, Purpose, Sent, path_of
from cachewright.runtime.settings import Clock
from cachewright.runtime.tasks import Tasks
from cachewright.runtime.warming.account import Account, Trial, Uses
from cachewright.runtime.warming.following import Followings
from cachewright.runtime.warming.heat import Heat, Visit, touched
from cachewright.runtime.warming.warmer import AT_ONCE, WarmRequest
from cachewright.spec.semantics import Scope
from cachewright.spec.target import Plan
from cachewright.spec.warming import CacheWarming

_AT_A_TIME = 256
_MOST_WAITING = 64
#: What waits longer (s) is not loaded any more: its client has asked by then, and its credential goes.
_FRESH = 5.0
_LOOKS, _LOOK_SECONDS = 200, 0.005
_SHOWN = 20
_GOOD = range(200, 300)
#: Headers of a request that are about itself, not about who asks or what they understand.
_OWN = frozenset(
    {*CONDITIONS, "if-range", "range", "connection", "content-length", "content-type", "transfer-encoding",
     "cache-control", "pragma", "expect", "te", "upgrade", "idempotency-key"}
)  # fmt: skip
_log = logging.getLogger("cachewright")

Ask = Callable[[WarmRequest, Purpose], Awaitable[Sent]]


@dataclass(frozen=True, slots=True)
class _Errand:
    """A load that is to be made, since when it waits (s), and under what name it is there once only.

    While its `tags` are held by the transaction that wrote them, nothing that is loaded is kept. It is `signed` with
    the declared identity when its turn comes: nobody's request waits for that, or fails with it.
    """

    request: WarmRequest
    purpose: Purpose
    account: Account
    since: float
    tags: tuple[str, ...] = ()
    signed: bool = False

    @property
    def name(self) -> tuple[str, int]:
        return (self.request.path, hash(frozenset(self.request.headers.items())))


class Foresight:
    """Watches what is asked for in one process, and loads ahead through `ask`.

    `clock` never goes back (s), `wall` tells the hour; `held` says whether a transaction still holds one of these tags.
    """

    def __init__(
        self,
        warming: CacheWarming,
        plan: Plan,
        ask: Ask,
        *,
        clock: Clock,
        wall: Clock,
        held: Callable[[Collection[str]], bool],
        warm_as: Identity | None = None,
    ) -> None:
        ahead = warming.ahead
        self._ask = ask
        self._clock = clock
        self._wall = wall
        self._held = held
        self._warm_as = _for_all(warm_as)
        self._followings = Followings(warming, plan)
        self._predicted = self._followings.targets
        self._most_hot = ahead.hot_keys
        account = partial(Account, per_minute=ahead.loads_per_minute, least=ahead.least_used)
        refilling = warming.enabled and ahead.refill
        self._refills = account("refilling", Uses()) if refilling else None
        self._predictions = account("prediction", Trial()) if self._predicted else None
        self._heat = Heat()
        self._hits: list[Visit] = []
        self._waiting: asyncio.Queue[_Errand] = asyncio.Queue(_MOST_WAITING)
        self._names: set[tuple[str, int]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin, on the running event loop."""
        if self._refills is None and self._predictions is None:
            return
        self._loop = asyncio.get_running_loop()
        self._waiting, self._names = (
            asyncio.Queue(_MOST_WAITING),
            set(),
        )  # those before belong to another loop
        for _ in range(AT_ONCE):
            self._tasks.spawn(self._work(), context=Context())

    async def aclose(self, patience: float) -> None:
        """Stop what is under way, and forget what waits."""
        self._loop = None
        await self._tasks.end(patience)
        while not self._waiting.empty():
            self._waiting.get_nowait()

    # what is asked for

    def hit(self, visit: Visit) -> None:
        """A user was answered from the cache. Hits are frequent: they are counted many at a time."""
        self._hits.append(visit)
        if len(self._hits) >= _AT_A_TIME:
            self._count()

    def missed(self, visit: Visit) -> None:
        """A user asked for what was not there."""
        self._count()
        self._asked(visit, lookups=1, hits=0)

    def _count(self) -> None:
        hits, self._hits = Counter(self._hits), []
        for visit, times in hits.items():
            self._asked(visit, lookups=times, hits=times)

    def _asked(self, visit: Visit, *, lookups: int, hits: int) -> None:
        now = self._clock()
        self._heat.asked(visit, now, lookups)
        if self._refills is not None:
            self._refills.asked(visit.key, now, lookups=lookups, hits=hits)
        if self._predictions is not None and visit.target in self._predicted:
            self._predictions.asked(visit.key, now, lookups=lookups, hits=hits)

    # what follows

    def invalidated(self, tags: Collection[str]) -> None:
        """Tags were invalidated in this process; in any thread."""
        loop = self._loop
        if loop is not None and self._refills is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._refill, tags)

    def _refill(self, tags: Collection[str]) -> None:
        assert self._refills is not None
        self._count()
        now = self._clock()
        for visit in touched(self._heat.hottest(self._most_hot, now), tags):
            assert visit.again is not None
            self._offer(visit.again, "refilled", self._refills, visit.tags, signed=True)

    def _signed(self, request: WarmRequest) -> WarmRequest:
        return WarmRequest(
            request.path, {**request.headers, **self._warm_as()}, request.scheme, request.root_path
        )

    def answered(self, context: RequestContext) -> None:
        """The application has answered a request: what its client will ask for next is loaded."""
        route = context.route
        if route is None or context.status not in _GOOD or context.scope.get(WARMING):
            return
        if not self._followings.known(context.scope["method"], route.template):
            return
        if not any(name.lower() == b"set-cookie" for name, _ in context.response_headers):
            self.follow(route, context.scope, context.path_params)

    def follow(self, route: Route, scope: Mapping[str, Any], path_params: Mapping[str, Any]) -> None:
        """A request that went well was this one (the scope as it came)."""
        method: str = scope["method"]
        if self._predictions is None or not self._followings.known(method, route.template):
            return
        values = route.values(scope, path_params)
        for target, given in self._followings.after(method, route.template, values, self._wall()):
            public = target.scope is Scope.PUBLIC
            headers = visible(scope) if public else _as_the_same(scope)
            if headers is None:
                continue
            try:
                path = path_of(target, given)
            except (CachewrightError, UnicodeError):  # a parameter of the path is not known, or is no text
                continue
            request = WarmRequest(path, headers, scope.get("scheme", "http"), scope.get("root_path", ""))
            self._offer(request, "predicted", self._predictions, signed=public)

    def _offer(
        self,
        request: WarmRequest,
        purpose: Purpose,
        account: Account,
        tags: tuple[str, ...] = (),
        *,
        signed: bool,
    ) -> None:
        """Let a load wait for its turn, unless it waits already, there is no room, or nobody is there to make it."""
        errand = _Errand(request, purpose, account, self._clock(), tags, signed)
        if self._loop is not asyncio.get_running_loop() or errand.name in self._names or self._waiting.full():
            return
        self._names.add(errand.name)
        self._waiting.put_nowait(errand)

    async def _work(self) -> None:
        """Make what waits, one load after the other; each rests for as long as its load took."""
        while True:
            errand = await self._waiting.get()
            began = perf_counter()
            try:
                await self._run(errand)
            except Exception as error:  # noqa: BLE001 - the application's own failure, and nobody waits for it
                _log.info("what was to be loaded ahead was not: %s", type(error).__name__)
            del errand  # with the headers of its client
            await asyncio.sleep(perf_counter() - began)

    async def _run(self, errand: _Errand) -> None:
        for _ in range(_LOOKS):
            if not self._held(errand.tags):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        self._names.discard(errand.name)
        now = self._clock()
        if now - errand.since > _FRESH or not errand.account.may(now):
            return
        request = self._signed(errand.request) if errand.signed else errand.request
        sent = await self._ask(request, errand.purpose)
        if sent.outcome is None or sent.found:
            errand.account.spared()
        else:
            errand.account.loaded(sent.outcome.key, self._clock())

    # figures

    def figures(self) -> dict[str, Any]:
        """The keys that are asked for most, and what loading ahead has cost and brought."""
        self._count()
        now = self._clock()
        accounts = [one for one in (self._refills, self._predictions) if one is not None]
        return {
            "hot_keys": [
                {"key": hot.visit.key, "target": hot.visit.target, "share": round(hot.share, 4)}
                for hot in self._heat.hottest(_SHOWN, now)
            ],
            "hot_lookups": self._heat.lookups,
            "ahead": [one.as_dict(now) for one in accounts],
        }


def _as_the_same(scope: Mapping[str, Any]) -> dict[str, str] | None:
    """The headers of the same client, None where one of them comes twice."""
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    found = {name: value for name, value in headers if name not in _OWN}
    return found if len(found) == sum(name not in _OWN for name, _ in headers) else None


def _for_all(warm_as: Identity | None) -> Callable[[], Mapping[str, str]]:
    """Who asks for what everybody shares: `warm_as()`, where it can be called without anybody."""
    if warm_as is None:
        return dict
    try:
        inspect.signature(warm_as).bind()
    except (TypeError, ValueError):
        return dict
    return warm_as
