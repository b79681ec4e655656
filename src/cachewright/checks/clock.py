"""Rules about time where no trace tells: queries that ask the clock, and lifetimes longer than the data's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cachewright.checks.findings import Problem
from cachewright.checks.subject import Subject, TargetView
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.rates import parse_frequency, parse_interval
from cachewright.spec.target import Target, target_name

DAY = 86_400
_DAY_CLOCK = re.compile(r"(?i)\b(?:current_date|curdate)\b|\bdate\s*\(\s*'now'")
_CLOCK = re.compile(
    r"(?i)\b(?:current_timestamp|current_time|localtimestamp|localtime|sysdate|systimestamp)\b"
    r"|\b(?:now|getdate|utc_timestamp|unix_timestamp|clock_timestamp|random|rand)\s*\(|'now'"
)
_DATE_FIELD = re.compile(r"(?i)\{(?:\w+\.)?(?:date|day|today)\}")
#: Values of a parameter that mean something else every day.
_MOVING = re.compile(
    r"(?i)(?:^|_)(?:overdue|today|tomorrow|yesterday|upcoming|recent|due_soon|soon|expired)(?:$|_)"
    r"|^(?:due_)?(?:this|next|last|past)_(?:\d+_)?(?:hours?|days?|weeks?|months?|years?)$"
)
_ON_WRITE = frozenset({"on write", "on_write", "on change", "on_change", "never", "static"})


def clock_in_query(subject: Subject) -> Iterator[Problem]:
    """Answers move with the clock, and entries live past the moment they change.

    ## What it does
    Looks for the clock (`now()`, `CURRENT_DATE`) and dice in the text of queries, and, for endpoints, for values
    of a parameter in the key that mean something else every day (`overdue`, `today`). A `max_staleness_seconds`,
    a `bypass_when` about the parameter, or a day in the key with a lifetime of a day at most speak against it.
    Values of parameters need `--app` or `--openapi`.

    ## Why
    Such an answer becomes wrong although nothing was written, and no tag can tell.

    ## Example
    ```yaml
    - database_query: "SELECT * FROM tasks WHERE due_date < CURRENT_DATE"
      cache_key_pattern: overdue
      strategy: {ttl: {duration_seconds: 86400}}
    ```

    ## Fix
    Put the day into the key (`overdue:date={date}`), say how stale an answer may be
    (`max_staleness_seconds: 60`), or leave those requests out: `bypass_when: ["query.due == 'overdue'"]`.
    """
    for view in subject.targets:
        if view.item.max_staleness_seconds:
            continue
        if view.ready is not None:
            yield from _moving_values(subject, view, view.ready)
        elif view.item.database_query is not None:
            yield from _clock_asked(subject, view, view.item.database_query)


def _clock_asked(subject: Subject, view: TargetView, sql: str) -> Iterator[Problem]:
    ttl = subject.spec.strategy_of(view.item).ttl.duration_seconds
    daily = _DAY_CLOCK.search(sql)
    exact = _CLOCK.search(_DAY_CLOCK.sub(" ", sql))
    if exact is None and daily is None:
        return
    by_day = _DATE_FIELD.search(subject.spec.key_pattern_of(view.item) or "") is not None
    if exact is None and by_day and ttl is not None and ttl <= DAY:
        return
    asked = exact or daily
    name = asked[0].rstrip("( ") if asked is not None else "the clock"
    lives = "lives without end" if ttl is None else f"lives {ttl} s"
    yield Problem(view.at("database_query"), f"the query asks {name}, and its result {lives}")


def _moving_values(subject: Subject, view: TargetView, target: Target) -> Iterator[Problem]:
    route = subject.route_of(view)
    if route is None:
        return
    left_out = {clause.name for condition in target.bypass for clause in condition.clauses}
    for told, choices in route.choices.items():
        name = told.replace(":", ".", 1)
        moving = [choice for choice in choices if _MOVING.search(choice)]
        if moving and name in target.key.fields and name not in left_out:
            words = f"answers of {target.name} move with the clock where {name} is {' or '.join(moving)}"
            yield Problem(view.at("cache_key_pattern"), words)


def ttl_past_change(subject: Subject) -> Iterator[Problem]:
    """Entries live longer than their data stays the same, and nothing invalidates them.

    ## What it does
    Compares the lifetime with `update_frequency`, where `depends_on` is empty and no `refresh` is given.

    ## Why
    From the first change on, every answer until the end of the lifetime is out of date.

    ## Example
    ```yaml
    - {computed_data: daily_stats, cache_key_pattern: stats, update_frequency: hourly,
       strategy: {ttl: {duration_seconds: 86400}}}
    ```

    ## Fix
    Shorten the lifetime (`duration_seconds: 900`), name what it depends on, or give a `refresh` schedule.
    """
    for view in subject.targets:
        item = view.item
        seconds = seconds_between_changes(item)
        if seconds is None or item.depends_on or item.refresh is not None:
            continue
        ttl = subject.spec.strategy_of(item).ttl.duration_seconds
        lives = min((each for each in (ttl, item.max_staleness_seconds) if each), default=None)
        if lives is None or lives > seconds:
            shown = "without end" if lives is None else f"{lives} s"
            words = f"{target_name(item)} changes {item.update_frequency}, but lives {shown}"
            yield Problem(view.at("update_frequency"), words)


def seconds_between_changes(item: CacheTarget) -> float | None:
    """How long the data of a target stays the same, where `update_frequency` says it in a way that is understood."""
    text = (item.update_frequency or "").strip().lower()
    if not text or text in _ON_WRITE:
        return None
    try:
        return 1 / parse_frequency(text)
    except (ValueError, ZeroDivisionError):
        pass
    try:
        return parse_interval(text)
    except ValueError:
        return None
