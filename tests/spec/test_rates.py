"""Frequencies, intervals, cron expressions and windows."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from cachewright.spec.rates import (
    Interval,
    parse_cron,
    parse_frequency,
    parse_interval,
    parse_schedule,
    parse_update_frequency,
    parse_window,
)


@pytest.mark.parametrize(
    ("text", "per_second"),
    [
        ("100 req/min", 100 / 60),
        ("5/s", 5.0),
        ("2 qps", 2.0),
        ("1.5k/min", 25.0),
        ("3600 requests per hour", 1.0),
        ("86400 queries/day", 1.0),
        ("60 rpm", 1.0),
        ("  10 REQ / MINUTE ", 10 / 60),
        ("0/s", 0.0),
    ],
)
def test_frequencies_become_events_per_second(text, per_second):
    assert parse_frequency(text) == pytest.approx(per_second)


@pytest.mark.parametrize(
    "text", ["often", "", "100", "req/min", "-5/s", "5/fortnight", "1,000/min", "5 apples/s", "nan/s"]
)
def test_what_is_no_frequency_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="100 req/min"):
        parse_frequency(text)


@pytest.mark.parametrize(
    ("text", "per_second"),
    [
        ("hourly", 1 / 3600),
        ("Daily", 1 / 86400),
        ("every 10 minutes", 1 / 600),
        ("on write", None),
        ("6/min", 0.1),
    ],
)
def test_update_frequencies_know_words(text, per_second):
    assert parse_update_frequency(text) == (None if per_second is None else pytest.approx(per_second))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5m", 300),
        ("PT5M", 300),
        ("pt1h30m", 5400),
        ("P1DT1S", 86401),
        ("1h30m", 5400),
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
        ("every 2 hours", 7200),
        ("500 ms", 0.5),
        ("hourly", 3600),
    ],
)
def test_intervals_become_seconds(value, seconds):
    assert parse_interval(value) == seconds


@pytest.mark.parametrize(
    "value", ["", "soon", "0", 0, -5, "5 parsecs", "P", "PT", "5m rest", float("inf"), float("nan")]
)
def test_what_is_no_interval_is_refused_with_an_example(value):
    with pytest.raises(ValueError, match="PT5M"):
        parse_interval(value)


@pytest.mark.parametrize(
    ("expression", "moment", "fires"),
    [
        ("0 3 * * *", datetime(2026, 1, 5, 3, 0, tzinfo=UTC), True),
        ("0 3 * * *", datetime(2026, 1, 5, 3, 1, tzinfo=UTC), False),
        ("*/15 8-18 * * mon-fri", datetime(2026, 1, 5, 8, 45, tzinfo=UTC), True),
        ("*/15 8-18 * * mon-fri", datetime(2026, 1, 4, 8, 45, tzinfo=UTC), False),
        ("0 0 * jan,jul sun", datetime(2026, 1, 4, 0, 0, tzinfo=UTC), True),
        ("0 0 * * 7", datetime(2026, 1, 4, 0, 0, tzinfo=UTC), True),
        ("5/20 * * * *", datetime(2026, 1, 4, 0, 45, tzinfo=UTC), True),
        # both day fields restricted: either may match
        ("0 0 13 * fri", datetime(2026, 1, 13, 0, 0, tzinfo=UTC), True),
        ("0 0 13 * fri", datetime(2026, 1, 9, 0, 0, tzinfo=UTC), True),
        ("0 0 13 * fri", datetime(2026, 1, 10, 0, 0, tzinfo=UTC), False),
    ],
)
def test_cron_expressions_fire_in_their_minutes(expression, moment, fires):
    assert parse_cron(expression).matches(moment) is fires


@pytest.mark.parametrize(
    "expression",
    [
        "60 * * * *",
        "* * * *",
        "* * * * * *",
        "x * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "1- * * * *",
        "0 0 31 2 *",
        "0 0 0 * *",
        "² * * * *",
    ],
)
def test_what_is_no_cron_expression_is_refused(expression):
    with pytest.raises(ValueError, match=r"cron|never fires"):
        parse_cron(expression)


def test_a_schedule_is_a_cron_expression_or_an_interval():
    assert parse_schedule("PT5M") == Interval(300)
    assert parse_schedule("0 3 * * *") == parse_cron("0 3 * * *")
    with pytest.raises(ValueError, match=r"neither .* nor"):
        parse_schedule("sometimes")


@pytest.mark.parametrize(
    ("window", "moment", "inside"),
    [
        ("02:00-04:00 UTC", datetime(2026, 1, 5, 2, 0, tzinfo=UTC), True),
        ("02:00-04:00", datetime(2026, 1, 5, 4, 0, tzinfo=UTC), False),
        ("23:30-01:00", datetime(2026, 1, 5, 0, 59, tzinfo=UTC), True),
        ("23:30-01:00", datetime(2026, 1, 5, 23, 29, tzinfo=UTC), False),
        ("22:00-24:00", datetime(2026, 1, 5, 23, 59, tzinfo=UTC), True),
        ("02:00-04:00 Europe/Berlin", datetime(2026, 1, 5, 1, 30, tzinfo=UTC), True),
        ("02:00-04:00 Europe/Berlin", datetime(2026, 7, 5, 0, 30, tzinfo=UTC), True),
        ("02:00-04:00 UTC", datetime(2026, 7, 5, 4, 30, tzinfo=ZoneInfo("Europe/Berlin")), True),
    ],
)
def test_windows_contain_their_time_of_day(window, moment, inside):
    assert parse_window(window).contains(moment) is inside


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2-4",
        "25:00-26:00",
        "02:60-03:00",
        "02:00-02:00",
        "24:00-01:00",
        "02:00-04:00 Mars/Base",
        "02:00-04:00 ../x",
    ],
)
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValueError, match=r"window|time of day|time zone"):
        parse_window(text)
