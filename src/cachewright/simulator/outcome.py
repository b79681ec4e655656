"""What a replay found, as values, and the figures of it under their public names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["stale", "foreign"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Durations of one route's requests, in milliseconds; None where there were none."""

    mean: float | None
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class LastWrite:
    """The last committed write, before a wrong answer, to a table that the answer was made from."""

    transaction: int
    request: int | None
    tables: tuple[str, ...]
    milliseconds_before: float


@dataclass(frozen=True, slots=True)
class WrongAnswer:
    """A hit whose entry differs from what the application really answered; the smallest way to show it.

    `filled_by` and `answered_to` are numbers of requests in the trace, credentials are the trace's hashes.
    """

    kind: Kind
    route: str
    filled_by: int
    answered_to: int
    filled_by_credential: str | None
    answered_to_credential: str | None
    age_ms: float
    last_write: LastWrite | None


@dataclass(frozen=True, slots=True)
class RouteOutcome:
    """One route. `hit_rate` is hits / lookups, None without lookups; `low` and `high` bracket it.

    `margin` is twice its standard error over keys: what another recording of as many keys may differ by.

    `misses` and `refused` count by reason why a lookup was not a hit and why a load was not filled, and
    `bypassed` why a request of a target made no lookup. `bytes` are those of answers that were `served` from the
    cache and `stored` in it, and that the shared store sent and took, where it was told apart from memory;
    `from_memory` are the hits that did not ask it. `foreign_answers` are the wrong ones that are somebody else's;
    `wrong_share` is that of all wrong ones among the hits, `wrong_share_high` what it may be in other recordings.
    """

    route: str
    cached: bool
    requests: int
    lookups: int
    hits: int
    hit_rate: float | None
    low: float | None
    high: float | None
    misses: Mapping[str, int]
    refused: Mapping[str, int]
    bypassed: Mapping[str, int]
    before: Latency
    after: Latency
    queries_before: int
    queries_after: int
    time_before_ms: float
    time_after_ms: float
    wrong_answers: int
    undecided: int
    margin: float | None = None
    foreign_answers: int = 0
    wrong_share: float | None = None
    wrong_share_high: float | None = None
    bytes: Mapping[str, int | None] = field(default_factory=dict)
    from_memory: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The route's figures by their public names; milliseconds are rounded to the microsecond."""
        return {
            "route": self.route,
            "cached": self.cached,
            "requests": self.requests,
            "lookups": self.lookups,
            "hits": self.hits,
            "hit_rate_predicted": _rounded(self.hit_rate, 4),
            "hit_rate_low": _rounded(self.low, 4),
            "hit_rate_high": _rounded(self.high, 4),
            "hit_rate_margin": _rounded(self.margin, 4),
            "hit_rate_measured": None,
            "misses": dict(self.misses),
            "refused": dict(self.refused),
            "bypassed": dict(self.bypassed),
            "mean_before_ms": _rounded(self.before.mean),
            "mean_after_ms": _rounded(self.after.mean),
            "p50_before_ms": _rounded(self.before.p50),
            "p50_after_ms": _rounded(self.after.p50),
            "p95_before_ms": _rounded(self.before.p95),
            "p95_after_ms": _rounded(self.after.p95),
            "queries_before": self.queries_before,
            "queries_after": self.queries_after,
            "time_before_ms": _rounded(self.time_before_ms),
            "time_after_ms": _rounded(self.time_after_ms),
            "wrong_answers": self.wrong_answers,
            "undecided": self.undecided,
            "foreign_answers": self.foreign_answers,
            "wrong_share": _rounded(self.wrong_share, 6),
            "bytes": dict(self.bytes),
            "hits_from_memory": self.from_memory,
        }


@dataclass(frozen=True, slots=True)
class DatabaseOutcome:
    """Statements of all requests of the trace, and the time they took, without and with the cache."""

    queries_before: int
    queries_after: int
    time_before_ms: float
    time_after_ms: float

    def to_json(self) -> dict[str, Any]:
        """The database's figures by their public names."""
        return {
            "queries_before": self.queries_before,
            "queries_after": self.queries_after,
            "time_before_ms": _rounded(self.time_before_ms),
            "time_after_ms": _rounded(self.time_after_ms),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a plan would have done to a recording.

    `wrong_answers` counts hits that would have differed from what the application answered, `undecided` those
    of which nobody can tell because a write was in flight; `details` shows the first wrong ones.
    """

    routes: tuple[RouteOutcome, ...]
    database: DatabaseOutcome
    lookups: int
    hits: int
    hit_rate: float | None
    low: float | None
    high: float | None
    peak_entries: int
    peak_bytes: int
    wrong_answers: int
    undecided: int
    details: tuple[WrongAnswer, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """All figures by their public names."""
        return {
            "routes": [route.to_json() for route in self.routes],
            "database": self.database.to_json(),
            "lookups": self.lookups,
            "hits": self.hits,
            "hit_rate": _rounded(self.hit_rate, 4),
            "hit_rate_low": _rounded(self.low, 4),
            "hit_rate_high": _rounded(self.high, 4),
            "peak_entries": self.peak_entries,
            "peak_bytes": self.peak_bytes,
            "bytes": self._bytes(),
            "wrong_answers": self.wrong_answers,
            "undecided": self.undecided,
            "details": [_detail(answer) for answer in self.details],
        }

    def _bytes(self) -> dict[str, int | None]:
        """The bytes that moved for all routes; null where one of them does not tell."""
        names = ("served", "stored", "from_shared", "to_shared")
        found = {name: [route.bytes[name] for route in self.routes if name in route.bytes] for name in names}
        return {
            name: None if None in moved else sum(each for each in moved if each is not None)
            for name, moved in found.items()
        }


def latency_of(durations_ms: Collection[float]) -> Latency:
    """Mean and nearest-rank percentiles of these durations (ms)."""
    if not durations_ms:
        return Latency(None, None, None)
    ordered = sorted(durations_ms)
    return Latency(sum(ordered) / len(ordered), percentile(ordered, 0.5), percentile(ordered, 0.95))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of these ascending values that at least `share` of them do not exceed (nearest rank)."""
    rank = -int(-share * len(ordered) // 1)
    return ordered[max(0, min(len(ordered), rank) - 1)]


def rate(hits: float, lookups: float) -> float | None:
    """Hits per lookup, None without lookups: an unknown is no zero."""
    return hits / lookups if lookups else None


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def _detail(answer: WrongAnswer) -> dict[str, Any]:
    last = answer.last_write
    return {
        "kind": answer.kind,
        "route": answer.route,
        "filled_by": answer.filled_by,
        "answered_to": answer.answered_to,
        "filled_by_credential": answer.filled_by_credential,
        "answered_to_credential": answer.answered_to_credential,
        "age_ms": _rounded(answer.age_ms),
        "last_write": None
        if last is None
        else {
            "transaction": last.transaction,
            "request": last.request,
            "tables": list(last.tables),
            "milliseconds_before": _rounded(last.milliseconds_before),
        },
    }
