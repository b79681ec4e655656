"""One request as it is watched: a mutable record that follows it through threads, tasks and greenlets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from cachewright.capture.events import Statement, Transaction
from cachewright.capture.routes import Route
from cachewright.capture.routing import Placed


@dataclass(slots=True, eq=False)
class RequestContext:
    """What one request has done so far.

    `reads` names the parts of the request that the application read beyond what its declared path and query
    parameters give it: `header:x`, `cookie:x`, `query:x`, `headers`, `url`, `client`, `session`, `body`.
    `outer_reads` are those made before the route was reached, by the application's own middleware.
    `routed` is the scope as the router was given it, empty where that was not this very request (a middleware
    rewrote it), None before; `placed` is what routing put into it, None where that cannot be repeated.
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
    statements: list[tuple[Statement, Transaction]] = field(default_factory=list)
    background: bool = False
    escaped: bool = False
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


#: Statements of one request that are kept; what ran beyond them cannot be accounted for.
_MOST_STATEMENTS = 1000

CURRENT: ContextVar[RequestContext | None] = ContextVar("cachewright_request", default=None)

Clock = Callable[[], int]


def current_request() -> RequestContext | None:
    """The request this code runs for; None outside of any, and in what outlives the request that started it."""
    context = CURRENT.get()
    return None if context is None or context.returned else context
