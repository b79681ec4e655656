"""Rules about `invalidation`: every write reaches its entries, every pattern means one, no cascade bites its tail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cachewright.checks.findings import Path, Problem
from cachewright.checks.shapes import parsed_pattern
from cachewright.checks.subject import Subject, TargetView
from cachewright.spec.invalidation import Action, Operation
from cachewright.spec.tags import TagTemplate, TagTemplateError
from cachewright.spec.target import target_name

_ACTIONS: Mapping[Operation, Action] = {"create": "insert", "update": "update", "delete": "delete"}
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_FIELD = re.compile(r"\{[^{}]*\}")
#: Stands for a field or a wildcard of a pattern.
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Kept:
    """What names the entries of one target: its key, as written and with what is added, and its tables."""

    view: TargetView
    keys: tuple[tuple[str, ...], ...]
    tables: tuple[str, ...]
    pinned: frozenset[str]


@dataclass(frozen=True, slots=True)
class Named:
    """One pattern of a rule: where it stands, and the operation it belongs to."""

    path: Path
    text: str
    operation: Operation


def write_without_invalidation(subject: Subject) -> Iterator[Problem]:
    """A write changes what a target keeps, and nothing in the specification invalidates it.

    ## What it does
    Where `invalidation` has rules or triggers: looks for tables of `depends_on` that none of them covers, and for
    those that rules, or triggers, cover for some of create, update and delete but not for all. For targets without
    `depends_on` (kept for a bounded staleness): looks for routes that write under the same path, and for a rule
    that names the target's key. Routes need `--app`, `--openapi` or `--trace`.

    ## Why
    Writes that the runtime sees invalidate by `depends_on` anyway; the rules are what people and other programs
    rely on. Without either, only the lifetime ends a stale answer.

    ## Example
    ```yaml
    cache_targets: [{endpoint: GET /tasks, scope: public, cache_key_pattern: tasks, depends_on: [tasks, labels]}]
    invalidation: {rules: [{operation: update, invalidate_patterns: [tasks]}]}
    ```

    ## Fix
    Add a rule for each operation (`{operation: delete, invalidate_patterns: [tasks]}`), or a trigger for the table.
    """
    kept = list(_kept(subject))
    named = list(_named(subject))
    spoken = bool(subject.spec.invalidation.rules or subject.spec.invalidation.triggers)
    lacking: dict[str, tuple[Kept, list[Operation]]] = {}
    for one in kept:
        for table in one.tables if spoken else ():
            missing = _missing(subject, named, one, table)
            if missing:
                lacking.setdefault(table, (one, missing))
        if not one.tables and (writer := _writer_beside(subject, one)) and not _is_named(named, one):
            words = f"{writer} may change {target_name(one.view.item)}, and nothing invalidates it"
            yield Problem(one.view.at(), words)
    for table, (one, missing) in lacking.items():
        listed = ", ".join(missing)
        words = f"{target_name(one.view.item)} depends on {table}, but no rule or trigger covers its {listed}"
        yield Problem(one.view.at("depends_on"), words)


def dead_invalidation(subject: Subject) -> Iterator[Problem]:
    """A pattern, cascade or trigger invalidates nothing.

    ## What it does
    Compares every pattern of `invalidation.rules` with the keys, tables and names of all targets, the table of
    every trigger with those that targets depend on, and the patterns of `cache_keys`.

    ## Why
    What matches nothing protects nothing, most often because a key or table was renamed.

    ## Example
    ```yaml
    cache_targets: [{endpoint: GET /tasks, scope: public, cache_key_pattern: "tasks:page={page}"}]
    invalidation: {rules: [{operation: update, invalidate_patterns: ["task_list:*"]}]}
    ```

    ## Fix
    Write the pattern as the key is written, up to `:*` (`tasks:*`), or a tag: `tasks`, `tasks(user_id={user_id})`.
    """
    if not subject.targets:
        return
    kept = list(_kept(subject))
    loose = [_segments(pattern) for pattern in _loose_patterns(subject)]
    known = {target_name(view.item) for view in subject.targets}
    tables = {table for one in kept for table in one.tables}
    for named in _named(subject):
        alive = (
            named.text.removeprefix("target:") in known
            or any(_touches(named.text, one) for one in kept)
            or any(_meets(_segments(named.text), segments) for segments in loose)
        )
        if not alive:
            yield Problem(named.path, f"{named.text} matches no target's key, tags or name")
    for index, trigger in enumerate(subject.spec.invalidation.triggers):
        if trigger.table is not None and tables and trigger.table.lower() not in tables:
            place = ("invalidation", "triggers", index, "table")
            yield Problem(place, f"no target depends on the table {trigger.table}")


def cascade_cycle(subject: Subject) -> Iterator[Problem]:
    """Cascades lead back to where they began.

    ## What it does
    Follows the `cascades` of all rules from pattern to pattern. It is a warning where only tables stand in the
    circle, for foreign keys may point both ways.

    ## Why
    Every write then invalidates the whole circle: the entries in it might as well share one tag.

    ## Example
    ```yaml
    invalidation:
      rules:
      - {operation: update, invalidate_patterns: ["tasks:*"], cascades: ["stats:*"]}
      - {operation: update, invalidate_patterns: ["stats:*"], cascades: ["tasks:*"]}
    ```

    ## Fix
    Keep the direction in which data is derived: tasks change statistics, not the other way round.
    """
    edges: dict[str, dict[str, Path]] = {}
    for index, rule in enumerate(subject.spec.invalidation.rules):
        for pattern in rule.invalidate_patterns:
            for at, cascade in enumerate(rule.cascades):
                place = ("invalidation", "rules", index, "cascades", at)
                edges.setdefault(_plain(pattern), {}).setdefault(_plain(cascade), place)
    reported: set[frozenset[str]] = set()
    for start in edges:
        circle = _circle(edges, start)
        if circle is not None and frozenset(circle) not in reported:
            reported.add(frozenset(circle))
            tables = all(_table(pattern) is not None for pattern in circle)
            words = f"cascades go round: {' -> '.join((*circle, circle[0]))}"
            yield Problem(edges[circle[-1]][circle[0]], words, "warning" if tables else None)


def _circle(edges: Mapping[str, Mapping[str, Path]], start: str) -> tuple[str, ...] | None:
    """The shortest way from `start` back to it."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    for way in ways:
        for following in edges.get(way[-1], ()):
            if following == start:
                return way
            if following not in seen:
                seen.add(following)
                ways.append((*way, following))
    return None


