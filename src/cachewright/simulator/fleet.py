"""Several workers over one shared store: their copies in memory, what they have heard, and when nobody hears.

A worker serves its own copy for the lease that began when it asked for the tokens, as long as no write that it has
heard of changed a tag. Its own writes it knows at once, those of others after the lag of the bus. While the shared
store is down nothing is served and nothing kept; what was written meanwhile is delivered when it is back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cachewright.simulator.lookups import Key, Lookup
from cachewright.simulator.store import Entry, Store
from cachewright.spec.semantics import Acceptance

_SECOND = 1_000_000_000
_SPREAD = 0x9E3779B97F4A7C15
_MEMORY = "l1"


@dataclass(frozen=True, slots=True)
class Outage:
    """The shared store is away from `begin` until `end` (ns of the trace's clock)."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Copy:
    """An entry, or an acceptance, in a worker's memory; its tokens were asked for at `sent` (ns)."""

    entry: Entry
    sent: int


@dataclass(slots=True)
class Worker:
    """One process: the tags that its own writes hold, how often it touched them, and its copies."""

    number: int
    held: Counter[str] = field(default_factory=Counter)
    touches: Counter[str] = field(default_factory=Counter)
    copies: dict[Key, Copy] = field(default_factory=dict)
    own: Store = field(default_factory=Store)
    acceptances: dict[tuple[str | None, Key], tuple[Acceptance, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Fleet:
    """All workers. Without `memory` they are one process that looks at one store alone.

    `lag` is how long the others do not know of a change, `lease` how long a copy is served unasked (both ns).
    """

    workers: Sequence[Worker]
    memory: bool = False
    lag: int = 0
    lease: int = _SECOND
    outages: Sequence[Outage] = ()
    _changes: dict[str, list[tuple[int, int | None]]] = field(default_factory=lambda: defaultdict(list))

    def worker(self, request: int | None) -> Worker | None:
        """Who answers a request of this number: as good as drawn, and always the same."""
        if request is None:
            return None
        if len(self.workers) == 1:
            return self.workers[0]
        return self.workers[(request * _SPREAD >> 32) % 2**32 % len(self.workers)]

    def down(self, at: int) -> bool:
        """Whether the shared store is away at this moment."""
        return any(outage.begin <= at < outage.end for outage in self.outages)

    def changed(self, tag: str, at: int, by: Worker | None) -> None:
        """A tag carries another token from now on."""
        if self.memory:
            self._changes[tag].append((at, None if by is None else by.number))

    def alive(self, copy_sent: int, at: int) -> bool:
        """Whether the lease of a copy runs: it ends by itself, and with the connection."""
        since = max((outage.begin for outage in self.outages if outage.begin <= at), default=copy_sent)
        return at < copy_sent + self.lease and copy_sent >= since

    def heard(self, worker: Worker, tokens: Mapping[str, int], sent: int, at: int) -> Mapping[str, int]:
        """The tokens as `worker` knows them at `at`, which knew all that had happened at `sent`."""
        return _AsHeard(self, worker.number, tokens, sent, at)

    def unheard(self, tag: str, worker: int, sent: int, at: int) -> int:
        """How many changes of `tag` after `sent` this worker has not heard of yet."""
        found = 0
        for moment, by in reversed(self._changes.get(tag, ())):
            if moment <= sent:
                break
            found += by != worker and at < self._told(moment)
        return found

    def _told(self, moment: int) -> int:
        """When the others know of a change that was made then."""
        ends = (outage.end for outage in self.outages if outage.begin <= moment < outage.end)
        return max(ends, default=moment) + self.lag


@dataclass(frozen=True, slots=True)
class _AsHeard(Mapping[str, int]):
    """The tokens that a worker believes in."""

    fleet: Fleet
    worker: int
    tokens: Mapping[str, int]
    sent: int
    at: int

    def __getitem__(self, tag: str) -> int:
        return self.tokens[tag] - self.fleet.unheard(tag, self.worker, self.sent, self.at)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __len__(self) -> int:
        return len(self.tokens)


def in_memory(lookup: Lookup) -> bool:
    """Whether workers keep copies of what `lookup` asks for."""
    return _MEMORY in lookup.target.levels


def only_in_memory(lookup: Lookup) -> bool:
    """Whether the shared store holds its tokens, and never its entries."""
    return set(lookup.target.levels) == {_MEMORY}
