"""How soon clients read what they wrote themselves: staleness that short is what somebody would notice."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from cachewright.analysis.exchanges import Exchange, RouteEvidence
from cachewright.analysis.findings import Observation
from cachewright.analysis.journal import Journal
from cachewright.evidence.dependencies import EVERYTHING
from cachewright.evidence.trace import Trace

_SECOND = 1_000_000_000
#: A read so long after a write is no look at what it did.
_WITHIN = 60 * _SECOND
_MOST_READS = 50
_LEAST = 10


def observations(
    route: RouteEvidence,
    tags_of: Callable[[Exchange], frozenset[str]],
    writes: Journal,
    trace: Trace,
) -> Iterator[Observation]:
    """Tell after how long the client that wrote reads what its write changed."""
    gaps = sorted(_gaps(route, tags_of, writes, trace))
    if len(gaps) < _LEAST:
        return
    soon, usual = (float(value) for value in np.percentile(gaps, [10, 50]))
    text = (
        f"{len(gaps)} times a client read within a minute what it had written itself: half after {usual:.2g} s, "
        f"a tenth after {soon:.2g} s. A life instead of an invalidation would show them the old answer."
    )
    yield Observation(
        "read_your_writes",
        route.subject,
        text,
        {"reads": len(gaps), "p10_seconds": round(soon, 3), "p50_seconds": round(usual, 3)},
    )


def _gaps(
    route: RouteEvidence, tags_of: Callable[[Exchange], frozenset[str]], writes: Journal, trace: Trace
) -> Iterator[float]:
    """From the commit of each write to the first read of its client that it changes the answer of (s)."""
    clients = {request.id: request.credential for request in trace.requests}
    reads: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in route.exchanges:
        if exchange.fillable and exchange.request.credential is not None:
            reads[exchange.request.credential].append(exchange)
    started = {client: [each.request.started for each in found] for client, found in reads.items()}
    for write in writes.writes:
        client = None if write.request is None else clients.get(write.request)
        if client is None or client not in reads:
            continue
        at = bisect_left(started[client], write.ended)
        for exchange in reads[client][at : at + _MOST_READS]:
            if exchange.request.started > write.ended + _WITHIN:
                break
            if EVERYTHING in write.tags or not write.tags.isdisjoint(tags_of(exchange)):
                yield (exchange.request.started - write.ended) / _SECOND
                break
