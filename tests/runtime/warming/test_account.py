"""Loading ahead has a budget, and rests where nobody asks for what was loaded."""

import pytest

from cachewright.runtime.warming.account import REST_SECONDS, Account, Trial, Uses, tried

KEYS = [f"key{number}" for number in range(1000)]
TRIED = [key for key in KEYS if tried(key)]
ALONE = [key for key in KEYS if not tried(key)]


def test_a_minute_has_so_many_loads_and_no_more():
    account = Account("prediction", Trial(), per_minute=10, least=0.0)
    allowed = 0
    for at in range(120):
        if account.may(at / 2):
            account.loaded(f"key{at}", at / 2)
            allowed += 1
    assert allowed in (19, 20)  # ten at once, and ten more as the minute goes by
    assert account.as_dict(60.0)["refused"] == 120 - allowed


def test_what_was_there_already_costs_nothing():
    account = Account("prediction", Trial(), per_minute=1, least=0.0)
    for _ in range(5):
        assert account.may(0.0)
        account.spared()
    assert account.may(0.0)
    assert not account.may(0.0)


def test_a_fifth_of_the_keys_is_left_alone_everywhere_alike():
    assert len(ALONE) == pytest.approx(200, abs=40)


def refills(used, loads=50):
    account = Account("refilling", Uses(), per_minute=10_000, least=0.5)
    for at in range(loads):
        account.loaded(KEYS[at], at)
        if at < used:
            account.asked(KEYS[at], at + 0.5, lookups=3, hits=3)
    return account


def test_refills_rest_where_too_few_are_asked_for_and_are_tried_again_later():
    account = Account("refilling", Uses(), per_minute=10_000, least=0.5)
    for at in range(50):
        account.loaded("same key", 100.0 * at)  # and nobody ever asks
    end = 100.0 * 49
    assert not account.may(end)
    assert account.as_dict(end)["state"] == "resting"
    assert not account.may(end + REST_SECONDS - 1)
    assert account.may(end + REST_SECONDS)


def test_refills_that_are_asked_for_go_on():
    account = refills(used=25)
    assert account.may(50.0)
    assert account.as_dict(50.0) == {
        "name": "refilling",
        "state": "running",
        "total": 50,
        "refused": 0,
        "loads": 50,
        "gained": 25,
    }


def test_a_refill_counts_once_and_only_when_it_is_a_hit_in_time():
    uses = Uses()
    uses.loaded("a", 0.0)
    uses.asked("a", 1.0, lookups=1, hits=0)
    assert uses.gained(1.0) == 0
    uses.asked("a", 2.0, lookups=1, hits=1)
    uses.asked("a", 3.0, lookups=1, hits=1)
    assert uses.gained(3.0) == 1
    uses.loaded("b", 10.0)
    uses.asked("b", 80.0, lookups=1, hits=1)
    assert uses.gained(80.0) == 1


def test_what_was_loaded_a_moment_ago_may_still_be_asked_for():
    uses = Uses()
    uses.loaded("a", 100.0)
    assert (uses.most_gained(101.0), uses.most_gained(161.0)) == (1, 0)


def traffic(account, *, loaded_hits, alone_hits, rounds=100):
    """Each key is asked for once; so many of ten lookups hit, in each of the two groups."""
    for at in range(rounds):
        key, other = TRIED[at], ALONE[at]
        if not account.may(0.0):
            break
        account.loaded(key, 0.0)
        account.asked(key, 0.0, lookups=1, hits=int(at % 10 < loaded_hits))
        account.asked(other, 0.0, lookups=1, hits=int(at % 10 < alone_hits))
    return account.as_dict(0.0)


def test_predictions_go_on_where_loaded_keys_hit_and_the_others_do_not():
    found = traffic(Account("prediction", Trial(), per_minute=10_000, least=0.3), loaded_hits=9, alone_hits=1)
    assert found["state"] == "running"
    assert found["gained"] == pytest.approx(80)


def test_predictions_rest_where_the_others_hit_as_often():
    """The keys were there anyway: hits alone prove nothing."""
    found = traffic(Account("prediction", Trial(), per_minute=10_000, least=0.3), loaded_hits=9, alone_hits=9)
    assert (found["state"], found["total"] < 100) == ("resting", True)


def test_predictions_rest_where_nobody_asks():
    account = Account("prediction", Trial(), per_minute=10_000, least=0.3)
    for key in TRIED[:50]:
        assert account.may(0.0)
        account.loaded(key, 0.0)
    assert not account.may(0.0)


def test_nothing_is_said_of_what_was_not_measured():
    account = Account("prediction", Trial(), per_minute=10_000, least=0.3)
    account.loaded(TRIED[0], 0.0)
    assert account.as_dict(0.0)["gained"] is None
