"""Curves and fast replays against stores of dictionaries that do one thing after the other."""

from itertools import accumulate
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachewright.simulator.curves import room_of_all, size_curve, thinned, ttl_curve
from cachewright.simulator.eviction import best_possible, estimate, hits, rate
from cachewright.simulator.shapes import ENTRY_OVERHEAD, shape_of
from cachewright.simulator.stream import NEVER, stream

SECOND = 1_000_000_000
POLICIES = ("lru", "lfu", "fifo", "ttl")


@st.composite
def streams(draw):
    """Reads of a few keys, some of which change, some of which are not kept, with sizes by key."""
    number = draw(st.integers(1, 60))
    times = list(accumulate(draw(st.lists(st.integers(1, 5), min_size=number, max_size=number))))
    keys = draw(st.lists(st.integers(0, 6), min_size=number, max_size=number))
    changes = [
        (draw(st.integers(0, times[-1])), draw(st.integers(0, 6))) for _ in range(draw(st.integers(0, 12)))
    ]
    changed = [
        max((at * SECOND for at, what in changes if what == key and at <= now), default=NEVER)
        for now, key in zip(times, keys, strict=True)
    ]
    keeps = draw(st.lists(st.sampled_from([True, True, True, False]), min_size=number, max_size=number))
    return stream(
        [at * SECOND for at in times], keys, changed=changed, keeps=keeps, sizes=[key + 1 for key in keys]
    )


def brute_force(reads, policy, room, life):
    """The numbers of the reads that hit; every choice is made by looking at all entries."""
    entries, found, clock = {}, [], 0
    for number in range(len(reads)):
        clock += 1
        at, key, size = int(reads.times[number]), int(reads.keys[number]), int(reads.sizes[number])
        entry = entries.get(key)
        if entry and entry["filled"] > reads.changed[number] and at - entry["filled"] < life:
            found.append(number)
            entry["read"], entry["often"] = clock, entry["often"] + 1
            continue
        if not reads.keeps[number]:
            continue
        often = entry["often"] + 1 if entry else 1
        entries[key] = {"filled": at, "loaded": clock, "read": clock, "often": often, "size": size}
        order = {
            "lru": lambda key: entries[key]["read"],
            "lfu": lambda key: (entries[key]["often"], entries[key]["read"]),
            "fifo": lambda key: entries[key]["loaded"],
            "ttl": lambda key: (entries[key]["filled"] + life, entries[key]["loaded"]),
        }[policy]
        while sum(entry["size"] for entry in entries.values()) > room:
            del entries[min(entries, key=order)]
    return found


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine it is the machine
@given(streams(), st.integers(1, 40))
def test_the_curve_over_lives_is_exact_to_the_last_read(reads, life):
    curve = ttl_curve(reads, (life, 10_000))
    for share, lasting in zip(curve.hits, (life, 10_000), strict=True):
        assert share * len(reads) == pytest.approx(len(brute_force(reads, "lru", 10**9, lasting * SECOND)))


@pytest.mark.parametrize("policy", POLICIES)
@given(reads=streams(), room=st.integers(1, 20), life=st.integers(1, 60))
def test_fast_replays_hit_what_a_plain_store_hits(policy, reads, room, life):
    assert np.flatnonzero(hits(reads, policy, room, life)).tolist() == brute_force(
        reads, policy, room, life * SECOND
    )


@pytest.mark.parametrize("policy", POLICIES)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=80), st.integers(1, 9))
def test_where_nothing_ends_the_shorter_way_is_the_same(policy, keys, entries):
    reads = stream([number * SECOND for number in range(len(keys))], keys)
    found = np.flatnonzero(hits(reads, policy, entries)).tolist()
    assert found == brute_force(reads, policy, entries, 10**6 * SECOND)


def test_a_sample_is_told_alike_with_and_without_the_shorter_way():
    keys = Random(5).choices(
        range(4_000), cum_weights=list(accumulate(1 / (n + 1) for n in range(4_000))), k=30_000
    )
    reads = stream([number * SECOND for number in range(len(keys))], keys)
    assert estimate(reads, "lru", 900) == estimate(reads, "lru", 900, life=29_999.5)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80), st.integers(1, 9))
