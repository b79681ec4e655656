"""The one place where this application reads the clock."""

from datetime import UTC, date, datetime


def utc_now() -> datetime:
    """Return the present moment, timezone-aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  an application has to read the clock somewhere: here


def db_now() -> datetime:
    """Return the present moment as columns hold it: UTC without a zone."""
    return utc_now().replace(tzinfo=None)


def today() -> date:
    """Return the present day in UTC (a dependency of the routes that compare with it)."""
    return utc_now().date()
