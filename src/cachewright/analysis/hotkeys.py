"""Keys that get so many requests that the route is, for the database, mostly they."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator

from cachewright.analysis.exchanges import Exchange, RouteEvidence
from cachewright.analysis.findings import Observation
from cachewright.evidence.trace import Trace

#: A key is hot with this share of the requests, and this many times what it would get if all got alike.
HOT_SHARE, HOT_FACTOR = 0.1, 5.0
_LEAST_ANSWERS = 50


def observations(
    route: RouteEvidence, key_of: Callable[[Exchange], Hashable], trace: Trace
) -> Iterator[Observation]:
    """Tell which share of the answers of `route` goes to hot keys, where there are any.

    `key_of` is the whole key, with whom the answer is for; None where it would not be kept.
    """
    asked: dict[Hashable, float] = defaultdict(float)
    answers = 0
    for exchange in route.exchanges:
        if exchange.request.status == 200 and (key := key_of(exchange)) is not None:
            asked[key] += trace.weight(exchange.request.id)
            answers += 1
    whole = sum(asked.values())
    if answers < _LEAST_ANSWERS:
        return
    bar = max(HOT_SHARE, HOT_FACTOR / len(asked)) * whole
    hot = [count for count in asked.values() if count >= bar]
    if not hot:
        return
    share, hottest = sum(hot) / whole, max(hot) / whole
    text = (
        f"{len(hot)} of {len(asked)} keys get {share:.0%} of the answers, the hottest {hottest:.0%}: when such an "
        "entry ends many ask for it at once, which one load answers (single_flight)."
    )
    yield Observation(
        "hot_keys", route.subject, text, {"hot": len(hot), "keys": len(asked), "share": round(share, 4)}
    )
