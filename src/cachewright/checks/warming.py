"""Rules about what is loaded before anybody asks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cachewright.checks.findings import Path, Problem
from cachewright.checks.subject import Subject
from cachewright.spec.target import target_name
from cachewright.spec.warming import TOP_USERS

_PLACEHOLDER = re.compile(r"\{(\w+)")


def warming_without_loader(subject: Subject) -> Iterator[Problem]:
    """Warming names what nobody loads, or is on with nothing to load.

    ## What it does
    Where `cache_warming` is enabled: looks for queries that are neither a target's name nor its endpoint, for
    predictions of what is no target, of what is somebody's own without `user_based`, or without a parameter of its
    path, for predicted keys that are no target's, for `top_users` that is no number, and for warming without
    anything to load.

    ## Why
    A query is loaded by the target of its name, or by a loader that code registers under it. One that is
    registered nowhere is skipped.

    ## Example
    ```yaml
    cache_warming: {enabled: true, on_startup: {queries: [{name: popular_tasks}]}}
    ```

    ## Fix
    Name a target (`GET /api/tasks`), or register a loader of that name.
    """
    warming = subject.spec.cache_warming
    if not warming.enabled:
        return
    known: set[str] = set()
    for view in subject.targets:
        known |= {target_name(view.item), view.item.subject, view.place[1]}
    named: list[tuple[Path, str]] = [
        *((("on_startup", "queries", at, "name"), q.name) for at, q in enumerate(warming.on_startup.queries)),
        *((("scheduled", "queries", at, "name"), q.name) for at, q in enumerate(warming.scheduled.queries)),
    ]
    for index, strategy in enumerate(warming.strategies):
        place = ("strategies", index, "warmup_queries")
        named += [((*place, at), name) for at, name in enumerate(strategy.warmup_queries)]
    for path, name in named:
        if name not in known:
            words = f"no target is named {name}: a loader of that name has to be registered"
            yield Problem(("cache_warming", *path), words)
    yield from _most_active(subject)
    yield from _predictions(subject)
    ahead = warming.ahead.refill or warming.predictive.transitions
    if not named and not ahead:
        yield Problem(("cache_warming", "enabled"), "warming is enabled, but names nothing to load")
    if warming.scheduled.queries and warming.scheduled.schedule is None:
        yield Problem(("cache_warming", "scheduled"), "scheduled queries have no schedule: they never run")


def _predictions(subject: Subject) -> Iterator[Problem]:
    """What is predicted and cannot be loaded."""
    predictive = subject.spec.cache_warming.predictive
    endpoints = {
        name: view.item
        for view in subject.targets
        if view.item.kind == "endpoint"
        for name in (target_name(view.item), view.item.subject)
    }
    patterns = {subject.spec.key_pattern_of(item) for item in endpoints.values()}
    for at, pattern in enumerate(predictive.cache_keys):
        if pattern not in patterns:
            place = ("cache_warming", "predictive", "cache_keys", at)
            yield Problem(place, f"no target has the key {pattern}: nothing is predicted by it")
    for at, one in enumerate(predictive.transitions):
        path: Path = ("cache_warming", "predictive", "transitions", at)
        target = endpoints.get(one.load)
        if target is None:
            yield Problem((*path, "load"), f"no endpoint to cache is named {one.load}: it is not predicted")
            continue
        if target.scope != "public" and not predictive.user_based:
            words = f"{one.load} is somebody's own, and predictive.user_based is off: it is not predicted"
            yield Problem((*path, "load"), words)
        missing = [name for name in _PLACEHOLDER.findall(target.subject) if name not in one.params]
        if missing:
            words = f"the path of {one.load} needs {', '.join(missing)}: it is not predicted"
            yield Problem((*path, "params"), words)


def _most_active(subject: Subject) -> Iterator[Problem]:
    """Queries for so many users, where that is no number."""
    warming = subject.spec.cache_warming
    for when, queries in (
        ("on_startup", warming.on_startup.queries),
        ("scheduled", warming.scheduled.queries),
    ):
        for at, query in enumerate(queries):
            most = query.params.get(TOP_USERS, 1)
            if not isinstance(most, int) or isinstance(most, bool) or most < 1:
                place = ("cache_warming", when, "queries", at, "params")
                yield Problem(place, "top_users is a number of users, at least 1")
