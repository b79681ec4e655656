"""When alarms are raised and when they end: the boundaries, to the second, on a clock of the test's own."""

from dataclasses import replace

import pytest

from cachewright.runtime.alarms.named import AWAY_SECONDS, GRACE_SECONDS, rules_of
from cachewright.runtime.alarms.rules import CALM, Reading, Rule, step
from cachewright.runtime.alarms.window import Window
from cachewright.runtime.stats import Stats
from cachewright.spec.observing import Alerts
from cachewright.spec.semantics import Reason

OLD = 10_000.0


def rule(name: str, **said) -> Rule:
    alerts = Alerts.model_validate({name: {"enabled": True, **said}})
    return next(rule for rule in rules_of(alerts) if rule.name == name)


def changes(rule: Rule, *readings: Reading, age: float = OLD) -> list[tuple[float, bool]]:
    """When `rule` was raised (True) and ended (False)."""
    state, found = CALM, []
    for reading in readings:
        state, change = step(rule, state, reading, age=age)
        if change is not None:
            found.append((change.at, change.raised))
    return found


def asked(at: float, rate: float | None) -> Reading:
    return Reading(at=at, lookups=int(at * 10), hit_rate=rate)


@pytest.mark.requirement("#136", "#273", "#361", "C16")
def test_five_minutes_under_half_raise_it_and_a_second_less_does_not():
    low = rule("low_hit_rate", threshold=0.5, for_seconds=300, min_requests=100)
    assert changes(low, *(asked(at, 0.4) for at in range(300))) == []
    assert changes(low, *(asked(at, 0.4) for at in range(301))) == [(300, True)]


def test_one_good_moment_starts_the_five_minutes_anew():
    low = rule("low_hit_rate", threshold=0.5, for_seconds=300)
    rates = {200: 0.5}
    assert changes(low, *(asked(at, rates.get(at, 0.4)) for at in range(501))) == []
    assert changes(low, *(asked(at, rates.get(at, 0.4)) for at in range(502))) == [(501, True)]


@pytest.mark.parametrize(("rate", "raised"), [(0.5, False), (0.499, True)])
@pytest.mark.requirement("#136")
def test_at_its_threshold_a_hit_rate_is_good_enough(rate, raised):
    low = rule("low_hit_rate", threshold=0.5, for_seconds=0, min_requests=0)
    assert bool(changes(low, asked(0, rate))) is raised


@pytest.mark.parametrize(("share", "raised"), [(0.8, False), (0.801, True)])
@pytest.mark.requirement("#137", "#276", "C62")
def test_at_its_threshold_memory_is_not_too_full(share, raised):
    high = rule("high_memory_usage", threshold=0.8)
    assert bool(changes(high, Reading(at=0, memory_share=share))) is raised


@pytest.mark.parametrize(("milliseconds", "raised"), [(10.0, False), (10.001, True), (None, False)])
@pytest.mark.requirement("#138", "#279")
def test_operations_are_slow_over_the_threshold_and_never_when_unknown(milliseconds, raised):
    slow = rule("slow_operations", threshold_ms=10.0)
    assert bool(changes(slow, Reading(at=0, operation_ms=milliseconds))) is raised


@pytest.mark.requirement("C65")
def test_a_cold_start_raises_nothing():
    low = rule("low_hit_rate", for_seconds=0, min_requests=0)
    assert changes(low, asked(0, 0.0), age=GRACE_SECONDS - 0.001) == []
    assert changes(low, asked(0, 0.0), age=GRACE_SECONDS) == [(0, True)]


@pytest.mark.requirement("#136", "C65")
def test_few_requests_raise_nothing():
    low = rule("low_hit_rate", for_seconds=300, min_requests=100)
    few = [replace(asked(at, 0.0), lookups=99 if at else 0) for at in range(400)]
    assert changes(low, *few) == []
    assert changes(low, *few, replace(asked(400, 0.0), lookups=100)) == [(400, True)]
    at_once = rule("low_hit_rate", for_seconds=0, min_requests=100)
    assert changes(at_once, replace(asked(0, 0.0), recent=99)) == []
    assert changes(at_once, replace(asked(0, 0.0), recent=100)) == [(0, True)]


