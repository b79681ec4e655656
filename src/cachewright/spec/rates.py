"""Frequencies, intervals, cron expressions and time windows, as people write them (#25, C44, C46, C52).

Every parser raises `ValueError` with an example of what it accepts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

_SECONDS: Mapping[str, float] = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604_800.0),
}
_WORDS: Mapping[str, float] = {
    "secondly": 1.0,
    "minutely": 60.0,
    "hourly": 3600.0,
    "daily": 86_400.0,
    "weekly": 604_800.0,
    "monthly": 30 * 86_400.0,
    "yearly": 365 * 86_400.0,
}
_NOUN = r"(?:req|reqs|requests?|r|quer(?:y|ies)|q|calls?|hits?|reads?|ops?|operations?|executions?|times)"
_RATE = re.compile(
    rf"(?P<number>\d+(?:\.\d+)?)\s*(?P<scale>k|million)?\s*{_NOUN}?\s*(?:/|per|an?\b)\s*(?P<unit>[a-z]+)"
)
_SHORT_RATE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<scale>k)?\s*(?:q|r|t|req)p(?P<unit>[smhd])")
_SCALE: Mapping[str | None, float] = {None: 1.0, "k": 1e3, "million": 1e6}

_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_PIECES = re.compile(r"(?:\d+(?:\.\d+)?\s*[a-z]+\s*)+")
_ISO = re.compile(
    r"P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)
_WINDOW = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})(?:\s+(\S+))?")
_DAY_MINUTES = 24 * 60


def parse_frequency(text: str) -> float:
    """Events per second of a frequency such as `100 req/min`, `5/s`, `2 qps` or `1.5k/min`."""
    wanted = text.strip().lower()
    found = _RATE.fullmatch(wanted) or _SHORT_RATE.fullmatch(wanted)
    seconds = _SECONDS.get(found["unit"]) if found else None
    if found is None or seconds is None:
        raise ValueError(
            f"{text!r} is not a frequency; write for example '100 req/min', '5/s', '2 qps' or '1.5k/min'"
        )
    return float(found["number"]) * _SCALE[found["scale"]] / seconds


def parse_interval(value: str | float) -> float:
    """Seconds of an interval: `5m`, `1h30m`, `every 10 minutes`, `hourly`, ISO 8601 `PT5M`, or seconds."""
    problem = f"{value!r} is not an interval; write for example '5m', '1h30m', 'PT5M' or a number of seconds"
    seconds = _interval(value.strip()) if isinstance(value, str) else float(value)
    if seconds is None or not 0 < seconds < float("inf"):
        raise ValueError(problem)
    return seconds


def _interval(text: str) -> float | None:
    wanted = text.lower().removeprefix("every ").strip()
    if wanted in _WORDS:
        return _WORDS[wanted]
    if re.fullmatch(r"\d+(?:\.\d+)?", wanted):
        return float(wanted)
    if (iso := _ISO.fullmatch(wanted)) is not None:
        return sum(float(iso[unit] or 0) * _SECONDS[unit] for unit in "wdhms")
    if _PIECES.fullmatch(wanted) is None:
        return None
    pieces = [(float(number), _SECONDS.get(unit)) for number, unit in _PIECE.findall(wanted)]
    if any(unit is None for _, unit in pieces):
        return None
    return sum(number * unit for number, unit in pieces if unit is not None)


@dataclass(frozen=True, slots=True)
class Interval:
    """A schedule that fires every so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five fields, expanded (crontab(5)). `weekdays` count from Sunday = 0."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]


Schedule = Cron | Interval

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTH_NAMES = {name: number for number, name in enumerate(_MONTHS, start=1)}
_WEEKDAY_NAMES = {name: number for number, name in enumerate(_WEEKDAYS)}
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse_cron(text: str) -> Cron:
    """A five-field cron expression (minute hour day month weekday), with names, lists, ranges and steps."""
    fields = text.lower().split()
    if len(fields) != 5:
        raise ValueError(
            f"{text!r} is not a cron expression of five fields (minute hour day month weekday); "
            "write for example '0 3 * * *' or '*/15 8-18 * * mon-fri'"
        )
    minute, hour, day, month, weekday = fields
    cron = Cron(
        minutes=_cron_field(minute, "minute", 0, 59),
        hours=_cron_field(hour, "hour", 0, 23),
        days=_cron_field(day, "day", 1, 31),
        months=_cron_field(month, "month", 1, 12, _MONTH_NAMES),
        weekdays=frozenset(n % 7 for n in _cron_field(weekday, "weekday", 0, 7, _WEEKDAY_NAMES)),
    )
    if weekday.startswith("*") and min(cron.days) > max(_LONGEST[month - 1] for month in cron.months):
        raise ValueError(f"{text!r} never fires: no such day in these months")
    return cron


def _cron_field(
    text: str, name: str, low: int, high: int, names: Mapping[str, int] | None = None
) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            step = int(step_text) if slash else 1
            start, end = (
                (low, high) if span == "*" else (_cron_value(first, names), _cron_value(last or first, names))
            )
        except ValueError:
            raise ValueError(
                f"{part!r} is not a {name} of a cron expression ({low}-{high}, '*', '*/5')"
            ) from None
        if slash and span != "*" and not dash:
            end = high
        if not low <= start <= end <= high or step < 1 or (dash and not last):
            raise ValueError(f"{part!r} is outside a cron expression's {name} field ({low}-{high})")
        found.update(range(start, end + 1, step))
    return frozenset(found)


def _cron_value(text: str, names: Mapping[str, int] | None) -> int:
    if names is not None and text in names:
        return names[text]
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def parse_schedule(text: str) -> Schedule:
    """A cron expression or an interval (C52)."""
    fields = text.split()
    if len(fields) == 5 and re.fullmatch(r"[\d*][\d*,/\-]*", fields[0]):
        return parse_cron(text)
    try:
        return Interval(parse_interval(text))
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a cron expression of five fields nor an interval; "
            "write for example '0 3 * * *', '5m' or 'PT5M'"
        ) from None


@dataclass(frozen=True, slots=True)
class ExecutionWindow:
    """A time of day from `start` up to but without `end`, in minutes; over midnight where end < start."""

    start: int
    end: int
    zone: str


def parse_window(text: str) -> ExecutionWindow:
    """A window `HH:MM-HH:MM [TZ]`; the zone is an IANA name, UTC where none is given (C52)."""
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text!r} is not a time window; write for example '02:00-04:00 UTC' or '23:30-01:00'"
        )
    start, end = _minute(found[1], found[2], text), _minute(found[3], found[4], text)
    if start in (_DAY_MINUTES, end):
        raise ValueError(f"{text!r} is an empty time window; write for example '02:00-04:00 UTC'")
    zone = found[5] or "UTC"
    _zone(zone)
    return ExecutionWindow(start=start, end=end, zone=zone)


def _minute(hours: str, minutes: str, text: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > _DAY_MINUTES:
        raise ValueError(f"{hours}:{minutes} in {text!r} is no time of day (00:00 to 24:00)")
    return minute


def _zone(name: str) -> tzinfo:
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is not a known time zone; write for example 'UTC' or 'Europe/Berlin'"
        ) from None
