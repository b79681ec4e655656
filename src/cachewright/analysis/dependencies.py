"""What each route depends on, as tag templates.

Row tags where the request shows which rows, else whole tables.

Column sets are chosen for all routes together, since every writer must pin the values of every set of a
table, or it changes `#bulk` and with it the entries of all of them. Costs are counted on the writes of the
trace.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from cachewright.analysis.exchanges import Exchange
from cachewright.analysis.sources import BoundSpot
from cachewright.evidence.dependencies import EVERYTHING, UNKNOWN_TABLE, written_by
from cachewright.evidence.trace import Trace
from cachewright.spec.learning import Learning
from cachewright.spec.tags import (
    Source,
    TagTemplate,
    bulk_tag,
    column_sets,
    read_alternatives,
    row_tag,
    table_tag,
)

Columns = tuple[str, ...]

#: Columns of one row tag; more make tags finer than writes are.
_WIDEST = 2
#: Costs that differ by no more than this factor count as equal.
_ABOUT = 1.05


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A route as a reader of tables.

    Its name, the answers a cache could hold, and their table occurrences.
    """

    subject: str
    exchanges: Sequence[Exchange]
    spots: Sequence[BoundSpot]


@dataclass(frozen=True, slots=True)
class _Option:
    """A row tag template, the share of its requests that each tag has, and the share without a tag."""

    template: TagTemplate
    shares: Mapping[str, float]
    unbound: float

    @property
    def learned(self) -> bool:
        return self.template.learned

    @property
    def columns(self) -> Columns:
        return tuple(column for column, _ in self.template.columns)

    @property
    def breadth(self) -> float:
        return sum(share * share for share in self.shares.values()) + self.unbound


@dataclass(frozen=True, slots=True)
class _Writes:
    """The committed writes to one table as a column set sees them.

    Their number, which are bulk, tags of the rest.
    """

    total: int
    bulk: frozenset[int]
    tags: Mapping[int, frozenset[str]]


