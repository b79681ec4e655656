"""Which part of a request gives a predicate its value: the evidence behind `tasks(owner_id={user_id})`.

Wrong candidates by chance: 7.4 % after one observation, 1.6 % after two, 0.1 % after five, none after ten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cachewright.analysis.exchanges import Exchange
from cachewright.spec.sensitive import secret_words, session_words
from cachewright.spec.tags import NULL

LEAST_OBSERVATIONS = 10
LEAST_VALUES = 3

_CARRIERS = ("header.", "cookie.")
_PLACES = ("user_id", "tenant_id", "claim", "path", "query", "header", "cookie")


@dataclass(frozen=True, slots=True)
class Spot:
    """A table occurrence of a SQL text."""

    text: int
    index: int
    table: str


@dataclass(frozen=True, slots=True)
class BoundSpot:
    """A spot with the accepted sources of its columns, best first, and how many requests ran it.

    `pinned` are the columns that every run pinned, wherever their values came from; `secret` those of them whose
    values are credentials.
    """

    spot: Spot
    columns: Mapping[str, tuple[str, ...]]
    requests: int
    pinned: tuple[str, ...] = ()
    secret: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Column:
    """The observations of one pinned column: the sources that still agree with all of them.

    `carried` says that a header or a cookie held one of its values.
    """

    names: set[str]
    requests: int = 0
    last: int = -1
    runs: int = 0
    values: set[str] = field(default_factory=set)
    carried: bool = False


def bound_spots(
    exchanges: Iterable[Exchange], *, principal: str | None = None, barred: frozenset[str] = frozenset()
) -> tuple[BoundSpot, ...]:
    """Every table occurrence these exchanges ran, with the sources of its pinned columns.

    A source must equal the bound value in every observation, be present in every one of the exchanges
    (claims: in every one that shows a token), and be seen in 10 requests with 3 distinct values; a text
    that ran more rarely borrows the evidence of other texts for the same table, column and source. Of
    several sources that always agree the `principal` is best, then a claim, then path, then query; then the
    one named as the column. `barred` names what may be no source.
    """
    usual = list(exchanges)
    everywhere = _present(usual) - barred
    runs, requests, columns = _observed(usual, everywhere)
    pooled: dict[tuple[str, str, str], _Column] = {}
    for (spot, column), seen in columns.items():
        if seen.runs == runs[spot]:
            for name in seen.names:
                pool = pooled.setdefault((spot.table, column, name), _Column(set()))
                pool.requests += seen.requests
                pool.values |= seen.values
    accepted: dict[Spot, dict[str, tuple[str, ...]]] = defaultdict(dict)
    pinned: dict[Spot, list[str]] = defaultdict(list)
    for (spot, column), seen in columns.items():
        if seen.runs == runs[spot]:
            pinned[spot].append(column)
            names = [name for name in seen.names if _enough(pooled[spot.table, column, name])]
            if names:
                accepted[spot][column] = _by_preference(names, spot.table, column, principal)
    return tuple(
        BoundSpot(
            spot,
            accepted.get(spot, {}),
            len(requests[spot]),
            tuple(sorted(pinned[spot])),
            frozenset(
                column for column in pinned[spot] if _is_secret(spot.table, column, columns[spot, column])
            ),
        )
        for spot in sorted(runs, key=lambda spot: (spot.table, spot.text, spot.index))
    )


def _is_secret(table: str, column: str, seen: _Column) -> bool:
    """Whether values of a column are credentials: a name says so, or a cookie or a header held one of them."""
    return seen.carried or bool(secret_words(column) or secret_words(table) or session_words(table))


def _by_preference(names: Iterable[str], table: str, column: str, principal: str | None) -> tuple[str, ...]:
    return tuple(
        sorted(
            names, key=lambda name: (name != principal, _place(name), not _alike(name, table, column), name)
        )
    )


def _place(name: str) -> int:
    place = name.partition(".")[0]
    return _PLACES.index(place) if place in _PLACES else len(_PLACES)


def _alike(name: str, table: str, column: str) -> bool:
    bare = name.rpartition(".")[2].lower().replace("-", "_")
    return bare in (column, f"{table.rstrip('s')}_{column}") or (
        bare == "sub" and column in ("id", "user_id")
    )


def _present(exchanges: list[Exchange]) -> frozenset[str]:
    """The names that have a comparable value in all exchanges, claims in all that have a token."""
    if not exchanges:
        return frozenset()
    common = frozenset.intersection(*(frozenset(exchange.loose) for exchange in exchanges))
    tokens = [
        frozenset(name for name in exchange.loose if name.startswith("claim."))
        for exchange in exchanges
        if any(name.startswith("claim.") for name in exchange.loose)
    ]
    claims = frozenset.intersection(*tokens) if tokens else frozenset[str]()
    return frozenset(
        name for name in common | claims if _place(name) < len(_PLACES) and not set(name) & set("(){},=")
    )


def _observed(
    exchanges: list[Exchange], everywhere: frozenset[str]
) -> tuple[dict[Spot, int], dict[Spot, set[int]], dict[tuple[Spot, str], _Column]]:
    runs: dict[Spot, int] = defaultdict(int)
    requests: dict[Spot, set[int]] = defaultdict(set)
    columns: dict[tuple[Spot, str], _Column] = {}
    for exchange in exchanges:
        carried = {hashed for name, hashed in exchange.loose.items() if name.startswith(_CARRIERS)}
        given: dict[str, set[str]] = defaultdict(set)
        for name in everywhere & exchange.loose.keys():
            given[exchange.loose[name]].add(name)
        for run in exchange.reads:
            spot = Spot(run.text, run.index, run.read.table)
            runs[spot] += 1
            requests[spot].add(exchange.request.id)
            for column, value in run.read.pinned.items():
                if value != NULL:
                    _observe(columns, (spot, column), value, given.get(value, set()), exchange.request.id)
                    columns[spot, column].carried |= value in carried
    return runs, requests, columns


def _observe(
    columns: dict[tuple[Spot, str], _Column],
    place: tuple[Spot, str],
    value: str,
    names: set[str],
    request: int,
) -> None:
    seen = columns.get(place)
    if seen is None:
        seen = columns[place] = _Column(set(names))
    else:
        seen.names &= names
    seen.runs += 1
    seen.values.add(value)
    if seen.last != request:
        seen.requests += 1
        seen.last = request


def _enough(seen: _Column) -> bool:
    return seen.requests >= LEAST_OBSERVATIONS and len(seen.values) >= LEAST_VALUES
