"""From the counts of three replays to the figures of an outcome."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cachewright.evidence.trace import RequestSeen, StatementSeen, Trace
from cachewright.simulator.lookups import Lookup, Prepared
from cachewright.simulator.outcome import (
    DatabaseOutcome,
    Outcome,
    RouteOutcome,
    WrongAnswer,
    latency_of,
    rate,
)
from cachewright.spec.semantics import Reason

_MILLISECOND = 1_000_000
_LEAST_KEYS = 10
#: With nothing wrong among n hits fewer than 3/n are, in 95 of 100 recordings (the rule of three).
_NONE_AMONG = 3.0


def _counts() -> dict[str, float]:
    return defaultdict(float)


@dataclass(slots=True)
class Run:
    """What one pass counted by route; `hits` has the moment of the lookup (ns) by number of request.

    `remote` are the hits that the shared store answered, where it is told apart from memory. `moved` are bytes:
    `served` from the cache, `stored` in it, `from_shared` and `to_shared` over the network where that is known.
    Counts are of the whole recording: a lookup that stands for several counts as so many.
    """

    hits: dict[int, int] = field(default_factory=dict)
    remote: set[int] = field(default_factory=set)
    moved: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    hits_of: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    lookups_of: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    keys_of: dict[int, dict[tuple[str, ...], list[float]]] = field(default_factory=lambda: defaultdict(dict))
    misses_of: dict[int, dict[str, float]] = field(default_factory=lambda: defaultdict(_counts))
    refused_of: dict[int, dict[str, float]] = field(default_factory=lambda: defaultdict(_counts))
    bypassed_of: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    seen_of: Counter[int] = field(default_factory=Counter)
    wrong_of: Counter[int] = field(default_factory=Counter)
    wrong_weight_of: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    foreign_of: Counter[int] = field(default_factory=Counter)
    undecided_of: Counter[int] = field(default_factory=Counter)
    answers: list[WrongAnswer] = field(default_factory=list)
    peak_entries: int = 0
    peak_bytes: int = 0

    def hit(self, lookup: Lookup, *, remote: bool = False) -> None:
        """The entry was served, by the shared store if it is `remote`."""
        self.hits[lookup.request.id] = lookup.at
        self.seen_of[lookup.route.id] += 1
        size = round(lookup.request.size * lookup.weight)
        self.moved[lookup.route.id]["served"] += size
        if remote:
            self.remote.add(lookup.request.id)
            self.moved[lookup.route.id]["from_shared"] += size
        self.hits_of[lookup.route.id] += lookup.weight
        self._looked_up(lookup, hit=True)

    def filled(self, lookup: Lookup, *, remote: bool) -> None:
        """A load was kept, in the shared store if it is `remote`."""
        size = round(lookup.request.size * lookup.weight)
        self.moved[lookup.route.id]["stored"] += size
        if remote:
            self.moved[lookup.route.id]["to_shared"] += size

    def missed(self, lookup: Lookup, reason: Reason) -> None:
        """The application was asked."""
        self.misses_of[lookup.route.id][reason.value] += lookup.weight
        self._looked_up(lookup, hit=False)

    def _looked_up(self, lookup: Lookup, *, hit: bool) -> None:
        self.lookups_of[lookup.route.id] += lookup.weight
        counts = self.keys_of[lookup.route.id].setdefault(lookup.key, [0.0, 0.0])
        counts[0] += lookup.weight * hit
        counts[1] += lookup.weight

    def refused(self, lookup: Lookup, reasons: Iterable[Reason]) -> None:
        """A load was not kept."""
        refused = self.refused_of[lookup.route.id]
        for reason in reasons:
            refused[reason.value] += lookup.weight

    def bypassed(self, lookup: Lookup, reason: Reason) -> None:
        """There was no lookup."""
        self.bypassed_of[lookup.route.id][reason.value] += 1

    def wrong(self, lookup: Lookup, answer: WrongAnswer) -> None:
        """The entry that was served was not what the application answered."""
        self.wrong_of[lookup.route.id] += 1
        self.wrong_weight_of[lookup.route.id] += lookup.weight
        self.foreign_of[lookup.route.id] += answer.kind == "foreign"
        self.answers.append(answer)

    def undecided(self, lookup: Lookup) -> None:
        """It differed, but a write was in flight."""
        self.undecided_of[lookup.route.id] += 1

    def rate_of(self, route: int) -> float | None:
        """Hits per lookup of one route."""
        return rate(self.hits_of[route], self.lookups_of[route])

    def margin_of(self, route: int) -> float | None:
        """Twice the standard error of the rate of one route, each key counting as one observation."""
        keys, found = self.keys_of[route].values(), self.rate_of(route)
        if found is None or len(keys) < _LEAST_KEYS:
            return None
        spread = sum((hits - found * lookups) ** 2 for hits, lookups in keys)
        return 2 * math.sqrt(spread * len(keys) / (len(keys) - 1)) / self.lookups_of[route]

    def wrong_share_of(self, route: int) -> tuple[float, float] | None:
        """The share of the hits of one route that were wrong, and what it may be in other such recordings."""
        hits, wrong = self.hits_of[route], self.wrong_of[route]
        if not hits:
            return None
        share = self.wrong_weight_of[route] / hits
        return share, share * (1 + 2 / math.sqrt(wrong)) if wrong else _NONE_AMONG / self.seen_of[route]

    @property
    def rate(self) -> float | None:
        """Hits per lookup of all routes."""
        return rate(sum(self.hits_of.values()), sum(self.lookups_of.values()))


def figures(
    trace: Trace,
    prepared: Prepared,
    runs: Sequence[Run],
    word: Run,
    *,
    hit_ms: float,
    network_ms: float = 0.0,
    tiers: bool = False,
    details: int,
) -> Outcome:
    """The outcome of `runs`: the last one is told, the others bracket it.

    Wrong answers are those of the run that has most of them: no way to fill may be worse than what is said.
    `word` is the run that takes the specification at its word, without the guards that keep a runtime from
    filling what an incomplete one does not cover; nothing else is told of it. With `tiers`, hits in memory are told
    from those of the shared store, which alone take `network_ms` more.
    """
    served = runs[-1]
    worst = max((*runs, word), key=lambda run: run.wrong_of.total())
    requests: dict[int, list[RequestSeen]] = defaultdict(list)
    for request in trace.requests:
        if request.route is not None:
            requests[request.route].append(request)
    told = _Teller(trace, prepared, runs, served, worst, hit_ms, network_ms, tiers)
    rates = [run.rate for run in runs if run.rate is not None]
    return Outcome(
        routes=tuple(
            told.route(route.id, f"{route.method} {route.template}", requests[route.id])
            for route in sorted(trace.routes, key=lambda route: (route.template, route.method))
            if route.id in requests
        ),
        database=_database(trace.statements, served.hits, trace),
        lookups=round(sum(served.lookups_of.values())),
        hits=round(sum(served.hits_of.values())),
        hit_rate=served.rate,
        low=min(rates, default=None),
        high=max(rates, default=None),
        peak_entries=served.peak_entries,
        peak_bytes=served.peak_bytes,
        wrong_answers=worst.wrong_of.total(),
        undecided=worst.undecided_of.total(),
        details=tuple(worst.answers[:details]),
    )


@dataclass(frozen=True, slots=True)
class _Teller:
    trace: Trace
    prepared: Prepared
    runs: Sequence[Run]
    served: Run
    worst: Run
    hit_ms: float
    network_ms: float
    tiers: bool

    def route(self, route: int, name: str, requests: Collection[RequestSeen]) -> RouteOutcome:
        served = self.served
        rates = [found for run in self.runs if (found := run.rate_of(route)) is not None]
        statements = [s for request in requests for s in self.prepared.statements.get(request.id, ())]
        database = _database(statements, served.hits, self.trace)
        shares = [both for run in self.runs if (both := run.wrong_share_of(route)) is not None]
        bypassed = Counter(served.bypassed_of[route])
        bypassed.update(
            self.prepared.bypassed[r.id].value for r in requests if r.id in self.prepared.bypassed
        )
        return RouteOutcome(
            route=name,
            cached=bool(served.lookups_of[route] or bypassed),
            requests=round(sum(self.trace.weight(request.id) for request in requests)),
            lookups=round(served.lookups_of[route]),
            hits=round(served.hits_of[route]),
            hit_rate=served.rate_of(route),
            low=min(rates, default=None),
            high=max(rates, default=None),
            misses=_most_first(served.misses_of[route]),
            refused=_most_first(served.refused_of[route]),
            bypassed=dict(bypassed.most_common()),
            before=latency_of([_duration(request) for request in requests]),
            after=latency_of([self._after(request) for request in requests]),
            queries_before=database.queries_before,
            queries_after=database.queries_after,
            time_before_ms=database.time_before_ms,
            time_after_ms=database.time_after_ms,
            wrong_answers=self.worst.wrong_of[route],
            undecided=self.worst.undecided_of[route],
            margin=served.margin_of(route),
            foreign_answers=self.worst.foreign_of[route],
            wrong_share=max((share for share, _ in shares), default=None),
            wrong_share_high=max((high for _, high in shares), default=None),
            bytes=self._bytes(route),
            from_memory=self._from_memory(requests),
        )

    def _bytes(self, route: int) -> Mapping[str, int | None]:
        moved = self.served.moved[route]
        network = {name: moved[name] if self.tiers else None for name in ("from_shared", "to_shared")}
        return {"served": moved["served"], "stored": moved["stored"], **network}

    def _from_memory(self, requests: Iterable[RequestSeen]) -> int | None:
        """Hits that no other process was asked for."""
        if not self.tiers:
            return None
        served = self.served
        return round(
            sum(
                self.trace.weight(r.id) for r in requests if r.id in served.hits and r.id not in served.remote
            )
        )

    def _after(self, request: RequestSeen) -> float:
        """A hit takes what came before the lookup, and the hit itself."""
        at = self.served.hits.get(request.id)
        if at is None:
            return _duration(request)
        near = self.tiers and request.id not in self.served.remote
        return (at - request.started) / _MILLISECOND + self.hit_ms + (0.0 if near else self.network_ms)


def _most_first(counts: Mapping[str, float]) -> dict[str, int]:
    return {name: round(counts[name]) for name in sorted(counts, key=lambda name: -counts[name])}


def _duration(request: RequestSeen) -> float:
    return max(0, request.answered - request.started) / _MILLISECOND


def _database(statements: Iterable[StatementSeen], hits: Mapping[int, int], trace: Trace) -> DatabaseOutcome:
    """A hit spares the statements that its request ran after the lookup."""
    queries_before = queries_after = time_before = time_after = 0.0
    for statement in statements:
        weight = 1.0 if statement.request is None else trace.weight(statement.request)
        took = (statement.ended - statement.started) * weight
        queries_before += weight
        time_before += took
        at = None if statement.request is None else hits.get(statement.request)
        if at is None or statement.started < at:
            queries_after += weight
            time_after += took
    return DatabaseOutcome(
        round(queries_before), round(queries_after), time_before / _MILLISECOND, time_after / _MILLISECOND
    )
