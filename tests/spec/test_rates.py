"""Frequencies, intervals, cron expressions and windows."""

import pytest

from cachewright.spec.rates import (
    ExecutionWindow,
    Interval,
    parse_cron,
    parse_frequency,
    parse_interval,
    parse_schedule,
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
@pytest.mark.requirement("#25", "#189", "C44")
def test_frequencies_become_events_per_second(text, per_second):
    assert parse_frequency(text) == pytest.approx(per_second)


@pytest.mark.parametrize(
    "text", ["often", "", "100", "req/min", "-5/s", "5/fortnight", "1,000/min", "5 apples/s", "nan/s"]
)
@pytest.mark.requirement("#25")
def test_what_is_no_frequency_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="100 req/min"):
        parse_frequency(text)


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
    ("expression", "field", "expected"),
    [
        ("0 3 * * *", "minutes", {0}),
        ("0 3 * * *", "hours", {3}),
        ("0 3 * * *", "weekdays", set(range(7))),
        ("*/15 8-18 * * mon-fri", "minutes", {0, 15, 30, 45}),
        ("*/15 8-18 * * mon-fri", "hours", set(range(8, 19))),
        ("*/15 8-18 * * mon-fri", "weekdays", {1, 2, 3, 4, 5}),
        ("0 0 * jan,jul sun", "months", {1, 7}),
        ("0 0 * * 7", "weekdays", {0}),
        ("5/20 * * * *", "minutes", {5, 25, 45}),
        ("0 0 13 * fri", "days", {13}),
    ],
)
@pytest.mark.requirement("#117", "#247", "C52")
def test_fields_of_cron_expressions_are_expanded(expression, field, expected):
    assert getattr(parse_cron(expression), field) == expected


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


@pytest.mark.requirement("#224", "#234", "#322", "C52")
def test_a_schedule_is_a_cron_expression_or_an_interval():
    assert parse_schedule("PT5M") == Interval(300)
    assert parse_schedule("0 3 * * *") == parse_cron("0 3 * * *")
    with pytest.raises(ValueError, match=r"neither .* nor"):
        parse_schedule("sometimes")


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("02:00-04:00 UTC", ExecutionWindow(120, 240, "UTC")),
        ("2:00 - 04:00", ExecutionWindow(120, 240, "UTC")),
        ("23:30-01:00", ExecutionWindow(1410, 60, "UTC")),
        ("22:00-24:00", ExecutionWindow(1320, 1440, "UTC")),
        ("02:00-04:00 Europe/Berlin", ExecutionWindow(120, 240, "Europe/Berlin")),
    ],
)
@pytest.mark.requirement("#249", "C52")
def test_windows_are_minutes_of_a_day_in_a_zone(window, expected):
    assert parse_window(window) == expected


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
