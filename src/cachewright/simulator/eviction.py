"""Fast replays of one bounded store: which reads hit under a policy of eviction, with lives, changes and sizes.

Plain loops over plain columns, each policy its own. An entry that expired or whose data changed keeps its place
until it is loaded anew or evicted, as it does in a store that looks at entries only when they are asked for.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cachewright.simulator.curves import shuffled, ttl_curve
from cachewright.simulator.stream import NEVER, Flags, Stream, Whole
from cachewright.spec.strategy import EvictionType

_SECOND = 1_000_000_000
_FOREVER = 2**62
_SEEDS = 5
_EXACT = 100
#: With so few keys in a sample the result is chance; all reads are replayed instead.
_LEAST_KEYS = 200


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """What the loops need of each read: its key, and the first read whose load it could still be given.

    `since` is None where that is any of them: nothing expires, changes or is dropped. `sizes` is None where all are
    equal; `room` is then in entries.
    """

    keys: list[int]
    since: list[int] | None
    sizes: list[int] | None
    room: int
    dropped: frozenset[int]

    @property
    def bounds(self) -> list[int]:
        """`since` for every read."""
        return [0] * len(self.keys) if self.since is None else self.since

    @classmethod
    def of(cls, reads: Stream, room: int, life: int) -> _Columns:
        lasting = _lasts(reads, life)
        one = len(reads) > 0 and int(reads.sizes.min()) == int(reads.sizes.max()) > 0
        return cls(
            reads.keys.tolist(),
            None if lasting else _since(reads, life),
            None if one else reads.sizes.tolist(),
            room // int(reads.sizes[0]) if one else room,
            frozenset(np.flatnonzero(~reads.keeps).tolist()),
        )


def _lasts(reads: Stream, life: int) -> bool:
    """Whether what was loaded once answers all reads of its key, as long as there is room."""
    return bool(life > reads.span and reads.keeps.all() and reads.changed.max(initial=NEVER) == NEVER)


def _since(reads: Stream, life: int) -> list[int]:
    floor = np.maximum(reads.changed, reads.times - life)
    found: list[int] = np.searchsorted(reads.times, floor, side="right").tolist()
    return found


@dataclass(frozen=True, slots=True)
class Range:
    """A share of reads that hit (0 to 1), with the lowest and the highest among several samples."""

    middle: float
    low: float
    high: float


def hits(reads: Stream, policy: EvictionType, room: float, life: float | None = None) -> Flags:
    """Which reads hit a store of `room` bytes whose entries live `life` seconds: exact."""
    found = np.ones(len(reads), dtype=bool)
    found[_POLICIES[policy](_Columns.of(reads, int(min(room, _FOREVER)), _nanoseconds(life)))] = False
    return found


def rate(reads: Stream, policy: EvictionType, room: float, life: float | None = None) -> float:
    """The weighted share of reads that hit; see `hits`."""
    return float(reads.weights[hits(reads, policy, room, life)].sum()) / (reads.reads or 1.0)


def estimate(
    reads: Stream,
    policy: EvictionType,
    room: float,
    life: float | None = None,
    *,
    share: float = 0.1,
    seeds: int = _SEEDS,
) -> Range:
    """The share of hits from miniature stores: a share of the keys in a share of the room, for several samples.

    The hottest keys are always resident; their hits are counted exactly, and their room is set aside. Where
    little else is left of the room, or of the keys, everything is replayed and the range is one point.
    """
    counts = np.bincount(reads.keys)
    lasting = _nanoseconds(life)
    hottest = np.zeros(len(counts), dtype=bool)
    hottest[np.argpartition(counts, -_EXACT)[-_EXACT:] if len(counts) > _EXACT else slice(None)] = True
    resident = np.flatnonzero(hottest[reads.keys])
    left = room - _room_of(reads, resident, len(counts))
    if left < room / 2 or share * np.count_nonzero(counts) < _LEAST_KEYS or share >= 1:
        exact = rate(reads, policy, room, life)
        return Range(exact, exact, exact)
    weight = float(reads.weights[resident].sum())
    sure = weight * _resident_rate(reads, resident, len(counts), lasting)
    found = []
    for seed in range(seeds):
        chosen = (shuffled(np.arange(len(counts)), seed) < np.uint64(share * 2**64)) & ~hottest
        part = reads.part(np.flatnonzero(chosen[reads.keys]))
        tail = rate(part, policy, left * share, life) if len(part) else 0.0
        found.append((sure + tail * (reads.reads - weight)) / (reads.reads or 1.0))
    return Range(float(np.median(found)), min(found), max(found))


def _room_of(reads: Stream, chosen: Whole, keys: int) -> float:
    """The bytes that the keys of the `chosen` reads take."""
    sizes = np.zeros(keys, dtype=np.int64)
    sizes[reads.keys[chosen]] = reads.sizes[chosen]
    return float(sizes.sum())


def _resident_rate(reads: Stream, chosen: Whole, keys: int, life: int) -> float:
    """The share of the `chosen` reads that hit where their keys are never evicted."""
    if not _lasts(reads, life):
        return ttl_curve(reads.part(chosen), (life / _SECOND,), hold_out=False).hits[0]
    weights, first = reads.weights[chosen], np.zeros(keys)
    first[reads.keys[chosen][::-1]] = weights[::-1]  # the last one to be written is the first that was read
    return 1.0 - float(first.sum()) / (float(weights.sum()) or 1.0)


def _nanoseconds(life: float | None) -> int:
    return _FOREVER if life is None else int(min(life * _SECOND, _FOREVER))


def best_possible(reads: Stream, entries: int) -> float:
    """The share of hits of a store that knows the future (Belady): a bound for all others.

    For entries of one size that neither expire nor change.
    """
    following = np.full(len(reads), _FOREVER)
    last: dict[int, int] = {}
    for place in range(len(reads) - 1, -1, -1):
        key = int(reads.keys[place])
        following[place] = last.get(key, _FOREVER)
        last[key] = place
    held: dict[int, int] = {}
    queue: list[tuple[int, int]] = []
    found = 0
    for key, after in zip(reads.keys.tolist(), following.tolist(), strict=True):
        found += key in held
        held[key] = after
        heapq.heappush(queue, (-after, key))
        while len(held) > entries:
            due, victim = heapq.heappop(queue)
            if held.get(victim) == -due:
                del held[victim]
    return found / len(reads) if len(reads) else 0.0


def _lru(columns: _Columns) -> list[int]:
    if columns.since is None and columns.sizes is None:
        return _plain_lru(columns.keys, columns.room)
    return _queue(columns, renew=True)


def _fifo(columns: _Columns) -> list[int]:
    return _queue(columns, renew=False)


def _plain_lru(keys: list[int], room: int) -> list[int]:
    """The misses where entries of one size last until they are evicted."""
    held: OrderedDict[int, None] = OrderedDict()
    move, leave = held.move_to_end, held.popitem
    missed: list[int] = []
    for place, key in enumerate(keys):
        if key in held:
            move(key)
            continue
        missed.append(place)
        held[key] = None
        if len(held) > room:
            leave(last=False)
    return missed


def _queue(columns: _Columns, *, renew: bool) -> list[int]:
    """The misses of one queue; `renew` puts what is read at its end, where what is loaded stands in any case."""
    filled: OrderedDict[int, int] = OrderedDict()
    held: dict[int, int] = {}
    used = 0
    missed: list[int] = []
    get, move, miss = filled.get, filled.move_to_end, missed.append
    sizes, room, dropped = columns.sizes, columns.room, columns.dropped
    for place, key, since in zip(range(len(columns.keys)), columns.keys, columns.bounds, strict=True):
        if get(key, -1) >= since:
            if renew:
                move(key)
            continue
        miss(place)
        if dropped and place in dropped:
            continue
        if key in filled:
            move(key)
        filled[key] = place
        if sizes is None:
            if len(filled) > room:
                filled.popitem(last=False)
            continue
        used += sizes[place] - held.get(key, 0)
        held[key] = sizes[place]
        while used > room:
            used -= held.pop(filled.popitem(last=False)[0])
    return missed


def _lfu(columns: _Columns) -> list[int]:
    """The misses where the least often read leaves; among equals the one that was used longest ago."""
    filled: dict[int, int] = {}
    held: dict[int, int] = {}
    rank: dict[int, tuple[int, int]] = {}
    used = 0
    queue: list[tuple[int, int, int]] = []
    missed: list[int] = []
    sizes = columns.sizes
    for place, key, since in zip(range(len(columns.keys)), columns.keys, columns.bounds, strict=True):
        lives = filled.get(key, -1) >= since
        if not lives:
            missed.append(place)
            if place in columns.dropped:
                continue
        often = rank[key][0] + 1 if key in rank else 1
        rank[key] = (often, place)
        heapq.heappush(queue, (often, place, key))
        if lives:
            continue
        size = 1 if sizes is None else sizes[place]
        used += size - held.get(key, 0)
        filled[key], held[key] = place, size
        while used > columns.room:
            often, stamp, victim = heapq.heappop(queue)
            if rank.get(victim) == (often, stamp):
                used -= held.pop(victim)
                del filled[victim], rank[victim]
    return missed


_POLICIES: Mapping[EvictionType, Callable[[_Columns], list[int]]] = {
    "lru": _lru,
    "lfu": _lfu,
    "fifo": _fifo,
    # with one life for all, what expires first is what was loaded first
    "ttl": _fifo,
}
