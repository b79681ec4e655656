"""What the same client asks for next: which request follows which, with whose parameters, at which hours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cachewright.analysis.hours import Hours
from cachewright.evidence.trace import RequestSeen, RouteSeen, Trace

#: A request follows another one of its client that was answered at most so long (ns) before.
_WITHIN = 10_000_000_000
#: It is likely where it did so in this share of the cases, and of at least so many.
LIKELY, _LEAST = 0.5, 20
#: A parameter is known before where it was the same in this share of the cases.
_ALIKE = 0.9
_PLACES = ("path.", "query.")
_NULL = "n"
#: Hours are told apart in recordings that saw each of them twice, by at least so many requests.
_LEAST_OF_AN_HOUR = 10


@dataclass(frozen=True, slots=True)
class Follows:
    """`then` (an endpoint to read) was asked for after `after`, in this share of the cases.

    `params` are its parameters: texts, or `{name}` for that parameter of the request before. `hours` (UTC) are those
    in which it is likely, none where it is at any.
    """

    after: str
    then: str
    share: float
    cases: int
    params: Mapping[str, str] = field(default_factory=dict)
    hours: tuple[int, ...] = ()


@dataclass(slots=True)
class _Pairs:
    """What was seen of one pair of routes: the requests, and at which hours of the day."""

    seen: list[tuple[RequestSeen, RequestSeen]] = field(default_factory=list)
    hours: Counter[int] = field(default_factory=Counter)


def transitions(trace: Trace, endpoints: Collection[str]) -> tuple[Follows, ...]:
    """What is likely to be asked for next among `endpoints`, the likeliest first; the same for the same trace."""
    routes = {route.id: route for route in trace.routes}
    pairs: dict[tuple[int, int], _Pairs] = defaultdict(_Pairs)
    before: dict[int, Counter[int]] = defaultdict(Counter)
    hour_of = Hours(trace)
    readable = {route.id for route in trace.routes if _subject(route) in endpoints}
    for requests in _by_client(trace):
        for at, first in enumerate(requests):
            assert first.route is not None
            hour = hour_of(first)
            before[first.route][hour] += 1
            for then in _next(requests, at, readable):
                assert then.route is not None
                found = pairs[first.route, then.route]
                found.seen.append((first, then))
                found.hours[hour] += 1
    likely = (
        _follows(routes[one], routes[other], found, before[one], trace)
        for (one, other), found in pairs.items()
    )
    return tuple(
        sorted(
            (one for one in likely if one is not None),
            key=lambda one: (-one.share, -one.cases, one.after, one.then),
        )
    )


def _subject(route: RouteSeen) -> str:
    return f"{route.method} {route.template}"


def _by_client(trace: Trace) -> Iterator[Sequence[RequestSeen]]:
    """The requests of each client that went well, in their order."""
    clients: dict[str, list[RequestSeen]] = defaultdict(list)
    for request in sorted(trace.requests, key=lambda seen: (seen.started, seen.id)):
        if request.credential and request.route is not None and 200 <= request.status < 300:
            clients[request.credential].append(request)
    return iter(clients.values())


def _next(requests: Sequence[RequestSeen], at: int, readable: Collection[int]) -> Iterator[RequestSeen]:
    """The first request for each readable route that came after `requests[at]`, before that was repeated."""
    first, met = requests[at], set()
    for then in requests[at + 1 :]:
        if then.started - first.answered > _WITHIN or then.route == first.route:
            return
        if then.route in readable and then.route not in met:
            met.add(then.route)
            yield then


def _follows(
    one: RouteSeen, other: RouteSeen, found: _Pairs, before: Counter[int], trace: Trace
) -> Follows | None:
    """What is said of a pair of routes, None where it is not likely, or its parameters are not known before."""
    cases = before.total()
    share = len(found.seen) / cases
    hours = _likely_hours(found.hours, before)
    if cases < _LEAST or (share < LIKELY and not hours):
        return None
    params = _params(found.seen, trace)
    if params is None:
        return None
    return Follows(_subject(one), _subject(other), round(share, 4), cases, params, hours)


def _likely_hours(followed: Counter[int], before: Counter[int]) -> tuple[int, ...]:
    """The hours in which it is likely; none where it is so in all that were seen, or hours are not told apart."""
    enough = {hour: count for hour, count in before.items() if hour >= 0 and count >= _LEAST_OF_AN_HOUR}
    likely = {hour for hour, count in enough.items() if followed[hour] / count >= LIKELY}
    return () if len(likely) == len(enough) else tuple(sorted(likely))


def _params(seen: Sequence[tuple[RequestSeen, RequestSeen]], trace: Trace) -> dict[str, str] | None:
    """The parameters of the request that follows, None where one of them is not known before."""
    names = sorted({name for _, then in seen for name in then.values if name.startswith(_PLACES)})
    found: dict[str, str] = {}
    for name in names:
        value = _source(name, seen) or _constant(name, seen, trace)
        if value is None:
            return None
        if value:
            found[name.partition(".")[2]] = value
    return found


def _source(name: str, seen: Sequence[tuple[RequestSeen, RequestSeen]]) -> str | None:
    """The parameter of the request before that it is equal to; first the one of its own name."""
    last = name.partition(".")[2]
    candidates = sorted(
        {other for first, _ in seen for other in first.values if other.startswith(_PLACES)},
        key=lambda other: (other.partition(".")[2] != last, other),
    )
    for other in candidates:
        alike = sum(
            first.values[other].exact == then.values[name].exact
            for first, then in seen
            if other in first.values and name in then.values and then.values[name].kind != _NULL
        )
        if alike >= _ALIKE * len(seen):
            return f"{{{other.partition('.')[2]}}}"
    return None


def _constant(name: str, seen: Sequence[tuple[RequestSeen, RequestSeen]], trace: Trace) -> str | None:
    """The value that it nearly always has, empty where that is none at all; None where there is no such value."""
    counts = Counter(
        then.values[name].exact if name in then.values and then.values[name].kind != _NULL else None
        for _, then in seen
    )
    value, count = max(counts.items(), key=lambda item: (item[1], str(item[0])))
    if count < _ALIKE * len(seen):
        return None
    return "" if value is None else trace.clear.get(name, {}).get(value)
