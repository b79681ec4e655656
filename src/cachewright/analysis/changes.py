"""Whether every change of an answer was caused by a write that was seen.

Two consecutive reads p and q of one key differ. A write explains it iff its commit started before the later
of their SQL ended, and ended after the earlier of their SQL started. Ordering by start of the request gave
69 false alarms in 1,571 changes at 16 clients, by its end 46, this rule none: so one is enough to refuse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from cachewright.analysis.exchanges import Exchange
from cachewright.analysis.journal import Journal

KeyOf = Callable[[Exchange], Hashable | None]
TagsOf = Callable[[Exchange], frozenset[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two consecutive answers to one key.

    `written` says that a write to their tags lies between or beside them.
    """

    before: Exchange
    after: Exchange
    changed: bool
    written: bool

    @property
    def unexplained(self) -> bool:
        """Whether the answer changed although nothing it depends on did."""
        return self.changed and not self.written


@dataclass(frozen=True, slots=True)
class Changes:
    """What the pairs of a route show.

    `quiet` pairs saw no write and no change, over `quiet_seconds` in all; `needless` saw a write and no
    change (the price of coarse tags).
    """

    pairs: int
    explained: int
    quiet: int
    needless: int
    quiet_seconds: float
    unexplained: tuple[Pair, ...]

    @property
    def changed(self) -> int:
        """All observed changes."""
        return self.explained + len(self.unexplained)


def pairs_of(
    exchanges: Iterable[Exchange], key_of: KeyOf, tags_of: TagsOf, journal: Journal
) -> Iterator[Pair]:
    """Consecutive answers of each key, in the order of their SQL. A key of None is left out.

    Digests that leave out different members are not compared.
    """
    by_key: dict[Hashable, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        key = key_of(exchange) if exchange.comparable else None
        if key is not None:
            by_key[key, exchange.request.ignored].append(exchange)
    for found in by_key.values():
        found.sort(key=lambda exchange: (exchange.first, exchange.request.id))
        for before, after in pairwise(found):
            if before.fillable or after.fillable:
                yield _pair(before, after, tags_of, journal)


def _pair(before: Exchange, after: Exchange, tags_of: TagsOf, journal: Journal) -> Pair:
    begin, end = min(before.first, after.first), max(before.last, after.last)
    return Pair(
        before,
        after,
        changed=(before.request.status, before.request.digest)
        != (after.request.status, after.request.digest),
        written=journal.changed(tags_of(before) | tags_of(after), begin, end),
    )


def changes(pairs: Iterable[Pair]) -> Changes:
    """Count `pairs`."""
    explained = quiet = needless = total = 0
    seconds = 0.0
    unexplained: list[Pair] = []
    for pair in pairs:
        total += 1
        if pair.unexplained:
            unexplained.append(pair)
        elif pair.changed:
            explained += 1
        elif pair.written:
            needless += 1
        else:
            quiet += 1
            seconds += max(0, pair.after.first - pair.before.first) / 1e9
    return Changes(total, explained, quiet, needless, seconds, tuple(unexplained))


def hidden_tables(pairs: Iterable[Pair], journal: Journal, tables: Iterable[str]) -> tuple[str, ...]:
    """Tables that may feed an answer behind the application's back (a trigger).

    Written beside every unexplained change and beside no quiet pair. A proposal for people to confirm,
    never applied unasked.
    """
    seen = [pair for pair in pairs if not pair.written]
    unexplained = [pair for pair in seen if pair.changed]
    quiet = [pair for pair in seen if not pair.changed]
    if not unexplained or not quiet:
        return ()
    return tuple(
        table
        for table in sorted(tables)
        if all(_beside(pair, table, journal) for pair in unexplained)
        and not any(_beside(pair, table, journal) for pair in quiet)
    )


def _beside(pair: Pair, table: str, journal: Journal) -> bool:
    begin = min(pair.before.first, pair.after.first)
    return journal.changed((table,), begin, max(pair.before.last, pair.after.last))
