"""When the requests of a route come: in bursts, for one key at once, at some hours of the day."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator

import numpy as np

from cachewright.analysis.exchanges import Exchange, RouteEvidence
from cachewright.analysis.findings import Observation
from cachewright.analysis.hours import Hours
from cachewright.evidence.trace import Trace

_SECOND = 1_000_000_000
_LEAST = 100
#: Requests expected in a window; fewer would make every window look like a burst.
_IN_WINDOW = 4
#: Arrivals by chance have a variance of counts of once their mean; from this many times on they come in bursts.
BURSTY = 3.0
#: So many requests for one key at once are worth a word.
_AT_ONCE = 3
#: An hour is busy with so many times the requests of an average one.
BUSY = 2.0


def observations(
    route: RouteEvidence, key_of: Callable[[Exchange], Hashable], trace: Trace, hours: Hours
) -> Iterator[Observation]:
    """Tell what is not evenly spread."""
    if len(route.exchanges) < _LEAST or "times" in trace.unknown:
        return
    yield from _bursts(route, trace)
    yield from _at_once(route, key_of)
    yield from _by_hour(route, trace, hours)


def _bursts(route: RouteEvidence, trace: Trace) -> Iterator[Observation]:
    """The index of dispersion of counts (Cox and Lewis 1966): 1 for independent arrivals, whatever their rate."""
    if trace.weights:  # of a thinned recording whole stretches are missing
        return
    times = np.sort(np.array([exchange.request.started for exchange in route.exchanges]))
    span = int(times[-1] - times[0])
    windows = len(times) // _IN_WINDOW
    if not span or windows < _LEAST // _IN_WINDOW:
        return
    counts = np.bincount(np.minimum((times - times[0]) * windows // span, windows - 1), minlength=windows)
    dispersion, peak = float(counts.var() / counts.mean()), int(counts.max())
    if dispersion < BURSTY:
        return
    seconds = span / windows / _SECOND
    text = (
        f"It comes in bursts: up to {peak} requests in {seconds:.3g} s, where {counts.mean():.1f} are usual "
        f"(dispersion {dispersion:.1f}; independent arrivals have 1)."
    )
    yield Observation(
        "bursts",
        route.subject,
        text,
        {"dispersion": round(dispersion, 2), "peak": peak, "seconds": round(seconds, 3)},
    )


def _at_once(route: RouteEvidence, key_of: Callable[[Exchange], Hashable]) -> Iterator[Observation]:
    """How many requests for one key were under way together: so many would load anew when its entry ends."""
    under_way: dict[Hashable, list[int]] = defaultdict(list)
    most = 0
    for exchange in route.exchanges:
        key = key_of(exchange) if exchange.fillable else None
        if key is None:
            continue
        ends = under_way[key]
        while ends and ends[0] <= exchange.request.started:
            heapq.heappop(ends)
        heapq.heappush(ends, exchange.request.answered)
        most = max(most, len(ends))
    if most >= _AT_ONCE:
        text = (
            f"Up to {most} requests for one key were under way at once: without a cache they all ask the database, "
            "with one a single load answers them (single_flight)."
        )
        yield Observation("at_once", route.subject, text, {"at_once": most})


def _by_hour(route: RouteEvidence, trace: Trace, hours: Hours) -> Iterator[Observation]:
    counts: Counter[int] = Counter()
    for exchange in route.exchanges:
        counts[hours(exchange.request)] += round(trace.weight(exchange.request.id))
    if -1 in counts:
        return
    average = counts.total() / 24
    busy = sorted(hour for hour, count in counts.items() if count >= BUSY * average)
    if not busy:
        return
    named = ", ".join(f"{hour:02}" for hour in busy)
    share = sum(counts[hour] for hour in busy) / counts.total()
    text = (
        f"{share:.0%} of its requests come in {len(busy)} of 24 hours (UTC {named}): "
        "warm it before, if at all."
    )
    yield Observation("time_of_day", route.subject, text, {"share": round(share, 4), "hours": len(busy)})