def _kept(subject: Subject) -> Iterator[Kept]:
    for view in subject.targets:
        key = view.ready.key if view.ready is not None else parsed_pattern(subject, view.item)
        if key is None:
            continue
        templates = [template for text in view.item.depends_on if (template := _tag(text)) is not None]
        yield Kept(
            view,
            (_segments(key.source), _segments(subject.spec.key_pattern_of(view.item) or key.source)),
            tuple(dict.fromkeys(template.table for template in templates)),
            frozenset(template.table for template in templates if template.columns),
        )


def _named(subject: Subject) -> Iterator[Named]:
    for index, rule in enumerate(subject.spec.invalidation.rules):
        for name in ("invalidate_patterns", "cascades"):
            for at, text in enumerate(getattr(rule, name)):
                yield Named(("invalidation", "rules", index, name, at), text, rule.operation)


def _loose_patterns(subject: Subject) -> Iterator[str]:
    keys = subject.spec.cache_keys
    for group in (keys.resource, keys.collection, keys.query_result, keys.computed):
        if group.pattern is not None:
            yield group.pattern


def _missing(subject: Subject, named: Sequence[Named], one: Kept, table: str) -> list[Operation]:
    """The writes to `table` that the rules leave out, or the triggers, where they speak of it; else all."""
    of_triggers = [
        operation
        for operation, action in _ACTIONS.items()
        for trigger in subject.spec.invalidation.triggers
        if (trigger.table or "").lower() == table and trigger.action in (None, action)
    ]
    of_rules = [
        each.operation
        for each in named
        if _touches(each.text, one) and _speaks_of(each, table) and each.operation in _ACTIONS
    ]
    spoken = [given for given in (of_rules, of_triggers) if given] or [[]]
    return [operation for operation in _ACTIONS if any(operation not in given for given in spoken)]


def _speaks_of(named: Named, table: str) -> bool:
    """Whether a pattern stands for writes to `table`; one that cascades to its tag is about another's."""
    own = _table(named.text)
    return own is None or (own == table and "cascades" not in named.path)


def _is_named(named: Sequence[Named], one: Kept) -> bool:
    return any(_touches(each.text, one) for each in named)


def _touches(text: str, one: Kept) -> bool:
    """Whether a pattern reaches some entry of the target: by its table, or by its key."""
    table = _table(text)
    if table is not None and table in one.tables:
        return True
    if text.endswith("#bulk"):
        return text.removesuffix("#bulk").lower() in one.pinned | set(one.tables)
    pattern = _segments(text)
    return text in (_ANY, target_name(one.view.item)) or any(_meets(pattern, key) for key in one.keys)


def _meets(pattern: Sequence[str], key: Sequence[str]) -> bool:
    """Whether a pattern fits some key or the beginning of one, segment by segment; a last `*` may be nothing."""
    body = pattern[:-1] if pattern[-1] == _ANY else pattern
    return len(body) <= len(key) and all(_fits(one, other) for one, other in zip(body, key, strict=False))


def _fits(one: str, other: str) -> bool:
    """Whether two segments may be one text; each may hold `*`."""
    if not one or not other:
        return not (one + other).strip(_ANY)
    if one[0] == _ANY:
        return _fits(one[1:], other) or _fits(one, other[1:])
    if other[0] == _ANY:
        return _fits(other, one)
    return one[0] == other[0] and _fits(one[1:], other[1:])


def _segments(pattern: str) -> tuple[str, ...]:
    return tuple(_plain(pattern).split(":"))


def _plain(pattern: str) -> str:
    """A pattern with `*` for each field, so that names of fields do not matter."""
    return re.sub(r"\*+", _ANY, _FIELD.sub(_ANY, pattern.strip()))


def _table(text: str) -> str | None:
    """The table of a pattern that is a tag; None for patterns of keys."""
    if ":" in text or "*" in text.partition("(")[0]:
        return None
    found = _tag(text.removesuffix("#bulk"))
    return None if found is None else found.table


def _tag(text: str) -> TagTemplate | None:
    try:
        return TagTemplate.parse(text)
    except TagTemplateError:
        return None


def _writer_beside(subject: Subject, one: Kept) -> str | None:
    """A route that writes under the path of a target."""
    if subject.routes is None or one.view.item.endpoint is None:
        return None
    own = one.view.place[1].rstrip("/")
    return next(
        (
            f"{method} {template}"
            for method, template in subject.routes
            if method in _UNSAFE and (template.rstrip("/") == own or template.startswith(f"{own}/{{"))
        ),
        None,
    )
