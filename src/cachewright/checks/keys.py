"""Rules about cache keys: two answers must never meet in one key, and no answer may have two."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from cachewright.checks.findings import Fix, Problem
from cachewright.checks.subject import Subject, TargetView
from cachewright.spec.edit import Put
from cachewright.spec.keys import RESERVED, Field, KeyTemplate
from cachewright.spec.target import Target, identity_sources

_ALWAYS_KNOWN = frozenset({"user_id", "tenant_id", "cred", "host"})
_KEY = "cache_key_pattern"
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
#: What values never hold: it is escaped, and not part of how lists and marks are written.
_NEVER_IN_VALUES = RESERVED - {"%", ","}
#: Stands for a field of a pattern, which no literal text can hold.
_ANY = "\0"


def unreadable_pattern(subject: Subject) -> Iterator[Problem]:
    """A pattern, tag template or condition cannot be understood.

    ## What it does
    Parses every `cache_key_pattern`, every item of `depends_on` and every condition of `bypass_when`.

    ## Why
    A target that cannot be understood cannot be served, and the application does not start with it.

    ## Example
    ```yaml
    - endpoint: GET /tasks
      cache_key_pattern: "tasks:{page"
    ```

    ## Fix
    Write a field as `{name}`, a tag as `table(column={field})`, a condition as `query.due == 'today'`.
    """
    for view in subject.targets:
        if view.trouble is not None:
            yield view.trouble


def scope_without_its_id(subject: Subject) -> Iterator[Problem]:
    """A key lacks the id of the scope that its target names.

    ## What it does
    Looks for `{user_id}` in keys of targets of scope `user`, for `{tenant_id}` in those of scope `tenant`.

    ## Why
    Without it all users share one entry, and one receives the data of another.

    ## Example
    ```yaml
    - endpoint: GET /tasks
      scope: user
      cache_key_pattern: tasks
    ```

    ## Fix
    Begin the pattern with its scope: `user:{user_id}:tasks`.
    """
    for view, target in subject.ready():
        if target.problem is not None:
            scope = {"user": "user:{user_id}", "tenant": "tenant:{tenant_id}"}.get(target.scope.value)
            whole = f"{scope}:{view.item.cache_key_pattern}"
            fix = _new_key(view, whole) if scope and view.item.cache_key_pattern else None
            yield Problem(view.at(_KEY), f"{target.name}: {target.problem}", fix=fix)


def colliding_keys(subject: Subject) -> Iterator[Problem]:
    """Two targets can produce the same key, or are the same endpoint.

    ## What it does
    Compares the patterns of all targets. Equal ones are errors; ones that meet only for some values of a
    field (`tasks:{id}` and `tasks:stats`) are warnings.

    ## Why
    Targets that share a key overwrite each other's entries, so neither is ever a hit for long.

    ## Example
    ```yaml
    - {endpoint: GET /tasks, cache_key_pattern: "user:{user_id}:tasks", scope: user}
    - {endpoint: GET /tasks/done, cache_key_pattern: "user:{user_id}:tasks", scope: user}
    ```

    ## Fix
    Give each target a resource of its own: `user:{user_id}:tasks_done`.
    """
    for (one, first), (other, second) in combinations(subject.ready(), 2):
        if one.place == other.place:
            yield Problem(other.at("endpoint"), f"{second.name} stands here twice; the last one counts")
        elif _shape(first.key) == _shape(second.key):
            yield Problem(other.at(_KEY), f"{second.name} has the key of {first.name}: {second.key.source}")
        elif _meet(_shape(first.key), _shape(second.key)):
            yield Problem(
                other.at(_KEY),
                f"{second.name} and {first.name} have one key for some values: "
                f"{second.key.source} and {first.key.source}",
                "warning",
            )


def mixed_separators(subject: Subject) -> Iterator[Problem]:
    """Keys are separated with `/` as well as with `:`.

    ## What it does
    Looks for `/` in the literal text of key patterns that also use `:`, or whose neighbours do.

    ## Why
    Keys of one shape can be listed, counted and invalidated by their beginnings; scopes are only recognised
    between `:`.

    ## Example
    ```yaml
    cache_key_pattern: "user:{user_id}/tasks"
    ```

    ## Fix
    Write `:` everywhere: `user:{user_id}:tasks`.
    """
    with_colon = any(":" in target.key.source for _, target in subject.ready())
    for view, target in subject.ready():
        if with_colon and "/" in re.sub(r"\{[^}]*\}", "", target.key.source):
            own = view.item.cache_key_pattern
            fix = None if own is None else _new_key(view, re.sub(r"/(?![^{]*\})", ":", own))
            yield Problem(view.at(_KEY), f"{target.key.source} separates with '/', others with ':'", fix=fix)


def unknown_field(subject: Subject) -> Iterator[Problem]:
    """A key or tag names a value that requests of its route do not have.

    ## What it does
    Compares the fields of `cache_key_pattern` and `depends_on` with the path of the endpoint and, where the
    application or a trace is known, with the parameters of its route.

    ## Why
    A field that is never there makes a key that is never looked up, or a tag that says nothing.

    ## Example
    ```yaml
    - endpoint: GET /tasks/{task_id}
      cache_key_pattern: "task:{path.taskid}"
    ```

    ## Fix
    Use the parameter's own name: `task:{task_id}`.
    """
    for view, target in subject.ready():
        for name in dict.fromkeys(target.key.fields):
            if _is_unknown(subject, view, name):
                yield Problem(view.at(_KEY), f"{target.name} has no {name}{_offer(subject, view)}")
        for place, template in enumerate(target.depends_on):
            for name in dict.fromkeys(source.name for _, source in template.columns if source.name):
                if _is_unknown(subject, view, name):
                    words = f"{target.name} has no {name}{_offer(subject, view)}"
                    yield Problem(view.at("depends_on", place), words)


def parameter_missing_from_key(subject: Subject) -> Iterator[Problem]:
    """A parameter of the route is not part of the key.

    ## What it does
    Compares the declared parameters of the route with the key. Parameters that carry the credential are part
    of the scopes `user`, `tenant` and `credential`. Needs `--app` or `--trace`.

    ## Why
    Two requests that differ in it would share an answer. The runtime refuses to keep such answers, so the
    target is never a hit.

    ## Example
    ```yaml
    - endpoint: GET /tasks      # which declares `page`
      cache_key_pattern: "user:{user_id}:tasks"
    ```

    ## Fix
    Add it: `user:{user_id}:tasks:page={page}`.
    """
    identity = identity_sources(subject.spec)
    for view, target in subject.ready():
        route = subject.route_of(view)
        if route is None:
            continue
        declared = route.declared | route.credentials
        token = "header:authorization" if "header:authorization" in declared else None
        unkeyed = target.unkeyed(
            identity, declared=declared, credentials=tuple(route.credentials), token=token
        )
        missing = unkeyed - route.credentials
        if missing:
            listed = ", ".join(sorted(name.replace(":", " ", 1) for name in missing))
            yield Problem(
                view.at(_KEY), f"the key of {target.name} lacks {listed}", fix=_with(view, sorted(missing))
            )


def _with(view: TargetView, missing: Sequence[str]) -> Fix | None:
    """The key with the query parameters that it lacks; nothing is said of headers and cookies."""
    own = view.item.cache_key_pattern
    names = [read.partition(":")[2] for read in missing if read.startswith("query:")]
    if own is None or len(names) < len(missing) or not all(map(_NAME.match, names)):
        return None
    return _new_key(view, ":".join([own, *(f"{name}={{{name}}}" for name in names)]))


def _new_key(view: TargetView, pattern: str) -> Fix:
    return Fix(f"write cache_key_pattern: {pattern}", (Put(view.at(_KEY), pattern),))


def _is_unknown(subject: Subject, view: TargetView, name: str) -> bool:
    where, _, rest = name.partition(".")
    if name in _ALWAYS_KNOWN:
        return False
    match where:
        case "path":
            return not re.search(rf"\{{{re.escape(rest)}(?::[^}}]*)?\}}", view.place[1])
        case "query":
            route = subject.route_of(view)
            return route is not None and f"query:{rest}" not in route.declared | _read(subject, view)
    return False


def _read(subject: Subject, view: TargetView) -> frozenset[str]:
    """What requests of a route read beyond what it declares."""
    if subject.evidence is None or view.ready is None:
        return frozenset()
    return frozenset().union(*(lookup.request.reads for lookup in subject.lookups_of(view.ready)))


def _offer(subject: Subject, view: TargetView) -> str:
    in_path = re.findall(r"\{([^}:]*)", view.place[1])
    route = subject.route_of(view)
    in_query = sorted(name[6:] for name in route.declared if name.startswith("query:")) if route else []
    return f"; there are {', '.join([*in_path, *in_query])}" if in_path or in_query else ""


def _shape(key: KeyTemplate) -> list[str]:
    """The segments of a key, with a mark in the place of each field."""
    return [
        "".join(_ANY if isinstance(part, Field) else part for part in segment) for segment in key.segments
    ]


def _meet(first: Sequence[str], second: Sequence[str]) -> bool:
    return len(first) == len(second) and all(map(_segments_meet, first, second))


def _segments_meet(first: str, second: str) -> bool:
    """Whether some text fits both; a mark stands for any text a value can give, even none."""
    if not first or not second:
        return not (first + second).strip(_ANY)
    if first[0] == _ANY:
        spans = second[0] not in _NEVER_IN_VALUES
        return _segments_meet(first[1:], second) or (spans and _segments_meet(first, second[1:]))
    if second[0] == _ANY:
        return _segments_meet(second, first)
    return first[0] == second[0] and _segments_meet(first[1:], second[1:])


def fields_of(target: Target) -> tuple[str, ...]:
    """The names of all values that a target's key and tags are made of."""
    named = (source.name for template in target.depends_on for _, source in template.columns if source.name)
    return tuple(dict.fromkeys((*target.key.fields, *named)))
