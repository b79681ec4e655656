"""The keys that are asked for most, lately: found in any traffic, in bounded room, and forgotten."""

import random

import pytest

from cachewright.runtime.warming.heat import Heat, Hot, Visit, touched
from cachewright.runtime.warming.warmer import WarmRequest


def visit(key, *tags, again=True):
    return Visit("target", key, tags, WarmRequest(f"/{key}") if again else None)


def keys(found):
    return [hot.visit.key for hot in found]


def test_the_hottest_come_first_with_their_share_of_all_lookups():
    heat = Heat()
    heat.asked(visit("a"), 0.0, 6)
    heat.asked(visit("b"), 0.0, 3)
    heat.asked(visit("c"), 0.0)
    found = heat.hottest(5, 0.0)
    assert [(hot.visit.key, hot.share) for hot in found] == [("a", 0.6), ("b", 0.3)]
    assert keys(heat.hottest(1, 0.0)) == ["a"]


@pytest.mark.requirement("#124")
def test_equally_hot_keys_stand_in_an_order_that_stays():
    heat = Heat()
    for key in ("b", "a", "c"):
        heat.asked(visit(key), 0.0, 2)
    assert keys(heat.hottest(3, 0.0)) == ["a", "b", "c"]


def test_yesterdays_favourite_cools_down():
    heat = Heat()
    heat.asked(visit("old"), 0.0, 100)
    heat.asked(visit("new"), 300.0, 10)
    assert keys(heat.hottest(2, 300.0)) == ["new", "old"]
    assert heat.hottest(2, 2000.0) == []


def test_hot_keys_are_found_among_any_number_of_others_in_bounded_room():
    heat, dice = Heat(), random.Random(7)
    for number in range(50_000):
        hot = dice.random() < 0.1
        heat.asked(visit(f"hot{number % 5}" if hot else f"cold{number}"), 0.0)
    assert sorted(keys(heat.hottest(5, 0.0))) == [f"hot{number}" for number in range(5)]
    assert len(heat._counts) <= 1024
    assert heat._counts.keys() == heat._visits.keys()


def test_keys_of_any_length_are_not_kept():
    heat = Heat()
    heat.asked(visit("k" * 10_000), 0.0, 5)
    assert heat.hottest(1, 0.0) == []


def test_what_was_touched_and_can_be_asked_for_again_is_refilled():
    hot = [
        Hot(visit("a", "tasks", "users"), 0.5),
        Hot(visit("b", "notes"), 0.3),
        Hot(visit("c", "tasks", again=False), 0.2),
    ]
    assert [one.key for one in touched(hot, {"tasks", "other"})] == ["a"]
