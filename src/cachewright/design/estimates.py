"""What can be said where nobody saw what answers rest on: how often they are asked for again, and no more.

A log proves nothing safe. It shows neither what the answers were, nor what they were made from, nor for whom. So no
target comes of it, but figures that tell which routes are worth a recording.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime

from cachewright.analysis.findings import Finding, Observation, numbered
from cachewright.design import sections
from cachewright.design.result import Design, NotCached
from cachewright.evidence.trace import RequestSeen, RouteSeen, Trace
from cachewright.spec.model import CachingSpecification, Meta
from cachewright.spec.sensitive import sensitive_words

LIVES = (60, 300, 3600)
_LEAST_REQUESTS = 30
_SECOND = 1_000_000_000

_ASSUMED = {
    "digests": "What was answered is not known: answers are assumed to stay as they are for the life of an entry.",
    "sql": "No SQL was seen: nothing says which writes change an answer, so no write would invalidate it.",
    "binds": "What was bound to the SQL is not known: nothing says which rows an answer rests on.",
    "reads": "Which headers and cookies are read is not known: answers are assumed to depend on path and query alone.",
    "identity": "Who asked is not known: a client is one address with one user agent.",
    "durations": "How long requests took is not known: nothing says what a hit would save.",
    "times": "When requests came is not known: hit rates of a lifetime cannot be told, only how often answers repeat.",
}

_QUESTION = (
    "Which of these routes answer everybody alike? A log cannot tell. Record the application to find out:"
    " cachewright record app.main:app --out traffic.trace"
)


def estimated(trace: Trace, *, now: datetime, namespace: str, generator: str) -> Design:
    """A design without targets: for each route how often a cache would have hit, on the assumptions listed."""
    routes = {route.id: route for route in trace.routes}
    asked: dict[int, list[RequestSeen]] = defaultdict(list)
    for request in trace.requests:
        if request.route is not None:
            asked[request.route].append(request)
    ordered = sorted(
        asked, key=lambda route: (-len(asked[route]), routes[route].template, routes[route].method)
    )
    timed = "times" not in trace.unknown
    found = numbered(
        observation
        for route in ordered
        if routes[route].method == "GET" and (observation := _reuse(routes[route], asked[route], timed=timed))
    )
    spec = CachingSpecification(
        generator=generator,
        namespace=namespace,
        meta=Meta(generated_at=now, sources=(trace.source,)),
        cache_targets=(),
        alerts=sections.alerts(()),
    )
    return Design(
        spec=spec,
        assumptions=tuple(text for name, text in _ASSUMED.items() if name in trace.unknown),
        clarifications_needed=(_QUESTION,),
        not_cached=tuple(_refused(routes[route], asked[route], found) for route in ordered),
        warnings=tuple(_warnings(trace)),
        sources=(trace.source,),
        findings=found,
    )


def _reuse(route: RouteSeen, requests: Sequence[RequestSeen], *, timed: bool) -> Observation | None:
    if len(requests) < _LEAST_REQUESTS:
        return None
    keys = {_key(request) for request in requests}
    figures: dict[str, float] = {
        "requests": len(requests),
        "keys": len(keys),
        "repeats": round(1 - len(keys) / len(requests), 4),
    }
    if timed:
        for life in LIVES:
            figures[f"hit_rate_{life}s_shared"] = hit_rate(requests, _key, life)
            figures[f"hit_rate_{life}s_each_client"] = hit_rate(requests, _own_key, life)
    return Observation("reuse", f"{route.method} {route.template}", _sentence(figures), figures)


def hit_rate(requests: Sequence[RequestSeen], key: Callable[[RequestSeen], Hashable], seconds: int) -> float:
    """The share of requests that find an answer not older than this; one that is too old is loaded anew."""
    filled: dict[Hashable, int] = {}
    hits = 0
    for request in requests:
        place = key(request)
        began = filled.get(place)
        if began is not None and request.started - began < seconds * _SECOND:
            hits += 1
        elif request.status == 200:
            filled[place] = request.started
    return round(hits / len(requests), 4)


def _key(request: RequestSeen) -> Hashable:
    return tuple(sorted((name, value.exact) for name, value in request.values.items()))


def _own_key(request: RequestSeen) -> Hashable:
    return (request.credential, _key(request))


def _sentence(figures: dict[str, float]) -> str:
    text = f"Of {figures['requests']:,.0f} requests, {figures['repeats']:.0%} repeat an earlier one"
    if "hit_rate_300s_shared" not in figures:
        return f"{text}."
    return (
        f"{text}: a life of 300 s would hit {figures['hit_rate_300s_shared']:.0%} if all clients may share an"
        f" answer, {figures['hit_rate_300s_each_client']:.0%} if each needs its own."
    )


def _refused(route: RouteSeen, requests: Sequence[RequestSeen], found: Sequence[Finding]) -> NotCached:
    subject = f"{route.method} {route.template}"
    if route.method != "GET":
        return NotCached(
            subject, "unsafe_method", f"{route.method} changes state or is not asked for its answer."
        )
    if words := sensitive_words(route.template):
        return NotCached(subject, "sensitive", f"Its path says {', '.join(words)}: secrets are never kept.")
    finding = next((each for each in found if each.subject == subject), None)
    if finding is None:
        text = f"Requests seen: {len(requests)}; from {_LEAST_REQUESTS} on something can be said."
        return NotCached(subject, "insufficient_evidence", text, {"requests": len(requests)})
    text = f"{finding.text} Whether they may be kept takes a recording."
    return NotCached(subject, "insufficient_evidence", text, finding.figures, (finding.id,))


def _warnings(trace: Trace) -> Iterator[str]:
    nowhere = sum(request.route is None for request in trace.requests)
    if nowhere:
        yield f"{nowhere:,} of {len(trace.requests):,} requests belong to no route and are left out."
