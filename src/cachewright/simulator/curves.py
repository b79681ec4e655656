"""Hit rates as curves: over the life of an entry, and over the room there is.

An entry of unlimited room lives from its fill for the life T, or until what it depends on changes. For one T that
makes each read either a hit or the start of a jump: to the first read of the key that comes T later, or after a
change. Following the jumps counts the misses exactly, and costs two array operations and one step a miss.

Room is treated as a second clock: a cache that evicts what was least recently used and holds S bytes behaves
like one that drops what was not read for τ, with τ such that it holds S on average. So all sizes come from a
grid of τ × T, read off in windows of time, since an average over all hides the peaks. (Fagin 1977; Che 2002.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cachewright.simulator.stream import Flags, Real, Stream, Whole

_SECOND = 1_000_000_000
_LARGEST = 2**61
_HASHES = 2**64
#: Numbers below this are sorted by their digits, which is many times faster.
_SMALL = 2**16
_WINDOWS = 8
_IDLE_STEPS = 28
#: Fewer reads than this say nothing about the next ones.
_LEAST_HELD_OUT = 50


@dataclass(frozen=True, slots=True)
class Curve:
    """Shares of reads that hit (0 to 1) at each of `points`, and the share of their cost that is spared.

    `points` are seconds of life, or bytes of room. `held_out` is how far what the second half of the trace kept
    is from what the first half promised, for each point; None where there is too little to say.
    """

    points: tuple[float, ...]
    hits: tuple[float, ...]
    spared: tuple[float, ...]
    held_out: tuple[float, ...] | None = None

    def at(self, point: float) -> float:
        """The share of hits at a point between, or beyond, those that were computed."""
        return float(np.interp(point, self.points, self.hits))

    def error_at(self, point: float) -> float | None:
        """How far the two halves of the trace are apart there."""
        return None if self.held_out is None else float(np.interp(point, self.points, self.held_out))

    def enough(self, loss: float) -> float:
        """The first point from which on all others gain less than `loss` in hits."""
        best = max(self.hits, default=0.0)
        return next(
            (point for point, share in zip(self.points, self.hits, strict=True) if share >= best - loss), 0.0
        )


def ttl_curve(reads: Stream, seconds: Sequence[float], *, hold_out: bool = True) -> Curve:
    """Hits over the life of an entry with unlimited room: exact, to the last read, for each life."""
    lives = [_nanoseconds(life) for life in seconds]
    groups = _Groups.of(reads)
    found = [groups.hits(life) for life in lives]
    share, spared = _shares(groups.reads, found)
    return Curve(
        tuple(map(float, seconds)),
        share,
        spared,
        _held_out(reads, lambda part: ttl_curve(part, seconds, hold_out=False)) if hold_out else None,
    )


def size_curve(
    reads: Stream, sizes: Sequence[float], life: float | None = None, *, hold_out: bool = True
) -> Curve:
    """Hits over the bytes there is room for, the least recently used leaving first, with entries that live `life`."""
    groups = _Groups.of(reads)
    lasting = _nanoseconds(life) if life is not None else groups.forever
    rows = [groups.resident(idle, lasting) for idle in _idle_times(reads)]
    window = _windows(groups.reads)
    worth = groups.reads.weights * groups.reads.costs
    seconds = max(1, reads.span) / _WINDOWS
    whole_room = room_of_all(reads)
    hits, spared = np.zeros(len(sizes)), np.zeros(len(sizes))
    for number in range(_WINDOWS):
        here = window == number
        held = [min(float(room[here].sum()) / seconds, whole_room) for _, room in rows]
        hits += np.interp(sizes, held, [float(groups.reads.weights[here & hit].sum()) for hit, _ in rows])
        spared += np.interp(sizes, held, [float(worth[here & hit].sum()) for hit, _ in rows])
    whole = groups.reads.reads or 1.0
    cost = float(worth.sum()) or 1.0
    return Curve(
        tuple(map(float, sizes)),
        tuple((hits / whole).tolist()),
        tuple((spared / cost).tolist()),
        _held_out(reads, lambda part: size_curve(part, sizes, life, hold_out=False)) if hold_out else None,
    )


def room_of_all(reads: Stream) -> float:
    """The bytes of all entries at once, each at its largest: more room than this changes nothing."""
    _, place = np.unique(reads.keys, return_inverse=True)
    largest = np.zeros(place.max(initial=-1) + 1)
    np.maximum.at(largest, place, reads.sizes)
    return float((largest * keys_stood_for(reads)).sum())


def keys_stood_for(reads: Stream) -> Real:
    """For how many keys each one stands, in the order of the keys."""
    numbers, place = np.unique(reads.keys, return_inverse=True)
    least = np.full(len(numbers), np.inf)
    np.minimum.at(least, place, reads.weights)
    return least


def thinned(reads: Stream, share: float, *, exact: int = 200, seed: int = 0) -> Stream:
    """Fewer reads that stand for all: the `exact` hottest keys whole, and a share of the reads of the others.

    A key's chance grows with how often it is read, and its reads get the weight that goes with it; keys are
    drawn at equal steps along all of them in the order of their counts. Legal for curves, whose keys do not
    know of each other. Plain sampling errs by 0.27 where one key has a third of the reads.
    """
    counts = np.bincount(reads.keys)
    if share >= 1 or np.count_nonzero(counts) <= exact:
        return reads
    order = np.lexsort((shuffled(np.arange(len(counts)), seed), counts))
    tail = order[:-exact]
    chance = np.ones(len(counts))
    chance[tail] = _chances(counts[tail], share)
    steps = np.cumsum(chance[order]) + float(shuffled(np.arange(1), seed)[0]) / _HASHES
    kept = np.zeros(len(counts), dtype=bool)
    kept[order] = np.floor(steps) > np.floor(np.concatenate(([steps[0] - chance[order[0]]], steps[:-1])))
    kept[order[-exact:]] = True
    part = reads.part(kept[reads.keys])
    return replace(part, weights=part.weights / chance[part.keys])


def _chances(counts: Whole, share: float) -> Real:
    """Chances in proportion to `counts`, so that this share of all reads is expected."""
    wanted = share * float(counts.sum())
    low, high = 0.0, 1.0
    for _ in range(60):
        slope = (low + high) / 2
        if float((counts * np.minimum(1.0, slope * counts)).sum()) > wanted:
            high = slope
        else:
            low = slope
    chances: Real = np.maximum(np.minimum(1.0, high * counts), np.finfo(np.float64).tiny)
    return chances


def shuffled(keys: Whole, seed: int) -> npt.NDArray[np.uint64]:
    """A number for each key that looks random, always the same one for one seed (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = keys.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % _HASHES)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Reads sorted by key and time. `breaks` marks the first read of a key and the first after a change."""

    reads: Stream
    first: Flags
    breaks: Flags

    @classmethod
    def of(cls, reads: Stream) -> _Groups:
        keys = reads.keys.astype(np.uint16) if reads.keys.max(initial=0) < _SMALL else reads.keys
        ordered = reads.part(np.argsort(keys, kind="stable"))
        first = np.ones(len(ordered), dtype=bool)
        first[1:] = ordered.keys[1:] != ordered.keys[:-1]
        breaks = first.copy()
        breaks[1:] |= ordered.changed[1:] >= ordered.times[:-1]
        return cls(ordered, first, breaks)

    @property
    def forever(self) -> int:
        """A life that outlasts the trace (ns)."""
        return int(self.reads.times.max() - self.reads.times.min()) + 1 if len(self.reads) else 1

    def hits(self, life: int, breaks: Flags | None = None) -> Flags:
        """Which reads hit where entries live `life` (ns) and end at `breaks`."""
        number = len(self.reads)
        if not number:
            return np.zeros(0, dtype=bool)
        starts = np.flatnonzero(self.breaks if breaks is None else breaks)
        lengths = np.diff(np.append(starts, number))
        jump = np.repeat(starts + lengths, lengths)
        if life < self.forever:
            jump = np.minimum(jump, self._expired(starts, lengths, life))
        elif self.reads.keeps.all():
            return ~(self.breaks if breaks is None else breaks)
        nothing = ~self.reads.keeps
        jump[nothing] = np.flatnonzero(nothing) + 1
        jump = np.maximum(jump, np.arange(1, number + 1))
        hit = np.ones(number, dtype=bool)
        hit[_followed(jump)] = False
        return hit

    def resident(self, idle: int, life: int) -> tuple[Flags, Real]:
        """Which reads hit where entries end after `idle` without a read or `life`, and the bytes × ns each holds.

        What expired keeps its room until it is loaded anew or pushed out.
        """
        reads = self.reads
        waited = np.zeros(len(reads), dtype=np.int64)
        waited[1:] = reads.times[1:] - reads.times[:-1]
        hit = self.hits(life, self.breaks | (waited >= idle))
        until = np.full(len(reads), reads.times.max(initial=0), dtype=np.int64)
        until[:-1] = np.where(self.first[1:], until[:-1], reads.times[1:])
        until = np.minimum(until, reads.times + min(idle, _LARGEST - int(reads.times.max(initial=0))))
        held = hit | reads.keeps
        return hit, np.where(held, until - reads.times, 0) * reads.sizes * reads.weights

    def _expired(self, starts: Whole, lengths: Whole, life: int) -> Whole:
        """For each read the first one, here or further on, that comes `life` or more after it.

        All groups stand on one line, so far apart that no life reaches from one into the next; in
        microseconds where nanoseconds would not fit.
        """
        times = self.reads.times
        spans = times[starts + lengths - 1] - times[starts]
        scale = 1 if float(spans.sum()) + float(life + 2) * len(starts) < _LARGEST else 1000
        life //= scale
        begin = np.concatenate(([0], np.cumsum(spans // scale + life + 2)[:-1]))
        line = np.repeat(begin, lengths) + (times - np.repeat(times[starts], lengths)) // scale
        return np.searchsorted(line, line + max(1, life), side="left")


def _followed(jump: Whole) -> list[int]:
    """The positions that jumping reaches, from the first one on."""
    steps, place, visited = jump.tolist(), 0, []
    end = len(steps)
    while place < end:
        visited.append(place)
        place = steps[place]
    return visited


def _nanoseconds(seconds: float) -> int:
    return int(min(seconds * _SECOND, _LARGEST / 4))


def _idle_times(reads: Stream) -> list[int]:
    """Times without a read to try, from next to nothing to the whole trace."""
    steps = np.geomspace(max(1.0, reads.span * 1e-6), reads.span + 1.0, _IDLE_STEPS)
    return sorted({int(step) for step in steps} | {0, reads.span + 1})


def _windows(reads: Stream) -> Whole:
    """Which window of time each read falls into."""
    begin = int(reads.times.min(initial=0)) if len(reads) else 0
    return np.minimum((reads.times - begin) / max(1, reads.span) * _WINDOWS, _WINDOWS - 1).astype(np.int64)


def _shares(reads: Stream, found: Sequence[Flags]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The weighted share of reads that hit, and of their costs."""
    worth = reads.weights * reads.costs
    whole, cost = float(reads.weights.sum()) or 1.0, float(worth.sum()) or 1.0
    return (
        tuple(float(reads.weights[hit].sum()) / whole for hit in found),
        tuple(float(worth[hit].sum()) / cost for hit in found),
    )


def _held_out(reads: Stream, curve: Callable[[Stream], Curve]) -> tuple[float, ...] | None:
    half = len(reads) // 2
    if half < _LEAST_HELD_OUT:
        return None
    promised, kept = curve(reads.part(slice(half))), curve(reads.part(slice(half, None)))
    return tuple(abs(one - other) for one, other in zip(promised.hits, kept.hits, strict=True))
