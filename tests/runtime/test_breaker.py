from hypothesis import given
from hypothesis import strategies as st

from cachewright.runtime.breaker import Breaker


def opened(now=0.0):
    breaker = Breaker()
    for _ in range(5):
        assert breaker.enter(now)
        breaker.failed(now)
    assert breaker.is_open
    return breaker


def test_five_failures_in_a_row_open_it_and_a_success_between_starts_anew():
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(0.0)
    breaker.succeeded(0.0)
    for _ in range(4):
        breaker.failed(0.0)
    assert not breaker.is_open
    breaker.failed(0.0)
    assert breaker.is_open


def test_half_of_twenty_within_ten_seconds_open_it():
    breaker = Breaker()
    for number in range(19):
        breaker.succeeded(float(number) / 10) if number % 2 else breaker.failed(float(number) / 10)
    assert not breaker.is_open
    breaker.failed(1.9)
    assert breaker.is_open


def test_what_is_older_than_the_window_does_not_count():
    breaker = Breaker()
    for number in range(40):
        breaker.succeeded(number * 2.0) if number % 2 else breaker.failed(number * 2.0)
    assert not breaker.is_open


def test_after_the_sleep_one_probe_goes_alone_and_closes_it():
    breaker = opened()
    assert not breaker.enter(0.99)
    assert breaker.enter(1.0)
    assert not breaker.enter(1.0)
    breaker.succeeded(1.1)
    assert not breaker.is_open
    assert breaker.enter(1.1)


def test_failed_probes_double_the_sleep_up_to_ten_seconds():
    breaker, now = opened(), 1.0
    slept = []
    for _ in range(6):
        assert breaker.enter(now)
        breaker.failed(now)
        began = now
        while not breaker.admits(now):
            now += 0.5
        slept.append(now - began)
    assert slept == [2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_a_success_starts_with_the_short_sleep_again():
    breaker = opened()
    breaker.enter(1.0)
    breaker.failed(1.0)
    breaker.enter(3.0)
    breaker.succeeded(3.0)
    for _ in range(5):
        breaker.failed(4.0)
    assert not breaker.admits(4.9)
    assert breaker.admits(5.0)


def test_an_abandoned_probe_lets_the_next_one_try():
    breaker = opened()
    assert breaker.enter(1.0)
    breaker.abandoned()
    assert breaker.enter(1.0)


def test_failures_of_calls_that_insisted_do_not_lengthen_the_sleep():
    breaker = opened()
    breaker.failed(0.5)
    assert breaker.admits(1.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=300))
def test_its_count_of_failures_is_always_that_of_its_window(steps):
    breaker, now = Breaker(), 0.0
    for good, passed in steps:
        now += passed
        if breaker.enter(now):
            breaker.succeeded(now) if good else breaker.failed(now)
        assert breaker._bad == sum(bad for _, bad in breaker._outcomes)
        assert breaker.is_open or breaker.admits(now)
