"""When warming is due: cron expressions and intervals, time zones and windows; without a clock of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cachewright.errors import SurroundingsError
from cachewright.spec.rates import Cron, ExecutionWindow, parse_schedule

_DAY_MINUTES = 24 * 60


def zone_of(window: ExecutionWindow | None) -> ZoneInfo:
    """The time zone in which a schedule with this window is read; UTC without one."""
    return ZoneInfo("UTC") if window is None or window.zone.upper() == "Z" else ZoneInfo(window.zone)


def due_after(schedule: str, window: ExecutionWindow | None, after: datetime) -> datetime:
    """The first time after `after` (aware) at which `schedule` fires, in the zone of its window.

    Where clocks go forward, what would fire in the hour that is missing fires right after it; where they go back, a
    time of day that comes twice fires once (as Debian's cron does). Intervals count from `after`. Raises
    `SurroundingsError` where a cron expression is given and cronsim is not installed.
    """
    parsed = parse_schedule(schedule)
    if not isinstance(parsed, Cron):
        return after + timedelta(seconds=parsed.seconds)
    try:
        from cronsim import CronSim
    except ModuleNotFoundError:
        raise SurroundingsError(
            "cron expressions need cronsim, which is not installed", hint="pip install 'cachewright[warming]'"
        ) from None
    found: datetime = next(CronSim(schedule, after.astimezone(zone_of(window))))
    return found.astimezone(UTC)


def is_open(window: ExecutionWindow | None, now: datetime) -> bool:
    """Whether `now` (aware) lies in the window; it may go over midnight."""
    if window is None:
        return True
    local = now.astimezone(zone_of(window))
    minute = local.hour * 60 + local.minute
    if window.start < window.end:
        return window.start <= minute < window.end
    return minute >= window.start or minute < window.end % _DAY_MINUTES