def test_nothing_beats_knowing_the_future(keys, entries):
    reads = stream([number * SECOND for number in range(len(keys))], keys)
    bound = best_possible(reads, entries)
    assert all(rate(reads, policy, entries) <= bound + 1e-12 for policy in POLICIES)
    assert best_possible(reads, 10) == pytest.approx(1 - len(set(keys)) / len(keys))


def _popular(number=20_000, keys=3_000, seed=3):
    dice = Random(seed)
    weights = list(accumulate(1 / (rank + 1) for rank in range(keys)))
    drawn = dice.choices(range(keys), cum_weights=weights, k=number)
    times = list(accumulate(int(dice.expovariate(20) * SECOND) for _ in range(number)))
    changed, last = [], {}
    for at, key in zip(times, drawn, strict=True):
        if dice.random() < 0.02:
            last[key] = at - 1
        changed.append(last.get(key, NEVER))
    return stream(times, drawn, changed=changed, sizes=[100 + key % 900 for key in drawn])


@pytest.mark.parametrize("life", [30, None])
def test_the_curve_over_sizes_comes_near_a_real_store(life):
    reads = _popular()
    sizes = [20_000, 100_000, 400_000, 10**9]
    curve = size_curve(reads, sizes, life)
    for size, share in zip(sizes, curve.hits, strict=True):
        assert share == pytest.approx(rate(reads, "lru", size, life), abs=0.02)


def test_samples_with_exact_hot_keys_come_near_the_whole():
    reads = _popular()
    whole = ttl_curve(reads, (10, 60, 600)).hits
    for seed in range(3):
        part = thinned(reads, 0.1, exact=100, seed=seed)
        assert len(part) < len(reads) * 0.7
        assert part.reads == pytest.approx(reads.reads, rel=0.15)
        assert ttl_curve(part, (10, 60, 600)).hits == pytest.approx(whole, abs=0.03)


def test_miniature_stores_bracket_the_real_one():
    reads = _popular()
    found = estimate(reads, "lru", 600_000, 60)
    assert found.low <= found.middle <= found.high
    assert found.middle == pytest.approx(rate(reads, "lru", 600_000, 60), abs=0.02)


def test_a_second_half_unlike_the_first_shows_in_what_was_held_out():
    steady = stream([number * SECOND for number in range(400)], [number % 5 for number in range(400)])
    broken = stream(
        [number * SECOND for number in range(400)],
        [number % 5 for number in range(200)] + list(range(1000, 1200)),
    )
    assert ttl_curve(steady, (100,)).held_out == pytest.approx((0,), abs=0.01)
    assert ttl_curve(broken, (100,)).error_at(100) > 0.9


def test_nothing_was_read():
    assert ttl_curve(stream([], []), (10,)).hits == (0.0,)
    assert size_curve(stream([], []), (10,)).hits == (0.0,)


def test_room_for_everything_hits_as_if_there_were_no_bound():
    reads = _popular(4_000, 300)
    whole = float(reads.sizes[np.unique(reads.keys, return_index=True)[1]].sum())
    assert size_curve(reads, (whole,), 30).hits == pytest.approx(ttl_curve(reads, (30,)).hits)
    assert size_curve(reads, (whole,)).error_at(whole) < 0.1


def test_the_room_of_all_entries_hits_what_unlimited_room_hits_though_answers_shrink():
    sizes = [700, 690, 680, 670, 640, 650, 620, 600]
    reads = stream([at * SECOND for at in range(8)], [0] * 8, sizes=sizes)

    shape = shape_of(reads, None)

    assert room_of_all(reads) == 700
    assert shape.whole == 700 + ENTRY_OVERHEAD
    assert shape.over_room.at(shape.whole) == 7 / 8


def test_the_room_of_keys_that_stand_for_others_is_theirs_too():
    reads = stream([0, 1, 2], [0, 1, 1], sizes=[10, 20, 30], weights=[4.0, 1.0, 1.0])

    assert room_of_all(reads) == 4 * 10 + 30
