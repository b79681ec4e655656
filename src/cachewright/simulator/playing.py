"""A recording played against a plan, in the order in which things happened: the plain reference.

It drives the same `decide` and `may_fill` as the runtime, over one store, with whole numbers for tokens, and
plays the process that serves and writes, or several: what a write holds is neither served nor filled there until
its end, and a load during which a tag was held or changed is not kept. All time comes from the trace. What a request
wrote is replayed even where its answer would have been a hit: later answers of the recording rest on it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from itertools import count
from operator import itemgetter
from typing import assert_never

from cachewright.evidence.dependencies import WriteSeen
from cachewright.evidence.trace import RequestSeen
from cachewright.simulator.figures import Run
from cachewright.simulator.fleet import Copy, Fleet, Worker, in_memory, only_in_memory
from cachewright.simulator.judge import Judge, Verdict
from cachewright.simulator.lookups import Key, Lookup, Prepared
from cachewright.simulator.outcome import WrongAnswer
from cachewright.simulator.settings import ReplaySettings
from cachewright.simulator.store import Entry, Store
from cachewright.spec.filling import may_fill
from cachewright.spec.lifetimes import acceptance_lifetime, entry_lifetime, idle_limit
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
    current,
    decide,
    read,
    through,
)

_SECOND = 1_000_000_000
FillAt = Callable[[Lookup], int]


class _Turn(IntEnum):
    """What comes first at one moment: what makes entries invalid goes before what makes or serves them."""

    HOLD = 0
    END = 1
    FILL = 2
    LOOKUP = 3


@dataclass(frozen=True, slots=True)
class _Loading:
    """A load under way in `worker`, with what was seen before it.

    The tokens of its tags, how often those and its guards had been touched by then, whether its credential was
    accepted for the key, whether it may be filled at all, and whether it is in place of a refresh. `known` are the
    tags of the entry that was there.
    """

    lookup: Lookup
    worker: Worker
    tokens: Mapping[str, int]
    touches: Mapping[str, int]
    accepted: bool
    fill: bool
    refresh: bool
    known: frozenset[str] = frozenset()


_Event = WriteSeen | RequestSeen | Lookup
Moment = tuple[int, _Turn, _Event]
Unfit = Mapping[int, tuple[Reason, ...]]


def moments(prepared: Prepared) -> list[Moment]:
    """All that the trace tells, in the order in which it happened."""
    found: list[Moment] = []
    for write in prepared.felt:
        found.append((write.began, _Turn.HOLD, write))
        found.append((write.ended, _Turn.END, write))
    found.extend((request.returned, _Turn.END, request) for request in prepared.logouts)
    found.extend((lookup.at, _Turn.LOOKUP, lookup) for lookup in prepared.lookups)
    found.sort(key=itemgetter(0, 1))
    return found


def unfit(prepared: Prepared) -> Unfit:
    """Why loads must not be kept, by number of request, where there is a reason."""
    return {
        lookup.request.id: reasons
        for lookup in prepared.lookups
        if (
            reasons := may_fill(
                lookup.target.policy, lookup.facts, lookup.entry_tags, declared=lookup.target.declared
            )
        )
    }


def late(lookup: Lookup) -> int:
    """A load is filled when the application returned."""
    return lookup.request.returned


@dataclass(slots=True)
class Playing:
    """One pass over the trace."""

    prepared: Prepared
    settings: ReplaySettings
    judge: Judge
    fill_at: FillAt
    at_its_word: bool = False
    fleet: Fleet = field(default_factory=lambda: Fleet([Worker(0)]))
    tokens: dict[str, int] = field(init=False)
    touches: Counter[str] = field(default_factory=Counter)
    store: Store = field(init=False)
    refreshing: set[tuple[Key, bytes | None]] = field(default_factory=set)
    acceptances: dict[tuple[str | None, Key], Acceptance] = field(default_factory=dict)
    barred: Unfit = field(default_factory=dict)
    found: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        self.tokens = dict.fromkeys(self.prepared.tags, 0)
        self.store = Store(self.settings.max_entries, self.settings.max_bytes)

    def run(self, events: Sequence[Moment] | None = None, barred: Unfit | None = None) -> Run:
        """Play everything; what passes over one trace share may be given."""
        self.barred = unfit(self.prepared) if barred is None else barred
        fills: list[tuple[int, int, _Loading]] = []
        order = count()
        for at, turn, event in moments(self.prepared) if events is None else events:
            while fills and (fills[0][0], _Turn.FILL) < (at, turn):
                filled, _, loading = heapq.heappop(fills)
                self._fill(loading, filled)
            match event:
                case Lookup():
                    started = self._look_up(event)
                    if started is not None:
                        heapq.heappush(fills, (self.fill_at(event), next(order), started))
                case WriteSeen():
                    self._write(event, begins=turn is _Turn.HOLD)
                case RequestSeen():
                    self._change((f"cred:{event.credential}",), at, self.fleet.worker(event.id))
                case _:
                    assert_never(event)
        for at, _, loading in sorted(fills, key=itemgetter(0, 1)):
            self._fill(loading, at)
        self.found.peak_entries, self.found.peak_bytes = self.store.peak_entries, self.store.peak_bytes
        return self.found

    def _write(self, write: WriteSeen, *, begins: bool) -> None:
        """A process that writes holds its tags; no other one does."""
        writer = self.fleet.worker(write.request)
        if writer is None and len(self.fleet.workers) == 1:
            writer = self.fleet.workers[0]
        if begins:
            if writer is not None:
                writer.held.update(write.tags)
                writer.touches.update(write.tags)
            return
        if writer is not None:
            writer.held -= Counter(write.tags)
        if write.committed:
            self._change(write.tags, write.ended, writer)

    def _change(self, tags: Iterable[str], at: int, by: Worker | None) -> None:
        for tag in tags:
            self.tokens[tag] = self.tokens.get(tag, 0) + 1
            self.touches[tag] += 1
            self.fleet.changed(tag, at, by)

    def _look_up(self, lookup: Lookup) -> _Loading | None:
        worker = self.fleet.worker(lookup.request.id)
        assert worker is not None
        if self.fleet.outages and self.fleet.down(lookup.at):
            self.found.missed(lookup, Reason.NO_STORE)
            return None
        if self.fleet.memory and in_memory(lookup) and self._from_memory(worker, lookup):
            return None
        store = worker.own if self.fleet.memory and only_in_memory(lookup) else self.store
        entry = store.get(lookup.key)
        acceptance = self.acceptances.get((lookup.request.credential, lookup.accepted_as))
        seen = self._seen(lookup, entry, acceptance, self.tokens, held=_held(worker, lookup, entry))
        now = lookup.at / _SECOND
        decision = decide(lookup.target.policy, seen, now, self.settings.dice)
        match through(decision, refreshing=(lookup.key, lookup.variant) in self.refreshing):
            case Serve():
                assert entry is not None
                used = replace(entry, meta=read(entry.meta, now))
                store.used(lookup.key, used)
                self._served(lookup, entry, remote=self.fleet.memory and store is self.store)
                self._copied(worker, lookup, used, lookup.at, acceptance)
                return None
            case Load(reason, fill):
                self.found.missed(lookup, reason)
                if reason is Reason.REFRESH:
                    self.refreshing.add((lookup.key, lookup.variant))
                return self._loading(worker, lookup, seen, fill=fill, refresh=reason is Reason.REFRESH)
            case Bypass(reason):
                self.found.bypassed(lookup, reason)
                return None
            case other:
                assert_never(other)

    def _seen(
        self,
        lookup: Lookup,
        entry: Entry | None,
        acceptance: Acceptance | None,
        tokens: Mapping[str, int],
        *,
        held: bool,
    ) -> Seen:
        return Seen(
            entry=entry.meta if entry else None,
            tokens=tokens,
            predicted=() if self.at_its_word else lookup.tags,
            needs_acceptance=lookup.needs_acceptance,
            acceptance=acceptance,
            variant=entry.meta.variant if entry and self.at_its_word else lookup.variant,
            held=held,
        )

    def _from_memory(self, worker: Worker, lookup: Lookup) -> bool:
        """Whether the worker's own copy answers, as far as it has heard; if not, the shared store is asked."""
        copy = worker.copies.get(lookup.key)
        if copy is None or not self.fleet.alive(copy.sent, lookup.at):
            return False
        acceptance, sent = worker.acceptances.get(
            (lookup.request.credential, lookup.accepted_as), (None, copy.sent)
        )
        if lookup.needs_acceptance and not self.fleet.alive(sent, lookup.at):
            return False
        tokens = self.fleet.heard(worker, self.tokens, min(copy.sent, sent), lookup.at)
        held = _held(worker, lookup, copy.entry)
        seen = self._seen(lookup, copy.entry, acceptance, tokens, held=held)
        decision = decide(lookup.target.policy, seen, lookup.at / _SECOND, self.settings.dice)
        if not isinstance(decision, Serve) or decision.refresh:
            return False
        self._served(lookup, copy.entry, remote=False)
        return True

    def _copied(
        self, worker: Worker, lookup: Lookup, entry: Entry, sent: int, acceptance: Acceptance | None
    ) -> None:
        """The worker keeps what it was given, with tokens that were asked for at `sent`."""
        if not self.fleet.memory or not in_memory(lookup):
            return
        worker.copies[lookup.key] = Copy(entry, sent)
        if acceptance is not None:
            worker.acceptances[lookup.request.credential, lookup.accepted_as] = (acceptance, sent)

    def _served(self, lookup: Lookup, entry: Entry, *, remote: bool) -> None:
        self.found.hit(lookup, remote=remote)
        match self.judge.verdict(entry.filled_by, lookup):
            case Verdict.RIGHT:
                pass
            case Verdict.UNDECIDED:
                self.found.undecided(lookup)
            case WrongAnswer() as answer:
                self.found.wrong(lookup, answer)
            case other:
                assert_never(other)

    def _loading(self, worker: Worker, lookup: Lookup, seen: Seen, *, fill: bool, refresh: bool) -> _Loading:
        acceptance = None if seen.held else seen.acceptance
        return _Loading(
            lookup,
            worker,
            tokens={tag: self.tokens[tag] for tag in lookup.all_tags},
            touches={
                tag: self.touches[tag] + worker.touches[tag]
                for tag in (*lookup.all_tags, *lookup.target.learning.guards)
            },
            known=_tags_known(lookup, seen),
            accepted=acceptance is not None and current(acceptance.tokens, self.tokens),
            fill=fill,
            refresh=refresh,
        )

    def _fill(self, loading: _Loading, at: int) -> None:
        lookup = loading.lookup
        if loading.refresh:
            self.refreshing.discard((lookup.key, lookup.variant))
        if loading.accepted and lookup.facts.status in (401, 403):
            self._change(lookup.own_tags, at, loading.worker)
        reasons = self.barred.get(lookup.request.id, ())
        if self.at_its_word:
            reasons = tuple(reason for reason in reasons if reason not in GUARDS)
        if not reasons and loading.fill:
            reasons = self._overtaken(loading, at)
        if reasons:
            self.found.refused(lookup, reasons)
        elif loading.fill:
            self._keep(loading)

    def _overtaken(self, loading: _Loading, at: int) -> tuple[Reason, ...]:
        """What happened meanwhile to a load that could be kept as far as it alone is concerned."""
        lookup, touches, worker = loading.lookup, loading.touches, loading.worker
        if self.fleet.outages and self.fleet.down(at):
            return (Reason.NO_STORE,)
        if worker.held and any(worker.held[tag] > 0 for tag in lookup.all_tags):
            return (Reason.HELD,)
        guards = lookup.target.learning.guards
        certain = not guards or loading.known.issuperset(set(lookup.learned) - {*guards})
        decisive = lookup.all_tags if certain else (*lookup.all_tags, *guards)
        changed = any(self.touches[tag] + worker.touches[tag] > touches[tag] for tag in decisive)
        return (Reason.CHANGED,) if changed else ()

    def _keep(self, loading: _Loading) -> None:
        """Store the entry, and that the credential was accepted; both live from when the load began."""
        lookup, policy, worker = loading.lookup, loading.lookup.target.policy, loading.worker
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
        entry = Entry(EntryMeta(began, expires, tokens, lookup.variant, took, idle_limit(policy)), lookup)
        alone = self.fleet.memory and only_in_memory(lookup)
        (worker.own if alone else self.store).put(lookup.key, entry)
        self.found.filled(lookup, remote=not alone)
        accepted = None
        if lookup.needs_acceptance and (lookup.ground is None or lookup.facts.status not in NOTHING_HERE):
            until = began + acceptance_lifetime(policy, lookup.credential_seconds)
            grounds = {tag: loading.tokens[tag] for tag in lookup.accepted_tags}
            accepted = Acceptance(began, until, grounds)
            self.acceptances[lookup.request.credential, lookup.accepted_as] = accepted
        self._copied(worker, lookup, entry, lookup.at, accepted)


def _held(worker: Worker, lookup: Lookup, entry: Entry | None) -> bool:
    """Whether the worker is writing to what was predicted, or to what the entry depends on."""
    held = worker.held
    if not held:
        return False
    own = () if entry is None else entry.meta.tokens
    return any(held[tag] > 0 for tag in (*lookup.tags, *own))


def _tags_known(lookup: Lookup, seen: Seen) -> frozenset[str]:
    """The tags of an entry that a lookup asks for the tokens of: it might be served, if they stood."""
    entry = seen.entry
    if entry is None or entry.expired(lookup.at / _SECOND) or entry.variant != seen.variant:
        return frozenset()
    return frozenset(entry.tokens) if all(tag in entry.tokens for tag in seen.predicted) else frozenset()
