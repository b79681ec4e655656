"""What the application read of a request beyond its declared parameters, and what that means for the key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cachewright.analysis.exchanges import RouteEvidence
from cachewright.analysis.identity import Identity
from cachewright.evidence.trace import RouteSeen
from cachewright.spec.identity import carried, is_carrier

LEAST_REQUESTS = 30
LEAST_VALUES = 3
#: Headers that describe the client or the hop, and are read to be logged, traced or counted.
_DIAGNOSTIC = frozenset(
    {"user-agent", "x-request-id", "x-correlation-id", "request-id", "traceparent", "tracestate",
     "x-trace-id", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "b3", "sentry-trace", "baggage",
     "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via",
     "referer", "origin", "dnt", "content-length", "content-type", "x-amzn-trace-id", "cf-ray"}
)  # fmt: skip
#: Parts of a request that no key can hold, and those of them that middleware reads to log or to trace.
_UNKEYABLE = frozenset({"url", "client", "body", "headers"})
_LOGGED = frozenset({"client", "url"})
_AUTHORIZATION = "header:authorization"


@dataclass(frozen=True, slots=True)
class RouteReads:
    """How the reads of a route are accounted for.

    `keyed` (as `header.accept-language`) go into the key; `unkeyable` are reads of what no key can hold;
    `private` are those that only the whole credential accounts for (`session`, a second carrier beside the
    token); `doubtful` (as `header:user-agent`) are reads of middleware, ignored as long as no answer speaks
    against it; `outer_keyed` are reads of middleware with too little evidence to ignore them. `credential`
    says that a credential was read, or may have been among all headers.
    """

    keyed: tuple[str, ...] = ()
    unkeyable: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    outer_keyed: tuple[str, ...] = ()
    credential: bool = False


def reads_of_route(route: RouteEvidence, identity: Identity) -> RouteReads:
    """Sort everything that requests of `route` read."""
    seen = route.seen
    declared = {f"{param.where}:{param.name}" for param in seen.params}
    known = {read for read in declared if read.startswith(("path:", "query:"))}
    own = {read for exchange in route.exchanges for read in exchange.request.reads} | declared
    outer = {read for exchange in route.exchanges for read in exchange.request.outer_reads} - own
    carriers = carried(own | outer | set(seen.credentials), seen.credentials)
    token = _token(route, carriers)
    keyable = {read for read in carriers if token == _AUTHORIZATION and _is_plain_cookie(read, seen)}
    accounted = {token, *_identity_headers(identity)}
    rest = own - carriers - known | keyable & own
    beyond = outer - carriers | keyable & outer
    doubtful = {read for read in beyond if _ignorable(read, route)}
    return RouteReads(
        keyed=_fields(read for read in rest if ":" in read),
        unkeyable=tuple(sorted((rest | beyond - doubtful) & _UNKEYABLE)),
        private=tuple(sorted(carriers - keyable - accounted)),
        doubtful=tuple(sorted(doubtful)),
        outer_keyed=_fields(read for read in beyond - doubtful if ":" in read),
        credential=bool(carriers - keyable) or "headers" in own | outer,
    )


def is_credential(read: str, route: RouteSeen) -> bool:
    """Whether the value behind `read` (`query:api_key`) may be a secret, which no key ever holds."""
    place, _, name = read.partition(":")
    return read in route.credentials or read == "header:cookie" or (place != "path" and is_carrier(name))


def _token(route: RouteEvidence, carriers: Iterable[str]) -> str | None:
    """Where the token stands whose claims the trace holds, if the route reads it there.

    Where it stood in several places over time, `Authorization` or none: claims say nothing of the other places.
    """
    found = {exchange.request.carrier for exchange in route.exchanges} & set(carriers)
    if _AUTHORIZATION in found:
        return _AUTHORIZATION
    return found.pop() if len(found) == 1 else None


def _is_plain_cookie(read: str, route: RouteSeen) -> bool:
    return read.startswith("cookie:") and not is_credential(read, route)


def _identity_headers(identity: Identity) -> Iterable[str]:
    fields = (field for field in (identity.user, identity.tenant) if field is not None)
    return (field.replace(".", ":", 1) for field in fields if field.startswith("header."))


def _ignorable(read: str, route: RouteEvidence) -> bool:
    """Whether middleware may read this for its own ends.

    Diagnostic by name, or seen with enough values to show an effect if it had one.
    """
    if len(route.exchanges) < LEAST_REQUESTS:
        return False
    if read in _LOGGED:
        return True
    if not read.startswith(("header:", "cookie:")):
        return False
    if read.partition(":")[2] in _DIAGNOSTIC:
        return True
    name = read.replace(":", ".", 1)
    return len({exchange.exact.get(name) for exchange in route.exchanges}) >= LEAST_VALUES


def _fields(reads: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({read.replace(":", ".", 1) for read in reads}))
