"""What the application read of a request beyond its declared parameters, and what that means for the key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cachewright.analysis.exchanges import RouteEvidence
from cachewright.evidence.trace import RouteSeen

LEAST_REQUESTS = 30
LEAST_VALUES = 3
#: Headers that describe the client or the hop and are read to be logged or counted.
_DIAGNOSTIC = frozenset(
    {"user-agent", "x-request-id", "x-correlation-id", "request-id", "traceparent", "tracestate", "x-trace-id",
     "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "b3", "sentry-trace", "baggage", "x-real-ip", "x-forwarded-for",
     "x-forwarded-proto", "x-forwarded-host", "forwarded", "via", "referer", "origin", "dnt", "content-length",
     "content-type", "x-amzn-trace-id", "cf-ray", "x-process-time"}
)  # fmt: skip
#: Parts of a request that no key can hold.
_UNKEYABLE = frozenset({"url", "client", "body", "headers"})


@dataclass(frozen=True, slots=True)
class RouteReads:
    """How the reads of a route are accounted for.

    `keyed` (as `header.accept-language`) go into the key; `unkeyable` are the route's own reads of what no key can
    hold; `private` those that only the credential accounts for (`session`); `doubtful` are reads of middleware
    that nothing shows to matter: ignored as long as no answer speaks against it; `outer_keyed` are reads of
    middleware with too little evidence to ignore them. `credential` says that a credential was read at all.
    """

    keyed: tuple[str, ...] = ()
    unkeyable: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    outer_keyed: tuple[str, ...] = ()
    outer_unkeyable: tuple[str, ...] = ()
    credential: bool = False


def reads_of_route(route: RouteEvidence) -> RouteReads:
    """Sort everything that requests of `route` read."""
    own = {read for exchange in route.exchanges for read in exchange.request.reads}
    outer = {read for exchange in route.exchanges for read in exchange.request.outer_reads} - own
    declared = {
        f"{param.where}:{param.name}" for param in route.seen.params if param.where in ("header", "cookie")
    }
    known = {f"{param.where}:{param.name}" for param in route.seen.params if param.where in ("path", "query")}
    carried = {read for read in own | outer | declared if is_credential(read, route.seen)}
    own = (own | declared) - carried - known
    outer = outer - carried - known - own
    doubtful, outer_keyed, outer_unkeyable = _outer(outer, route)
    return RouteReads(
        keyed=_fields(read for read in own if ":" in read),
        unkeyable=tuple(sorted(own & _UNKEYABLE)),
        private=tuple(sorted(carried & {"session"} | outer & {"headers"})),
        doubtful=doubtful,
        outer_keyed=outer_keyed,
        outer_unkeyable=outer_unkeyable,
        credential=bool(carried) or bool(route.seen.credentials),
    )


def is_credential(read: str, route: RouteSeen) -> bool:
    """Whether `read` shows who asks, so that scope and not key accounts for it."""
    from cachewright.capture.credentials import is_carrier

    if read in route.credentials or read in ("header:authorization", "header:cookie", "session"):
        return True
    place, _, name = read.partition(":")
    return place in ("header", "cookie", "query") and is_carrier(name)


def _outer(outer: Iterable[str], route: RouteEvidence) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    doubtful: list[str] = []
    keyed: list[str] = []
    unkeyable: list[str] = []
    enough = len(route.exchanges) >= LEAST_REQUESTS
    for read in sorted(outer):
        if read.startswith("query:"):
            keyed.append(read)
        elif enough and (read in ("client", "url", "headers") or _harmless(read, route)):
            doubtful.append(read)
        elif ":" in read:
            keyed.append(read)
        else:
            unkeyable.append(read)
    return tuple(doubtful), _fields(keyed), tuple(unkeyable)


def _harmless(read: str, route: RouteEvidence) -> bool:
    """Diagnostic by name, or seen with enough values to show an effect if it had one."""
    if ":" not in read:
        return False
    name = read.replace(":", ".", 1)
    values = {exchange.exact.get(name) for exchange in route.exchanges}
    return read.partition(":")[2] in _DIAGNOSTIC or len(values) >= LEAST_VALUES


def _fields(reads: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({read.replace(":", ".", 1) for read in reads}))
