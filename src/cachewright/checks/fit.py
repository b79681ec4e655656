"""Rules about the surroundings: what the application does not have, and what nothing executes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from cachewright.checks.findings import Path, Problem, Severity
from cachewright.checks.subject import Subject
from cachewright.spec.executed import pattern_of, unexecuted

#: Fields that promise something about safety, freshness or reach: who relies on one has to know of it.
PROMISES: frozenset[str] = frozenset(
    {
        "consistency.strict",
        "consistency.crash_safe",
        "consistency.write_ack",
        "identity.user",
        "identity.tenant",
        "cache_targets[].authorization",
        "cache_targets[].mode",
        "cache_targets[].percent",
    }
)


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


def not_executed(subject: Subject) -> Iterator[Problem]:
    """A field is set that nothing executes.

    ## What it does
    Compares the fields that differ from their defaults with those that the runtime executes. It is a warning
    where the field promises something that one relies on: `consistency` (`strict`, `crash_safe`, `write_ack`),
    `identity` from a `dependency:`, and a target's `authorization`, `mode: shadow` and `percent`.

    ## Why
    A setting without an effect should be known to have none.

    ## Example
    ```yaml
    cache_targets: [{endpoint: GET /tasks, percent: 50}]
    ```

    ## Fix
    The message says what happens instead. Take a warning's field out, or do without the cache where it matters.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    for path, reason in unexecuted(subject.spec):
        found.setdefault((pattern_of(path), reason), []).append(path)
    for (pattern, reason), paths in found.items():
        times = f" ({len(paths)} times)" if len(paths) > 1 else ""
        severity: Severity | None = "warning" if pattern in PROMISES else None
        yield Problem(paths[0], f"{pattern}{times}: {reason}", severity)
