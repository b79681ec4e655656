"""Answers that are kept apart though nobody was seen to get another one: a question for people, never a proof."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import pairwise

from cachewright.analysis.exchanges import Exchange
from cachewright.analysis.findings import Observation

_LEAST_PAIRS = 20
#: Neighbours that differ this rarely may differ because the data changed in between.
_DIFFER = 0.05


def observations(
    subject: str,
    answers: Sequence[Exchange],
    owner_of: Callable[[Exchange], Hashable],
    key_of: Callable[[Exchange], Hashable],
) -> Iterator[Observation]:
    """Tell where neighbours in time, of different owners, nearly always got the same answer to one key."""
    by_key: dict[Hashable, list[Exchange]] = defaultdict(list)
    for exchange in answers:
        if exchange.comparable and owner_of(exchange) is not None:
            by_key[key_of(exchange)].append(exchange)
    equal = differing = 0
    for found in by_key.values():
        found.sort(key=lambda exchange: (exchange.first, exchange.request.id))
        for before, after in pairwise(found):
            if owner_of(before) != owner_of(after):
                same = before.request.digest == after.request.digest
                equal, differing = equal + same, differing + (not same)
    if equal < _LEAST_PAIRS or differing > _DIFFER * (equal + differing):
        return
    whole = sum(map(len, by_key.values()))
    apart = len({(owner_of(exchange), key) for key, found in by_key.items() for exchange in found})
    reused_apart, reused_shared = round(1 - apart / whole, 4), round(1 - len(by_key) / whole, 4)
    text = (
        f"Over-scoped? {equal} of {equal + differing} times somebody else got the same answer to the same key. Kept "
        f"apart at most {reused_apart:.0%} of the answers can be reused, shared {reused_shared:.0%}. Equality proves "
        "nothing: widen the scope only if you know that they are for everybody."
    )
    figures = {"equal": equal, "differing": differing}
    yield Observation(
        "scope_over", subject, text, {**figures, "reused_apart": reused_apart, "reused_shared": reused_shared}
    )
