"""Documents about what a backend does beside its API: the logic of tasks, and jobs that remind of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cachewright.request.backend import Access, Backend, Reminder

#: Names of members that follow from the clock, so that they change without a write.
_MOVING = re.compile(
    r"is_?(?:over)?due(?:_\w+)?|is_?(?:expired|upcoming|late|recent|today)|(?:days|hours|minutes|seconds)_(?:until|left|"
    r"since|ago|remaining|overdue)\w*|\w+_age(?:_\w+)?|age_seconds|time_(?:left|remaining|ago)|\w+_ago|(?:overdue|"
    r"upcoming)(?:_\w+)?|expires_in|server_time|current_time|now",
    re.IGNORECASE,
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def moves(name: str) -> bool:
    """Whether a member of this name changes with the clock, such as `is_overdue` or `daysUntilDue`."""
    return _MOVING.fullmatch(_HUMP.sub("_", name)) is not None


def task_logic(document: Any, source: str) -> Backend:
    """`task_result`: how tasks are read. Operations that write are seen when they happen; queries have filters."""
    filters: dict[str, None] = {}
    moving: dict[str, None] = {}
    for name, value in _walked(document):
        if name in ("filters", "filter") and isinstance(value, Mapping):
            filters.update(dict.fromkeys(map(str, value)))
        elif name in ("filters", "sort", "sort_by", "pagination"):
            filters.update(dict.fromkeys(_names(value) if name != "sort" else ("sort",)))
        if moves(name):
            moving[name] = None
    if not filters and not moving:
        return Backend(warnings=(f"{source}: no filters and no members were found in its task_result.",))
    return Backend(accesses=(Access("task", tuple(filters), tuple(moving), source),), sources=(source,))


def notifications(document: Any, source: str) -> Backend:
    """`backend_notification_specification`: at which times of day it reminds of what is due."""
    found = []
    jobs = document.get("reminder_jobs") if isinstance(document, Mapping) else None
    for job in jobs if isinstance(jobs, list) else ():
        timing = job.get("timing") if isinstance(job, Mapping) else None
        if not isinstance(timing, Mapping):
            continue
        at = _TIME.search(str(timing.get("scheduled_time") or ""))
        if at is not None:
            found.append(Reminder(f"{int(at[1]):02}:{at[2]}", str(timing.get("timezone") or "UTC"), source))
    return Backend(reminders=tuple(found), sources=(source,))


def _walked(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name), inner
            yield from _walked(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walked(inner)


def _names(value: Any) -> Iterator[str]:
    """The names of a list of texts or of mappings with a `name`, or the keys of a mapping."""
    if isinstance(value, Mapping):
        yield from map(str, value)
    for each in value if isinstance(value, list) else ():
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping) and isinstance(each.get("name") or each.get("field"), str):
            yield str(each.get("name") or each.get("field"))
