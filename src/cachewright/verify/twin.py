"""The twin: one application, asked uncached, cached and uncached again for every read of live traffic.

It takes the specification at its word: what the runtime's guards would refuse to fill is filled and counted, so
that an incomplete specification shows what it would have answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.routing import compile_path

from cachewright.integrations.edge import UNCACHED
from cachewright.integrations.parts import OUTCOMES, Outcome
from cachewright.spec.target import Target
from cachewright.verify.compare import Comparison, Reply, Verdict, compare

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
#: Whether tags still carry these tokens.
StillCurrent = Callable[[Outcome], Awaitable[bool]]

Kind = Literal["equal", "difference", "undecided"]

#: Headers that speak of the data, and move because it did.
_NEVER_VOLATILE = frozenset({"etag", "last-modified", "link", "content-length", "content-type", "location"})
_REPEATS = 5
_MOST_DETAILS = 50


@dataclass(slots=True)
class Tally:
    """What was seen so far. `responses` counts compared answers, `hits` those of them that came from the cache."""

    responses: int = 0
    hits: int = 0
    differences: int = 0
    undecided: int = 0
    details: list[dict[str, Any]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """The result as data; `differences` and `undecided` are counts, `details` shows the first of them."""
        return {
            "responses": self.responses,
            "differences": self.differences,
            "undecided": self.undecided,
            "hits": self.hits,
            "refused_fills": dict(self.refused.most_common()),
            "details": self.details,
        }


class Twin:
    """An ASGI application in front of a cached one, for which `UNCACHED` in the scope leaves the cache out.

    Writes, and reads of routes without a target, are passed on once. The client is given the cached
    answer where it is proven right, else the application's own.
    """

    def __init__(
        self, app: ASGIApp, targets: Iterable[Target], still_current: StillCurrent, *, root_path: str = ""
    ) -> None:
        self._app = app
        self._root_path = root_path
        self._still_current = still_current
        self._patterns = [
            (target.method, compile_path(target.template)[0])
            for target in targets
            if target.policy.mode == "live"
        ]
        self._writes: dict[int, asyncio.Event] = {}
        self._last_write: str | None = None
        self._volatile: dict[str, set[str]] = {}
        self.tally = Tally()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._read(scope, receive, send)
        else:
            await self._write(scope, receive, send)

    # writes

    async def _write(self, scope: Any, receive: Any, send: Any) -> None:
        done = asyncio.Event()
        self._writes[id(done)] = done
        try:
            await self._app(scope, receive, send)
        finally:
            del self._writes[id(done)]
            self._last_write = f"{scope['method']} {scope['path']}"
            done.set()

    async def _writes_finished(self) -> None:
        for write in tuple(self._writes.values()):
            await write.wait()

    # reads

    async def _read(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._is_target(scope):
            await self._app(scope, receive, send)
            return
        reply = await self._compared(scope)
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [
                    (name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers
                ],
            }
        )
        await send({"type": "http.response.body", "body": reply.body})

    def _is_target(self, scope: Any) -> bool:
        """Whether a target's template matches; the path may hold the root path, the server's or the application's."""
        path = scope["path"]
        paths = {
            path,
            *(path.removeprefix(root) for root in (scope.get("root_path", ""), self._root_path) if root),
        }
        return any(
            scope["method"] == method and any(pattern.match(path) for path in paths)
            for method, pattern in self._patterns
        )

    async def _compared(self, scope: Any) -> Reply:
        """Ask until the answers agree, or the difference is proven, or five repeats did not decide."""
        for attempt in range(_REPEATS + 1):
            first, _ = await self._ask(scope, uncached=True)
            cached, outcome = await self._ask(scope, uncached=False)
            if outcome is None:
                return cached
            volatile = self._volatile.setdefault(outcome.target, set())
            second = first  # answers that agree need no third one to tell which of them is right
            if compare(first, cached, first).verdict is not Verdict.EQUAL:
                second, _ = await self._ask(scope, uncached=True)
            comparison = compare(first, cached, second, volatile)
            volatile |= self._learnt(comparison)
            kind = await self._judged(comparison, outcome, last=attempt == _REPEATS)
            if kind is not None:
                self._count(kind, scope, outcome, comparison)
                break
        return cached if comparison.verdict is Verdict.EQUAL else second

    def _learnt(self, comparison: Comparison) -> frozenset[str]:
        """Headers that move by themselves; nothing is learnt while the data itself may be moving."""
        if self._writes or comparison.verdict is Verdict.UNSTEADY:
            return frozenset()
        return comparison.volatile - _NEVER_VOLATILE

    async def _judged(self, comparison: Comparison, outcome: Outcome, *, last: bool) -> Kind | None:
        """What one comparison comes to, None where it has to be asked again."""
        if comparison.verdict is Verdict.EQUAL:
            return "equal"
        await self._writes_finished()
        if comparison.verdict is Verdict.DIFFERENT and outcome.hit and await self._still_current(outcome):
            return "difference"
        return "undecided" if last else None

    def _count(self, kind: Kind, scope: Any, outcome: Outcome, comparison: Comparison) -> None:
        tally = self.tally
        tally.responses += 1
        tally.hits += outcome.hit
        tally.differences += kind == "difference"
        tally.undecided += kind == "undecided"
        tally.refused.update(str(reason) for reason in outcome.refused)
        if kind != "equal":
            self._detail(kind, scope, outcome, comparison)

    def _detail(self, kind: Kind, scope: Any, outcome: Outcome, comparison: Comparison) -> None:
        if len(self.tally.details) >= _MOST_DETAILS:
            return
        self.tally.details.append(
            {
                "kind": kind,
                "route": outcome.target,
                "path": scope["path"],
                "key": outcome.key,
                "tags": list(outcome.tokens),
                "hit": outcome.hit,
                "last_write": self._last_write,
                "where": comparison.where,
                "uncached": comparison.uncached,
                "cached": comparison.cached,
            }
        )

    async def _ask(self, scope: Any, *, uncached: bool) -> tuple[Reply, Outcome | None]:
        outcomes: list[Outcome] = []
        asked = {**scope, OUTCOMES: outcomes, UNCACHED: uncached, "state": dict(scope.get("state", {}))}
        collected = _Collected()
        await self._app(asked, collected.receive, collected.send)
        return collected.reply(), outcomes[-1] if outcomes else None


@dataclass(slots=True)
class _Collected:
    """A client without a body to send, and all it was answered."""

    _status: int = 500
    _headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    _body: bytearray = field(default_factory=bytearray)
    _asked: bool = False
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Mapping[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._done.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._done.set()

    def reply(self) -> Reply:
        headers = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in self._headers
        )
        return Reply(self._status, headers, bytes(self._body))
