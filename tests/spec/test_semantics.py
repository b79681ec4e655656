"""What policies mean at their edges; what follows from them over whole recordings is shown elsewhere."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.spec.lifetimes import entry_lifetime, hard_limit, idle_limit
from cachewright.spec.semantics import (
    Acceptance,
    EntryMeta,
    Load,
    Policy,
    Reason,
    Scope,
    Seen,
    Serve,
    decide,
    fallback,
    read,
    retry_wait,
    through,
)

TOKENS = {"ns": 1, "tasks": 1}
ENTRY = EntryMeta(loaded_at=100.0, expires_at=160.0, tokens=TOKENS, load_seconds=2.0)
SEEN = Seen(ENTRY, TOKENS, ("ns", "tasks"))
PLAIN = Policy(ttl=60.0, identity_ttl=30.0)
LENIENT = replace(PLAIN, stale_if_error=600.0)


@given(now=st.floats(0, 300), dice=st.floats(0.0001, 1.0))
def test_who_asks_for_no_refresh_gets_none(now, dice):
    decision = decide(PLAIN, SEEN, now, dice)
    assert not isinstance(decision, Serve) or not decision.refresh
    assert fallback(PLAIN, SEEN, now) is None or now < 160


def test_the_soft_end_asks_for_a_refresh_and_the_hard_one_for_a_load():
    soft = replace(PLAIN, soft_ttl=20.0)
    assert decide(soft, SEEN, 119.9) == Serve(pytest.approx(19.9))
    assert decide(soft, SEEN, 120.0) == Serve(20.0, refresh=True)
    assert decide(soft, SEEN, 160.0) == Load(Reason.EXPIRED)


@pytest.mark.parametrize(("dice", "moment"), [(1.0, 160.0), (0.36788, 154.0), (0.01, 132.4)])
def test_an_early_refresh_comes_the_sooner_the_smaller_the_throw(dice, moment):
    """XFetch: now - delta * beta * ln(throw) >= end, with a delta of 2 s and a beta of 3."""
    early = replace(PLAIN, early=3.0)
    before = decide(early, SEEN, moment - 0.1, dice)
    assert isinstance(before, Serve)
    assert not before.refresh
    after = decide(early, SEEN, moment + 0.1, dice)
    assert after == Load(Reason.EXPIRED) if dice == 1.0 else after.refresh


def test_an_entry_without_an_end_is_refreshed_at_its_soft_end_only():
    endless = replace(SEEN, entry=replace(ENTRY, expires_at=None))
    assert not decide(replace(PLAIN, early=9.0), endless, 1e9, 0.001).refresh
    assert decide(replace(PLAIN, soft_ttl=20.0), endless, 120.0).refresh


def test_one_request_goes_through_in_place_of_a_refresh():
    due = Serve(20.0, refresh=True)
    assert through(due, refreshing=False) == Load(Reason.REFRESH)
    assert through(due, refreshing=True) is due
    assert through(Serve(1.0), refreshing=False) == Serve(1.0)
    assert through(Load(Reason.HELD, fill=False), refreshing=False) == Load(Reason.HELD, fill=False)


DENIED = {
    "nothing there": {"entry": None},
    "held": {"held": True},
    "another variant": {"variant": b"other"},
    "invalidated": {"tokens": {"ns": 1, "tasks": 2}},
    "evicted token": {"tokens": {"ns": 1}},
    "a tag it lacks": {"predicted": ("ns", "tasks", "users")},
    "not accepted": {"needs_acceptance": True},
    "accepted long ago": {"needs_acceptance": True, "acceptance": Acceptance(1.0, 2.0, TOKENS)},
}


@pytest.mark.parametrize("changes", DENIED.values(), ids=DENIED.keys())
def test_what_does_not_stand_in_for_a_failed_load(changes):
    assert fallback(LENIENT, SEEN, 200.0) == Serve(100.0)
    assert fallback(LENIENT, replace(SEEN, **changes), 200.0) is None


@pytest.mark.parametrize(
    "name", ["nothing there", "held", "another variant", "not accepted", "accepted long ago"]
)
def test_stale_after_invalidation_relaxes_freshness_and_nothing_else(name):
    allowing = replace(LENIENT, stale_after_invalidation=True)
    assert fallback(allowing, replace(SEEN, **DENIED["invalidated"]), 200.0) == Serve(100.0)
    assert fallback(allowing, replace(SEEN, **DENIED[name]), 200.0) is None


def test_nothing_stands_in_past_its_hard_end_or_where_the_target_is_off():
    assert fallback(LENIENT, SEEN, 759.9) is not None
    assert fallback(LENIENT, SEEN, 760.0) is None
    assert fallback(replace(LENIENT, mode="off"), SEEN, 200.0) is None


def test_reads_prolong_a_sliding_entry_up_to_its_longest_life():
    sliding = replace(PLAIN, ttl=16.0, longest=60.0)
    assert (idle_limit(sliding), hard_limit(sliding)) == (16.0, 60.0)
    entry = EntryMeta(100.0, 160.0, TOKENS, idle=16.0)
    assert decide(sliding, replace(SEEN, entry=entry), 116.0) == Load(Reason.EXPIRED)
    once = read(entry, 115.0)
    assert isinstance(decide(sliding, replace(SEEN, entry=once), 130.9), Serve)
    assert decide(sliding, replace(SEEN, entry=once), 131.0) == Load(Reason.EXPIRED)
    assert decide(sliding, replace(SEEN, entry=read(once, 159.0)), 160.0) == Load(Reason.EXPIRED)


def test_a_read_that_hardly_prolongs_anything_changes_nothing():
    entry = EntryMeta(100.0, 160.0, TOKENS, idle=16.0)
    assert read(entry, 100.9) is entry
    assert read(entry, 101.0).read_at == 101.0
    assert read(ENTRY, 150.0) is ENTRY


@given(jitter=st.floats(-1, 1))
def test_a_lifetime_never_exceeds_the_cap_of_sliding(jitter):
    lifetime = entry_lifetime(replace(PLAIN, ttl=16.0, longest=60.0), Scope.PUBLIC, jitter, None)
    assert 54.0 <= lifetime <= 60.0


def test_what_was_not_found_lives_no_longer_than_anything_else():
    short, long = replace(PLAIN, negative_ttl=5.0), replace(PLAIN, negative_ttl=500.0)
    assert entry_lifetime(short, Scope.PUBLIC, 0.0, None, negative=True) == 5.0
    assert entry_lifetime(short, Scope.PUBLIC, 0.0, None) == 60.0
    assert entry_lifetime(long, Scope.PUBLIC, 0.0, None, negative=True) == 60.0
    assert entry_lifetime(PLAIN, Scope.PUBLIC, 0.0, None, negative=True) == 60.0


def test_loads_are_repeated_as_often_as_declared_and_ever_more_slowly():
    assert retry_wait(PLAIN, 1, 0.5) is None
    twice = replace(PLAIN, retries=8)
    waits = [retry_wait(twice, failures, 1.0) for failures in range(1, 10)]
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, None]
    assert retry_wait(twice, 3, 0.0) == 0.0
