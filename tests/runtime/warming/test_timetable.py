"""When warming is due: clock changes, midnights and zones, on times of the test's own."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from cachewright.runtime.warming.timetable import due_after, is_open
from cachewright.spec.rates import parse_window

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone=UTC) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("0 3 * * *", "2026-01-01T02:59", "2026-01-01T03:00"),
        ("0 3 * * *", "2026-01-01T03:00", "2026-01-02T03:00"),
        ("*/15 8-18 * * mon-fri", "2026-01-02T18:46", "2026-01-05T08:00"),
        ("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00"),
        ("5m", "2026-01-01T00:00", "2026-01-01T00:05"),
        ("PT1H", "2026-01-01T00:30", "2026-01-01T01:30"),
    ],
)
def test_the_next_time(schedule, after, due):
    assert due_after(schedule, None, at(after)) == at(due)


@pytest.mark.requirement("#121", "#249")
def test_a_time_of_day_is_one_of_the_windows_zone():
    window = parse_window("02:00-05:00 Europe/Berlin")
    assert due_after("0 3 * * *", window, at("2026-01-01T00:00")) == at("2026-01-01T02:00")
    assert due_after("0 3 * * *", window, at("2026-07-01T00:00")) == at("2026-07-01T01:00")


@pytest.mark.requirement("#121")
def test_an_hour_that_is_missing_fires_after_it_and_one_that_comes_twice_fires_once():
    window = parse_window("01:00-05:00 Europe/Berlin")
    spring = due_after("30 2 * * *", window, at("2026-03-28T12:00"))  # 02:30 does not exist on the 29th
    assert spring == at("2026-03-29T01:00")
    autumn, found = at("2026-10-24T12:00"), []
    for _ in range(2):
        autumn = due_after("30 2 * * *", window, autumn)
        found.append(autumn.astimezone(BERLIN).strftime("%d %H:%M"))
    assert found == ["25 02:30", "26 02:30"]


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        ("02:00-04:00 UTC", "01:59", False),
        ("02:00-04:00 UTC", "02:00", True),
        ("02:00-04:00 UTC", "03:59", True),
        ("02:00-04:00 UTC", "04:00", False),
        ("23:30-01:00", "23:30", True),
        ("23:30-01:00", "00:59", True),
        ("23:30-01:00", "01:00", False),
        ("23:30-01:00", "12:00", False),
        ("22:00-24:00", "23:59", True),
        ("22:00-24:00", "00:00", False),
    ],
)
def test_a_window_has_its_start_and_not_its_end(window, now, expected):
    assert is_open(parse_window(window), at(f"2026-01-01T{now}")) is expected


def test_without_a_window_it_is_always_time():
    assert is_open(None, at("2026-01-01T12:00"))
