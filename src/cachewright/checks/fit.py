"""Rules about the surroundings: what the application does not have, and what nothing executes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from cachewright.checks.findings import Path, Problem, Severity
from cachewright.checks.subject import Subject
from cachewright.spec.executed import pattern_of, unexecuted
from cachewright.spec.tags import TagTemplate, TagTemplateError


def unknown_endpoint(subject: Subject) -> Iterator[Problem]:
    """The application has no such endpoint.

    ## What it does
    Compares the endpoints of all targets with the routes of the application, or else with those in the trace.
    Needs `--app` or `--trace`; from a trace alone it is only a warning.

    ## Why
    A target without a route caches nothing, most often because of a slip of the pen or a renamed path.

    ## Example
    ```yaml
    - endpoint: GET /api/task
    ```

    ## Fix
    Write method and path as the route is declared, prefixes included: `GET /api/tasks/{task_id}`.
    """
    if subject.routes is None:
        return
    known = [f"{method} {template}" for method, template in subject.routes]
    for view in subject.targets:
        if view.item.endpoint is None or view.place in subject.routes:
            continue
        name = " ".join(view.place)
        near = difflib.get_close_matches(name, known, n=1)
        offer = f"; did you mean {near[0]}?" if near else ""
        where = "the application" if subject.whole_app else "the trace"
        severity: Severity | None = None if subject.whole_app else "warning"
        yield Problem(view.at("endpoint"), f"{where} has no {name}{offer}", severity)


def unknown_table(subject: Subject) -> Iterator[Problem]:
    """The database has no such table or column.

    ## What it does
    Compares the tables and columns of `depends_on`, of triggers and of `ignore_writes` with those that the
    application's mapped classes declare, or with those in the trace; the `version_field` has to be a column of
    some table. Needs `--app` or `--trace`, and declared tables.

    ## Why
    No write ever changes such a tag: what depends on it stays stale until it expires.

    ## Example
    ```yaml
    depends_on: ["task(owner={user_id})"]     # the table is tasks, its column owner_id
    ```

    ## Fix
    Write the names as the database has them: `tasks(owner_id={user_id})`.
    """
    if not subject.tables:
        return
    for path, table, columns in _tables_named(subject):
        known = subject.tables.get(table)
        if known is None:
            yield Problem(path, f"there is no table {table}{_nearest(table, subject.tables)}")
            continue
        for column in columns:
            if column not in known:
                yield Problem(path, f"{table} has no column {column}{_nearest(column, known)}")
    version = subject.spec.invalidation.versioning.version_field
    columns_of_all = {column for columns in subject.tables.values() for column in columns}
    if version is not None and version.lower() not in columns_of_all:
        path = ("invalidation", "versioning", "version_field")
        yield Problem(path, f"no table has a column {version}{_nearest(version.lower(), columns_of_all)}")


def _tables_named(subject: Subject) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    for view in subject.targets:
        for at, text in enumerate(view.item.depends_on):
            try:
                tag = TagTemplate.parse(text)
            except TagTemplateError:
                continue
            yield view.at("depends_on", at), tag.table, tuple(column for column, _ in tag.columns)
    for index, trigger in enumerate(subject.spec.invalidation.triggers):
        if trigger.table is not None:
            columns = tuple(name.lower() for name in re.findall(r"\{(\w+)\}", trigger.entity_id or ""))
            yield ("invalidation", "triggers", index, "table"), trigger.table.lower(), columns
    for at, name in enumerate(subject.spec.consistency.ignore_writes):
        table, _, column = name.lower().rpartition(".")
        yield ("consistency", "ignore_writes", at), table, (column,)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def not_executed(subject: Subject) -> Iterator[Problem]:
    """A field is set that nothing executes.

    ## What it does
    Compares the fields that differ from their defaults with those that the runtime executes.

    ## Why
    A setting without an effect should be known to have none.

    ## Example
    ```yaml
    cache_targets: [{endpoint: GET /tasks, percent: 50}]
    ```

    ## Fix
    The message says what happens instead. Take the field out, or do without the cache where it matters.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    for path, reason in unexecuted(subject.spec):
        found.setdefault((pattern_of(path), reason), []).append(path)
    for (pattern, reason), paths in found.items():
        times = f" ({len(paths)} times)" if len(paths) > 1 else ""
        yield Problem(paths[0], f"{pattern}{times}: {reason}")