def test_a_figure_that_sways_about_its_threshold_raises_one_alarm():
    high = rule("high_memory_usage", threshold=0.8)
    shares = [0.81, 0.795, 0.805, 0.79, 0.81, 0.779, 0.81]
    assert changes(high, *(Reading(at=at, memory_share=share) for at, share in enumerate(shares))) == [
        (0, True),
        (5, False),
        (6, True),
    ]


def test_what_is_unknown_ends_no_alarm():
    low = rule("low_hit_rate", for_seconds=0, min_requests=0)
    assert changes(low, asked(0, 0.1), asked(1, None), asked(2, 0.9)) == [(0, True), (2, False)]


@pytest.mark.requirement("#272", "#275", "#278", "#281")
def test_only_what_is_enabled_is_watched_beside_what_is_about_truth():
    always = {"stale_answers", "isolation_violation", "invalidation_backlog", "forecast_drift"}
    assert {rule.name for rule in rules_of(Alerts())} == always
    named = {name: {"enabled": True} for name in Alerts.model_fields}
    assert {rule.name for rule in rules_of(Alerts.model_validate(named))} == always | set(named)


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("stale_answers", Reading(at=0, wrong=1)),
        ("isolation_violation", Reading(at=0, denied=1)),
    ],
)
def test_one_is_enough_where_truth_is_at_stake(name, reading):
    found = next(rule for rule in rules_of(Alerts()) if rule.name == name)
    assert found.severity == "critical"
    assert changes(found, Reading(at=0)) == []
    assert changes(found, reading, Reading(at=1)) == [(0, True), (1, False)]


def test_a_server_that_refuses_for_want_of_room_is_full_whatever_this_process_holds():
    high, stats, window = rule("high_memory_usage", threshold=0.8), Stats(), Window()
    calm = window.read(stats.snapshot(), Reading(at=0, memory_share=0.1))
    stats.store_refused("OOM")
    full = window.read(stats.snapshot(), Reading(at=1, memory_share=0.1))
    later = window.read(stats.snapshot(), Reading(at=62, memory_share=0.1))
    assert [one.memory_share for one in (calm, full, later)] == [0.1, 1.0, 0.1]
    assert changes(high, calm, full, later) == [(1, True), (62, False)]


def test_a_cache_that_pauses_is_not_away():
    away = rule("cache_unavailable")
    assert away.severity == "critical"
    assert changes(away, Reading(at=0, away=AWAY_SECONDS)) == []
    later = [Reading(at=1, away=AWAY_SECONDS + 0.001), Reading(at=2, away=30.0), Reading(at=3, away=0.0)]
    assert changes(away, *later) == [(1, True), (3, False)]
    patient = rule("cache_unavailable", for_seconds=10)
    assert changes(patient, *(Reading(at=at, away=at) for at in range(17))) == [(16, True)]


def test_a_window_forgets_what_is_older_than_a_minute():
    stats, window = Stats(), Window()
    window.read(stats.snapshot(), Reading(at=0))
    for _ in range(8):
        stats.miss("tasks", Reason.ABSENT)
    stats.denied()
    early = window.read(stats.snapshot(), Reading(at=1))
    assert (early.lookups, early.recent, early.hit_rate, early.denied) == (8, 8, 0.0, 1)
    for second in range(2, 60):
        window.read(stats.snapshot(), Reading(at=second))
    for _ in range(4):
        stats.hit("tasks", "l1", 0.002)
    late = window.read(stats.snapshot(), Reading(at=61))
    assert (late.lookups, late.recent, late.hit_rate, late.denied) == (12, 4, 1.0, 0)
    assert late.operation_ms == pytest.approx(2.0)
    silent = window.read(stats.snapshot(), Reading(at=500))
    assert (silent.recent, silent.hit_rate, silent.operation_ms) == (0, None, None)
