"""Hits compared with what the application answers: all of them where nothing is served, some where it is.

In shadow mode every would-be hit goes to the application as well, and only its answer is sent. The auditor does the
same to one in so many real hits. An answer that differs, although nothing its entry depends on has changed, is a
finding: it says what should have changed it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cachewright.capture.asgi import Message, Send
from cachewright.capture.context import RequestContext
from cachewright.capture.events import Transaction
from cachewright.capture.sink import Heedless
from cachewright.integrations.answers import Answer
from cachewright.integrations.parts import Parts
from cachewright.runtime.questions import LookupRequest
from cachewright.spec import semantics
from cachewright.spec.semantics import Serve
from cachewright.spec.tags import target_tag

_log = logging.getLogger("cachewright")

#: A scope with this key set belongs to a hit that is compared.
COMPARED = "cachewright.compared"
#: A write that has committed is given so long (s) to be invalidated before a difference counts.
_SETTLING = 0.25
_REMEMBERED = 10_000
_WRITES = 32
_MOST_FINDINGS = 1000
_EVERY = 100
#: Headers that differ between two equal answers.
_VOLATILE = frozenset({b"date", b"age"})

Kind = Literal["stale", "foreign"]


class RecentWrites(Heedless):
    """A sink that remembers the last committed writes to each table, and who made them."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._lines: dict[str, deque[dict[str, Any]]] = {}

    def after(self, tables: Iterable[str], moment: float) -> list[dict[str, Any]]:
        """The last writes to these tables that were committed after `moment` (wall s)."""
        found = [write for table in sorted(tables) for write in tuple(self._lines.get(table, ()))]
        return [write for write in found if write["at"] >= moment][-3:]

    def ended(
        self,
        transaction: Transaction,
        *,
        committed: bool,
        started: int,
        ended: int,
        context: RequestContext | None,
    ) -> None:
        """Remember what a transaction has changed."""
        del started, ended
        if not committed or not transaction.written:
            return
        route = None if context is None or context.route is None else context.route.template
        method = "" if context is None else context.scope["method"]
        by = None if route is None else f"{method} {route}"
        write = {"at": self._wall(), "by": by, "tags": sorted(transaction.written)}
        for table in {tag.partition("(")[0].partition("#")[0] for tag in transaction.written}:
            self._lines.setdefault(table, deque(maxlen=_WRITES)).append(write)


@dataclass(slots=True)
class Passing:
    """A `send` that passes a response on and keeps it, unless it comes in several messages."""

    send: Send
    answer: Answer | None = None
    _start: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Take one message."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body" and self._start is not None:
            start, self._start = self._start, None
            if not message.get("more_body", False):
                headers = tuple((bytes(name), bytes(value)) for name, value in start.get("headers", ()))
                self.answer = Answer(start["status"], headers, bytes(message.get("body", b"")))
        await self.send(message)


@dataclass(slots=True)
class Comparisons:
    """Decides which hits are compared, compares them, and writes down what differed.

    With `shadow` all are, and none is served; else a share of `audit`. Lines of JSON go to `path`: one for each
    finding, and the counts of this process.
    """

    parts: Parts
    writes: RecentWrites
    shadow: bool = False
    audit: float = 0.0
    path: Path | None = None
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=100))
    _fillers: OrderedDict[str, str | None] = field(default_factory=OrderedDict)
    _written: int = 0

    def hides(self, target: str, mode: str) -> bool:
        """Whether hits of this target are compared and never served."""
        del target
        return self.shadow or mode == "shadow"

    def samples(self) -> bool:
        """Whether this hit is one of those that are compared although they could be served."""
        return self.audit > 0 and self.parts.dice() < self.audit

    def filled(self, request: LookupRequest) -> None:
        """Remember whose load filled an entry."""
        self._fillers[request.key] = request.credential
        self._fillers.move_to_end(request.key)
        if len(self._fillers) > _REMEMBERED:
            self._fillers.popitem(last=False)

    async def compare(
        self, request: LookupRequest, context: RequestContext, cached: Answer, fresh: Answer | None
    ) -> None:
        """Compare a hit with the answer that the application gave to the same request."""
        if fresh is None:
            self._count(request.target, "undecided")
            return
        if _comparable(cached) == _comparable(fresh):
            self._count(request.target, "same")
            return
        loaded_at = await self._stands(request, cached)
        if loaded_at is None:  # overtaken by a write, as it should be
            self._count(request.target, "undecided")
            return
        kind: Kind = "stale"
        if request.key in self._fillers and self._fillers[request.key] != request.credential:
            kind = "foreign"
        self._count(request.target, kind)
        tables = {min(read, key=len) for read in self.parts.eyes.reads_of(context, context.started) if read}
        finding = {
            "kind": kind,
            "target": request.target,
            "key": request.key,
            "served": not self.hides(request.target, self._mode(request.target)),
            "loaded_at": loaded_at,
            "at": self.parts.wall(),
            "cached": _digest(cached),
            "fresh": _digest(fresh),
            "status": [cached.status, fresh.status],
            "tables": sorted(tables),
            "writes": self.writes.after(tables, loaded_at),
        }
        self.findings.append(finding)
        self._write(finding)
        if finding["served"]:
            self.parts.cache.stats.wrong()
            _log.error(
                "%s: a %s answer was about to be served for %s; its entries are dropped",
                request.target,
                kind,
                request.key,
            )
            await self.parts.cache.invalidate((target_tag(request.target),))

    def figures(self) -> Mapping[str, Mapping[str, int]]:
        """How many hits of each target were compared, and what came out."""
        return {name: dict(counts) for name, counts in self.counts.items()}

    def close(self) -> None:
        """Write the counts, once more."""
        if self.counts:
            self._write({"kind": "counts", "pid": os.getpid(), "targets": self.figures()}, always=True)

    async def _stands(self, request: LookupRequest, cached: Answer) -> float | None:
        """When the entry was loaded, if it would still be served after writes under way had their time."""
        await asyncio.sleep(_SETTLING)
        found = await self.parts.cache.lookup(request)
        policy = next(t.policy for t in self.parts.plan.targets.values() if t.name == request.target)
        decision = semantics.decide(policy, found.seen, self.parts.wall())
        if not isinstance(decision, Serve) or found.payload is None or found.seen.entry is None:
            return None
        same = _comparable(Answer.unpack(found.payload)) == _comparable(cached)
        return found.seen.entry.loaded_at if same else None

    def _mode(self, target: str) -> str:
        return next(t.policy.mode for t in self.parts.plan.targets.values() if t.name == target)

    def _count(self, target: str, what: str) -> None:
        counts = self.counts.setdefault(target, Counter())
        counts["compared"] += 1
        counts[what] += 1
        if sum(counts["compared"] for counts in self.counts.values()) % _EVERY == 0:
            self.close()

    def _write(self, line: Mapping[str, Any], *, always: bool = False) -> None:
        if self.path is None or (self._written >= _MOST_FINDINGS and not always):
            return
        self._written += not always
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            _log.warning("what was compared cannot be written to %s: %s", self.path, error.strerror)


def _comparable(answer: Answer) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
    headers = tuple(pair for pair in answer.headers if pair[0].lower() not in _VOLATILE)
    return answer.status, headers, answer.body


def _digest(answer: Answer) -> str:
    return hashlib.blake2b(repr(_comparable(answer)).encode(), digest_size=16).hexdigest()
