"""A recording replayed against a plan, in the order in which things happened: the plain reference.

It drives the same `decide` and `may_fill` as the runtime, over one store, with whole numbers for tokens, and
plays the one process that serves and writes: what a write holds is neither served nor filled until its end,
and a load during which a tag was held or changed is not kept. All time comes from the trace. What a request
wrote is replayed even where its answer would have been a hit: later answers of the recording rest on it.

When a load would have been filled lies between two moments: recorded durations hold queueing that a cache
removes. So three replays run: filled when the application returned, filled after the tenth percentile of the
route's durations, and filled half-way between; the first two bracket the third.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import assert_never

from cachewright.evidence.dependencies import WriteSeen
from cachewright.evidence.trace import RequestSeen, Trace
from cachewright.simulator.figures import Run, figures
from cachewright.simulator.judge import Judge, Verdict
from cachewright.simulator.lookups import Lookup, Prepared, prepare
from cachewright.simulator.outcome import Outcome, WrongAnswer, percentile
from cachewright.spec.semantics import (
    GUARDS,
    NOTHING_HERE,
    Acceptance,
    Bypass,
    EntryMeta,
    Load,
    Reason,
    Seen,
    Serve,
    acceptance_lifetime,
    current,
    decide,
    entry_lifetime,
    idle_limit,
    may_fill,
    read,
    through,
)
from cachewright.spec.target import Plan

_SECOND = 1_000_000_000
_EARLY = 0.1
FillAt = Callable[[Lookup], int]


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What a trace does not tell. Times are in milliseconds.

    `hit_ms` is what a hit takes from lookup to answer, `network_ms` what an exchange with the shared store
    adds to it. `jitter` in [-1, 1] is where in their spread entries expire. `max_entries` and `max_bytes` bound
    the store, the least recently used leaving first. `dice` in (0, 1] is what every early refresh throws: 1/e is
    the mean. `details` bounds how many wrong answers are shown.
    """

    hit_ms: float = 0.5
    network_ms: float = 0.0
    jitter: float = 0.0
    max_entries: int | None = None
    max_bytes: int | None = None
    dice: float = math.exp(-1)
    details: int = 20


def replay(trace: Trace, plan: Plan, settings: ReplaySettings | None = None) -> Outcome:
    """What `plan` would have done to the traffic of `trace`: hits, latency, database work, wrong answers.

    Raises `NotEnoughEvidenceError` for a trace without requests.
    """
    chosen = settings or ReplaySettings()
    prepared = prepare(trace, plan)
    judge = Judge(trace, prepared)
    early = _early(trace)

    def middle(lookup: Lookup) -> int:
        return (early(lookup) + _late(lookup)) // 2

    runs = [_Replay(prepared, chosen, judge, fill_at).run() for fill_at in (_late, early, middle)]
    word = _Replay(prepared, chosen, judge, middle, at_its_word=True).run()
    return figures(
        trace, prepared, runs, word, hit_ms=chosen.hit_ms + chosen.network_ms, details=chosen.details
    )


def _tags_known(lookup: Lookup, seen: Seen) -> frozenset[str]:
    """The tags of an entry that a lookup asks for the tokens of: it might be served, if they stood."""
    entry = seen.entry
    if entry is None or entry.expired(lookup.at / _SECOND) or entry.variant != seen.variant:
        return frozenset()
    return frozenset(entry.tokens) if all(tag in entry.tokens for tag in seen.predicted) else frozenset()


def _late(lookup: Lookup) -> int:
    return lookup.request.returned


def _early(trace: Trace) -> FillAt:
    """The moment of the fill if every load took the tenth percentile of its route's durations."""
    durations: dict[int | None, list[float]] = defaultdict(list)
    for request in trace.requests:
        durations[request.route].append(request.returned - (request.entered or request.started))
    short = {route: int(percentile(sorted(found), _EARLY)) for route, found in durations.items()}
    return lambda lookup: min(lookup.at + short[lookup.request.route], lookup.request.returned)


class _Turn(IntEnum):
    """What comes first at one moment: what makes entries invalid goes before what makes or serves them."""

    HOLD = 0
    END = 1
    FILL = 2
    LOOKUP = 3


@dataclass(frozen=True, slots=True)
class _Entry:
    meta: EntryMeta
    filled_by: Lookup


@dataclass(frozen=True, slots=True)
class _Loading:
    """A load under way, with what was seen before it.

    The tokens of its tags, how often those and its guards had been touched by then, whether its credential was
    accepted for the key, whether it may be filled at all, and whether it is in place of a refresh. `known` are the
    tags of the entry that was there.
    """

    lookup: Lookup
    tokens: Mapping[str, int]
    touches: Mapping[str, int]
    accepted: bool
    fill: bool
    refresh: bool
    known: frozenset[str] = frozenset()


