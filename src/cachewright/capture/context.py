"""One request as it is watched: a mutable record that follows it through threads, tasks and greenlets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from cachewright.capture.events import Statement, Transaction
from cachewright.capture.routes import Route
from cachewright.capture.routing import Placed


class Take:
    """Something of a request that code has in hand: read as a whole, until only a part was asked for.

    `reads` is where it is noted, `whole_name` what it is as a whole.
    """

    __slots__ = ("_context", "_open", "_reads", "_whole_name")

    def __init__(self, context: RequestContext, reads: set[str], whole_name: str) -> None:
        self._context = context
        self._reads = reads
        self._whole_name = whole_name
        self._open = True
        context.taken[whole_name] = context.taken.get(whole_name, 0) + 1
        reads.add(whole_name)

    def whole(self) -> None:
        """It was read as a whole: no later look at a part changes that."""
        self._open = False
        self._reads.add(self._whole_name)

    def part(self, name: str | None) -> None:
        """A part was asked for, by its name; None: one that does not matter."""
        if name is not None:
            self._reads.add(name)
        if self._open:
            self._open = False
            taken = self._context.taken
            taken[self._whole_name] -= 1
            if not taken[self._whole_name]:
                self._reads.discard(self._whole_name)


@dataclass(slots=True, eq=False)
class RequestContext:
    """What one request has done so far.

    `reads` names the parts of the request that the application read beyond what its declared path and query
    parameters give it: `header:x`, `cookie:x`, `query:x`, `headers`, `url`, `client`, `session`, `body`.
    `outer_reads` are those made before the route was reached, by the application's own middleware; `taken` counts
    what the application has in hand and has not looked into yet.
    `routed` is the scope as the router was given it, empty where that was not this very request (a middleware
    rewrote it), None before; `placed` is what routing put into it, None where that cannot be repeated.
    `called` is how many of its statements had run when its endpoint was called, None where nobody saw that.
    `entered` is when the route's own code was reached, `answered` when the last byte was handed over, `returned`
    when the application was done (monotonic ns), each 0 before. `status`, `size` (bytes of the body) and
    `response_headers` are of the response as it left outermost.
    """

    started: int
    scope: Mapping[str, Any]
    route: Route | None = None
    path_params: Mapping[str, Any] = field(default_factory=dict)
    routed: Mapping[str, Any] | None = None
    placed: Placed | None = None
    entered: int = 0
    reads: set[str] = field(default_factory=set)
    outer_reads: set[str] = field(default_factory=set)
    taken: dict[str, int] = field(default_factory=dict)
    statements: list[tuple[Statement, Transaction]] = field(default_factory=list)
    background: bool = False
    escaped: bool = False
    called: int | None = None
    wrote: bool = False
    status: int = 0
    size: int = 0
    answered: int = 0
    returned: int = 0
    response_headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def ran(self, statement: Statement, transaction: Transaction) -> None:
        """Note a statement; beyond a bound the request counts as one whose SQL escaped."""
        if len(self.statements) < _MOST_STATEMENTS:
            self.statements.append((statement, transaction))
        else:
            self.escaped = True

    def read(self, what: str) -> None:
        """Note that the application read this part of the request."""
        (self.reads if self.entered else self.outer_reads).add(what)

    def take(self, whole_name: str) -> Take:
        """Note that the application took this in hand."""
        return Take(self, self.reads if self.entered else self.outer_reads, whole_name)


#: Statements of one request that are kept; what ran beyond them cannot be accounted for.
_MOST_STATEMENTS = 1000

CURRENT: ContextVar[RequestContext | None] = ContextVar("cachewright_request", default=None)

Clock = Callable[[], int]


def current_request() -> RequestContext | None:
    """The request this code runs for; None outside of any, and in what outlives the request that started it."""
    context = CURRENT.get()
    return None if context is None or context.returned else context