def depends_on(readers: Sequence[Reader], trace: Trace) -> dict[str, tuple[TagTemplate, ...]]:
    """For each reader (by subject) the templates that cover all of its reads, sorted by table."""
    found: dict[str, list[TagTemplate]] = {reader.subject: [] for reader in readers}
    demands = _demands(readers, trace)
    writes = _writes_of_sets(demands, trace)
    for table in sorted(demands):
        for subject, templates in _settled(table, demands[table], writes, trace).items():
            found[subject].extend(templates)
    return {subject: tuple(sorted(templates, key=str)) for subject, templates in found.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Demand:
    """What one reader needs of one table: for each occurrence the options that would cover it."""

    subject: str
    requests: int
    spots: tuple[tuple[_Option, ...], ...]


def _demands(readers: Sequence[Reader], trace: Trace) -> dict[str, list[_Demand]]:
    demands: dict[str, list[_Demand]] = defaultdict(list)
    secrets = frozenset(
        (spot.spot.table, column) for reader in readers for spot in reader.spots for column in spot.secret
    )
    for reader in readers:
        by_table: dict[str, list[BoundSpot]] = defaultdict(list)
        for spot in reader.spots:
            if spot.spot.table != UNKNOWN_TABLE:
                by_table[spot.spot.table].append(spot)
        for table, spots in by_table.items():
            made: dict[str, _Option] = {}
            options = tuple(tuple(_options(spot, reader.exchanges, trace, secrets, made)) for spot in spots)
            demands[table].append(_Demand(reader.subject, len(reader.exchanges), options))
    return demands


def _options(
    spot: BoundSpot,
    exchanges: Sequence[Exchange],
    trace: Trace,
    secrets: frozenset[tuple[str, str]],
    made: dict[str, _Option],
) -> Iterator[_Option]:
    table = spot.spot.table
    barred = secrets | trace.schema.inexact_columns
    usable = sorted(column for column in spot.columns if (table, column) not in barred)
    for size in range(1, _WIDEST + 1):
        for columns in combinations(usable, size):
            template = TagTemplate(
                table, tuple((column, Source(spot.columns[column][0])) for column in columns)
            )
            if str(template) not in made:
                made[str(template)] = _option(template, exchanges)
            yield made[str(template)]
    for column in spot.pinned:
        if (table, column) not in trace.schema.inexact_columns and column not in usable:
            source = Source(None, learned=True, hashed=(table, column) in secrets)
            template = TagTemplate(table, ((column, source),))
            if str(template) not in made:
                made[str(template)] = _learned_option(template, exchanges)
            yield made[str(template)]


def _learned_option(template: TagTemplate, exchanges: Sequence[Exchange]) -> _Option:
    """What the loads of these answers would have learned."""
    tags: Counter[str] = Counter()
    unbound = 0
    for exchange in exchanges:
        learned = learned_by(exchange, (template,))
        tags.update(tag for tag in learned if tag != template.table)
        unbound += template.table in learned
    total = max(1, len(exchanges))
    return _Option(template, {tag: count / total for tag, count in tags.items()}, unbound / total)


def learned_by(exchange: Exchange, templates: Sequence[TagTemplate]) -> tuple[str, ...]:
    """The tags that the load of this answer shows for the learned ones of a route's `templates`."""
    learning, sets = Learning.of(templates), column_sets(templates)
    predicted = [tag for item in templates if not item.learned for tag in item.bind(exchange.loose)]
    reads = (read_alternatives(run.read.table, run.read.pinned, sets) for run in exchange.reads)
    return learning.learned(predicted, reads)


def _option(template: TagTemplate, exchanges: Sequence[Exchange]) -> _Option:
    tags: Counter[str] = Counter()
    for exchange in exchanges:
        values = {column: exchange.loose.get(source.name or "") for column, source in template.columns}
        known = {column: value for column, value in values.items() if value is not None}
        if len(known) == len(values):
            tags[row_tag(template.table, known)] += 1
    total = max(1, len(exchanges))
    return _Option(template, {tag: count / total for tag, count in tags.items()}, 1 - tags.total() / total)


def _writes_of_sets(
    demands: Mapping[str, Sequence[_Demand]], trace: Trace
) -> dict[tuple[str, Columns], _Writes]:
    """The writes for every column set that is an option somewhere.

    Each pass asks for one set of every table.
    """
    wanted = {
        table: sorted({option.columns for demand in found for spot in demand.spots for option in spot})
        for table, found in demands.items()
    }
    writes: dict[tuple[str, Columns], _Writes] = {}
    for layer in range(max(map(len, wanted.values()), default=0)):
        sets = {
            table: frozenset({columns[layer]}) for table, columns in wanted.items() if layer < len(columns)
        }
        committed = [
            (number, write.tags) for number, write in enumerate(written_by(trace, sets)) if write.committed
        ]
        for table, (columns,) in sets.items():
            writes[table, columns] = _writes(table, committed)
    return writes


def _writes(table: str, committed: Iterable[tuple[int, frozenset[str]]]) -> _Writes:
    bulk: set[int] = set()
    rows: dict[int, frozenset[str]] = {}
    for number, tags in committed:
        if EVERYTHING in tags or bulk_tag(table) in tags:
            bulk.add(number)
        elif table_tag(table) in tags:
            rows[number] = tags
    return _Writes(len(bulk) + len(rows), frozenset(bulk), rows)


def _settled(
    table: str, demands: Sequence[_Demand], writes: Mapping[tuple[str, Columns], _Writes], trace: Trace
) -> dict[str, tuple[TagTemplate, ...]]:
    """The cheapest choice of column sets, found by dropping one set after another from all."""
    keys = trace.schema.primary_keys.get(table, ())
    allowed = {option.columns for demand in demands for spot in demand.spots for option in spot}

    def choose(sets: set[Columns]) -> dict[str, tuple[_Option, ...]]:
        return {demand.subject: _cover(demand, sets, writes, table, keys) for demand in demands}

    best = choose(allowed)
    price = _price(table, demands, best, writes)
    while True:
        used = {option.columns for options in best.values() for option in options}
        trials = [(used - {columns}, columns) for columns in sorted(used)]
        priced = [
            (_price(table, demands, chosen, writes), index, chosen)
            for index, (sets, _) in enumerate(trials)
            for chosen in [choose(sets)]
        ]
        cheapest = min(priced, key=lambda trial: trial[:2], default=None)
        if cheapest is None or cheapest[0] >= price:
            break
        price, _, best = cheapest
    return {
        subject: tuple(option.template for option in options) or (TagTemplate(table),)
        for subject, options in best.items()
    }


def _cover(
    demand: _Demand,
    sets: set[Columns],
    writes: Mapping[tuple[str, Columns], _Writes],
    table: str,
    keys: Columns,
) -> tuple[_Option, ...]:
    """Options that cover every occurrence, the least free ones first; () where one has none.

    The whole table.
    """
    spots = [[option for option in spot if option.columns in sets] for spot in demand.spots]
    chosen: list[_Option] = []
    for options in sorted(spots, key=len):
        if not options:
            return ()
        if not any(option.template == taken.template for option in options for taken in chosen):
            chosen.append(_best(options, writes, table, keys))
    return tuple(chosen)


def _best(
    options: Sequence[_Option], writes: Mapping[tuple[str, Columns], _Writes], table: str, keys: Columns
) -> _Option:
    """The cheapest option.

    Among those about as cheap the primary key, then the most selective, then the shortest.
    """
    costs = {
        str(option.template): _cost(option, list(seen.tags.values()), len(seen.bulk))
        for option in options
        for seen in [writes[table, option.columns]]
    }
    limit = min(costs.values()) * _ABOUT + 1e-9

    def rank(option: _Option) -> tuple[bool, bool, float, int, str]:
        whole_key = bool(keys) and set(keys) == set(option.columns)
        breadth = round(option.breadth, 6)
        return (option.learned, not whole_key, breadth, len(option.columns), str(option.template))

    return min((option for option in options if costs[str(option.template)] <= limit), key=rank)


def _cost(option: _Option, rows: Sequence[frozenset[str]], bulk: int) -> float:
    """How many of the writes an entry with this template does not survive, on average."""
    met = sum(option.shares.get(tag, 0.0) for tags in rows for tag in tags)
    return bulk + met + option.unbound * len(rows)


def _price(
    table: str,
    demands: Iterable[_Demand],
    chosen: Mapping[str, Sequence[_Option]],
    writes: Mapping[tuple[str, Columns], _Writes],
) -> float:
    """The invalidations that all readers of `table` suffer.

    A write that cannot pin one of the sets hits all.
    """
    used = {option.columns for options in chosen.values() for option in options}
    bulk = frozenset[int]().union(*(writes[table, columns].bulk for columns in used))
    total = max((seen.total for (name, _), seen in writes.items() if name == table), default=0)
    price = 0.0
    for demand in demands:
        options = chosen[demand.subject]
        if not options:
            price += demand.requests * total
        for option in options:
            rows = [tags for number, tags in writes[table, option.columns].tags.items() if number not in bulk]
            price += demand.requests * _cost(option, rows, len(bulk))
    return price