_Event = WriteSeen | RequestSeen | Lookup | _Loading


@dataclass(slots=True)
class _Replay:
    """One pass over the trace."""

    prepared: Prepared
    settings: ReplaySettings
    judge: Judge
    fill_at: FillAt
    at_its_word: bool = False
    tokens: dict[str, int] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    touches: Counter[str] = field(default_factory=Counter)
    entries: OrderedDict[tuple[str, ...], _Entry] = field(default_factory=OrderedDict)
    refreshing: set[tuple[tuple[str, ...], bytes | None]] = field(default_factory=set)
    acceptances: dict[tuple[str | None, tuple[str, ...]], Acceptance] = field(default_factory=dict)
    shares: dict[tuple[str, ...], float] = field(default_factory=dict)
    count: float = 0.0
    size: float = 0.0
    found: Run = field(default_factory=Run)

    def run(self) -> Run:
        order = 0
        queue: list[tuple[int, _Turn, int, _Event]] = []
        for at, turn, event in self._recorded():
            queue.append((at, turn, order, event))
            order += 1
        heapq.heapify(queue)
        while queue:
            _, turn, _, event = heapq.heappop(queue)
            match event:
                case WriteSeen():
                    self._write(event, begins=turn is _Turn.HOLD)
                case RequestSeen():
                    self._change((f"cred:{event.credential}",))
                case Lookup():
                    loading = self._look_up(event)
                    if loading is not None:
                        order += 1
                        heapq.heappush(queue, (self.fill_at(event), _Turn.FILL, order, loading))
                case _Loading():
                    self._fill(event)
                case _:
                    assert_never(event)
        return self.found

    def _recorded(self) -> Iterable[tuple[int, _Turn, _Event]]:
        for write in self.prepared.felt:
            yield write.began, _Turn.HOLD, write
            yield write.ended, _Turn.END, write
        for request in self.prepared.logouts:
            yield request.returned, _Turn.END, request
        for lookup in self.prepared.lookups:
            yield lookup.at, _Turn.LOOKUP, lookup

    def _write(self, write: WriteSeen, *, begins: bool) -> None:
        if begins:
            self.held.update(write.tags)
            self.touches.update(write.tags)
            return
        self.held.subtract(write.tags)
        if write.committed:
            self._change(write.tags)

    def _change(self, tags: Iterable[str]) -> None:
        for tag in tags:
            self.tokens[tag] = self.tokens.get(tag, 0) + 1
            self.touches[tag] += 1

    def _look_up(self, lookup: Lookup) -> _Loading | None:
        for tag in (*lookup.all_tags, *lookup.target.learning.guards):
            self.tokens.setdefault(tag, 0)
        entry = self.entries.get(lookup.key)
        seen = Seen(
            entry=entry.meta if entry else None,
            tokens=self.tokens,
            predicted=() if self.at_its_word else lookup.tags,
            needs_acceptance=lookup.needs_acceptance,
            acceptance=self.acceptances.get((lookup.request.credential, lookup.accepted_as)),
            variant=entry.meta.variant if entry and self.at_its_word else lookup.variant,
            held=self._held(lookup, entry),
        )
        now = lookup.at / _SECOND
        decision = decide(lookup.target.policy, seen, now, self.settings.dice)
        match through(decision, refreshing=(lookup.key, lookup.variant) in self.refreshing):
            case Serve():
                assert entry is not None
                self.entries[lookup.key] = replace(entry, meta=read(entry.meta, now))
                self.entries.move_to_end(lookup.key)
                self._served(lookup, entry)
                return None
            case Load(reason, fill):
                self.found.missed(lookup, reason)
                if reason is Reason.REFRESH:
                    self.refreshing.add((lookup.key, lookup.variant))
                return self._loading(lookup, seen, fill=fill, refresh=reason is Reason.REFRESH)
            case Bypass(reason):
                self.found.bypassed(lookup, reason)
                return None
            case other:
                assert_never(other)

    def _held(self, lookup: Lookup, entry: _Entry | None) -> bool:
        """Whether a write is under way to what was predicted, or to what the entry depends on."""
        own = () if entry is None else entry.meta.tokens
        return any(self.held[tag] > 0 for tag in (*lookup.tags, *own))

    def _served(self, lookup: Lookup, entry: _Entry) -> None:
        self.found.hit(lookup)
        match self.judge.verdict(entry.filled_by, lookup):
            case Verdict.RIGHT:
                pass
            case Verdict.UNDECIDED:
                self.found.undecided(lookup)
            case WrongAnswer() as answer:
                self.found.wrong(lookup, answer)
            case other:
                assert_never(other)

    def _loading(self, lookup: Lookup, seen: Seen, *, fill: bool, refresh: bool) -> _Loading:
        acceptance = None if seen.held else seen.acceptance
        return _Loading(
            lookup,
            tokens={tag: self.tokens[tag] for tag in lookup.all_tags},
            touches={tag: self.touches[tag] for tag in (*lookup.all_tags, *lookup.target.learning.guards)},
            known=_tags_known(lookup, seen),
            accepted=acceptance is not None and current(acceptance.tokens, self.tokens),
            fill=fill,
            refresh=refresh,
        )

    def _fill(self, loading: _Loading) -> None:
        lookup, policy = loading.lookup, loading.lookup.target.policy
        if loading.refresh:
            self.refreshing.discard((lookup.key, lookup.variant))
        if loading.accepted and lookup.facts.status in (401, 403):
            self._change(lookup.own_tags)
        reasons = may_fill(policy, lookup.facts, lookup.entry_tags, declared=lookup.target.declared)
        if self.at_its_word:
            reasons = tuple(reason for reason in reasons if reason not in GUARDS)
        if not reasons and loading.fill:
            reasons = self._overtaken(loading)
        if reasons:
            self.found.refused(lookup, reasons)
        elif loading.fill:
            self._keep(loading)

    def _overtaken(self, loading: _Loading) -> tuple[Reason, ...]:
        """What writes did meanwhile to a load that could be kept as far as it alone is concerned."""
        lookup, touches = loading.lookup, loading.touches
        if any(self.held[tag] > 0 for tag in lookup.all_tags):
            return (Reason.HELD,)
        certain = loading.known.issuperset(set(lookup.learned) - {*lookup.target.learning.guards})
        decisive = lookup.all_tags if certain else (*lookup.all_tags, *lookup.target.learning.guards)
        return (Reason.CHANGED,) if any(self.touches[tag] > touches[tag] for tag in decisive) else ()

    def _keep(self, loading: _Loading) -> None:
        """Store the entry, and that the credential was accepted; both live from when the load began."""
        lookup, policy = loading.lookup, loading.lookup.target.policy
        began = lookup.at / _SECOND
        lifetime = entry_lifetime(
            policy,
            lookup.target.scope,
            self.settings.jitter,
            lookup.credential_seconds,
            negative=lookup.facts.status in NOTHING_HERE,
            cache_control=lookup.facts.cache_control,
        )
        expires = None if lifetime is None else began + lifetime
        tokens = {tag: loading.tokens[tag] for tag in lookup.entry_tags}
        took = (self.fill_at(lookup) - lookup.at) / _SECOND
        meta = EntryMeta(began, expires, tokens, lookup.variant, took, idle_limit(policy))
        self._store(lookup.key, _Entry(meta, lookup))
        if lookup.needs_acceptance and (lookup.ground is None or lookup.facts.status not in NOTHING_HERE):
            until = began + acceptance_lifetime(policy, lookup.credential_seconds)
            tokens = {tag: loading.tokens[tag] for tag in lookup.accepted_tags}
            accepted = Acceptance(began, until, tokens)
            self.acceptances[lookup.request.credential, lookup.accepted_as] = accepted

    def _store(self, key: tuple[str, ...], entry: _Entry) -> None:
        self._forget(key)
        self.entries[key] = entry
        self._hold(entry, self._share(key, entry.filled_by))
        if self.settings.max_entries is not None and len(self.entries) > self.settings.max_entries:
            self._forget(next(iter(self.entries)))
        while self.settings.max_bytes is not None and self.entries and self.size > self.settings.max_bytes:
            self._forget(next(iter(self.entries)))
        self.found.peak_entries = max(self.found.peak_entries, round(self.count))
        self.found.peak_bytes = max(self.found.peak_bytes, round(self.size))

    def _forget(self, key: tuple[str, ...]) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self._hold(entry, -self.shares[key])

    def _hold(self, entry: _Entry, share: float) -> None:
        self.count += share
        self.size += share * entry.filled_by.request.size

    def _share(self, key: tuple[str, ...], lookup: Lookup) -> float:
        """For how many entries this one stands: of a key that was thinned in time, for itself."""
        share = self.shares[key] = min(self.shares.get(key, lookup.weight), lookup.weight)
        return share
