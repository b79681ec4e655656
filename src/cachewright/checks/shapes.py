"""Rules about what a key can become: one text for two answers, keys without end, keys all over a cluster."""

from __future__ import annotations

from collections.abc import Iterator

from cachewright.checks.findings import Problem
from cachewright.checks.subject import Subject, TargetView
from cachewright.simulator.lookups import Lookup
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.keys import RESERVED, Field, KeyPatternError, KeyTemplate, free_text
from cachewright.spec.semantics import Scope
from cachewright.spec.target import Target

_KEY = "cache_key_pattern"
_LEAST_LOOKUPS = 50
_MOSTLY_NEW = 0.9
_SHARED = frozenset({Scope.USER, Scope.TENANT, Scope.CREDENTIAL})


def ambiguous_pattern(subject: Subject) -> Iterator[Problem]:
    """A pattern gives one key for two different requests.

    ## What it does
    Looks for two fields in one segment of a `cache_key_pattern` with nothing between them that a value could not
    hold as well. Values never hold `:`, `,`, `=`, `/`, brackets or quotes, for those are escaped.

    ## Why
    `{year}{month}` gives `20241` for 2024/1 and for 202/41: one request receives the answer to another.

    ## Example
    ```yaml
    cache_key_pattern: "report:{year}{month}"
    ```

    ## Fix
    Separate them: `report:{year}:{month}`, or `report:year={year},month={month}`.
    """
    for view, pattern in _patterns(subject):
        for segment in pattern.segments:
            for one, between, other in _neighbours(segment):
                if RESERVED.isdisjoint(between):
                    what = f"only {between!r} stands" if between else "nothing stands"
                    words = f"{pattern.source}: {what} between {{{one}}} and {{{other}}}"
                    yield Problem(view.at(_KEY), words)


def unbounded_keys(subject: Subject) -> Iterator[Problem]:
    """Keys hold what anybody can make up without end.

    ## What it does
    Looks for headers, cookies and texts that are free by their name (`q`, `search`, `since`) or by the OpenAPI
    document in a key. A trace that shows that most lookups find a key again speaks against it; one in which nine
    of ten of at least 50 have a key of their own speaks for it. It is for information where `max_items` or
    `max_memory_bytes` bounds the entries, or where findings (`because`) stand behind a target without searches.

    ## Why
    Such entries are rarely asked for twice, and push out those that are.

    ## Example
    ```yaml
    - endpoint: GET /tasks
      cache_key_pattern: "user:{user_id}:tasks:q={search}"
    ```

    ## Fix
    Leave searches out (`bypass_when: ["query.search present"]`), or bound what they take:
    `strategy: {eviction_policy: {max_items: 1000}}`.
    """
    for view, target in subject.ready():
        lookups = subject.lookups_of(target)
        seen = len(lookups) >= _LEAST_LOOKUPS
        fresh = _share_of_new_keys(lookups) if seen else None
        if fresh is not None and fresh > _MOSTLY_NEW:
            words = f"{fresh:.0%} of {len(lookups)} lookups of {target.name} had a key of their own"
        elif fresh is None and (free := _free_fields(subject, view, target)):
            words = f"keys of {target.name} hold {', '.join(free)}, which may be anything"
        else:
            continue
        eviction = subject.spec.strategy_of(view.item).eviction_policy
        bounded = eviction.max_items or eviction.max_memory_bytes or subject.spec.max_items
        bounded = bounded or subject.spec.max_memory_bytes
        searched = any(free_text(name) for name in target.key.fields)
        mild = bounded or (view.item.because and not searched)
        yield Problem(view.at(_KEY), words, "info" if mild else None)


def keys_across_slots(subject: Subject) -> Iterator[Problem]:
    """On a cluster, what belongs together lies on several nodes.

    ## What it does
    Where `configuration.redis.cluster` is enabled: looks for scoped targets under `routing: hash_slots`, and for
    keys that do not begin with their scope, by which `hash_tags` keeps them together.

    ## Why
    Commands over several keys work within one slot alone. A user whose entries are spread is looked up, and
    deleted, node by node.

    ## Example
    ```yaml
    configuration: {redis: {cluster: {enabled: true, routing: hash_slots}}}
    ```

    ## Fix
    `routing: hash_tags`, and keys that begin with their scope: `user:{user_id}:tasks`.
    """
    cluster = subject.spec.configuration.redis.cluster
    if not cluster.enabled:
        return
    for view, target in subject.ready():
        if target.scope not in _SHARED:
            continue
        field = {Scope.USER: "user_id", Scope.TENANT: "tenant_id"}.get(target.scope, "cred")
        scopes = [part for segment in target.key.segments[: target.key.scope_segments] for part in segment]
        if cluster.routing == "hash_slots":
            words = f"entries of {target.name} are spread over all slots (routing: hash_slots)"
            yield Problem(view.at(), words)
        elif field in target.key.fields and Field(field) not in scopes:
            words = f"{target.key.source} does not begin with its scope, so each key has a slot of its own"
            yield Problem(view.at(_KEY), words)


def _patterns(subject: Subject) -> Iterator[tuple[TargetView, KeyTemplate]]:
    for view in subject.targets:
        if view.ready is not None:
            yield view, view.ready.key
        elif (pattern := parsed_pattern(subject, view.item)) is not None:
            yield view, pattern


def parsed_pattern(subject: Subject, item: CacheTarget) -> KeyTemplate | None:
    """The key pattern of a target of any kind, fields as written, where it can be understood."""
    pattern = subject.spec.key_pattern_of(item)
    try:
        return None if pattern is None else KeyTemplate.parse(pattern)
    except KeyPatternError:
        return None


def _neighbours(segment: tuple[str | Field, ...]) -> Iterator[tuple[str, str, str]]:
    """Each two fields of a segment that follow one another, with the text between them."""
    before: str | None = None
    between = ""
    for part in segment:
        if isinstance(part, str):
            between += part
            continue
        if before is not None:
            yield before, between, part.name
        before, between = part.name, ""


def _free_fields(subject: Subject, view: TargetView, target: Target) -> list[str]:
    route = subject.route_of(view)
    left_out = {clause.name for condition in target.bypass for clause in condition.clauses}
    found = []
    for name in dict.fromkeys(target.key.fields):
        kind, _, rest = name.partition(".")
        told = name.replace(".", ":", 1)
        if name in left_out or kind not in ("query", "header", "cookie") or _is_identity(subject, told):
            continue
        closed = route is not None and told in route.choices
        free = kind != "query" or free_text(rest) or (route is not None and told in route.free)
        if free and not closed and not _is_short(rest):
            found.append(name.replace(".", " ", 1))
    return found


def _is_identity(subject: Subject, told: str) -> bool:
    return told in (subject.spec.identity.user, subject.spec.identity.tenant)


def _is_short(header: str) -> bool:
    """Headers that take few values in practice."""
    return header.lower() in ("accept-language", "accept", "x-lang", "accept-encoding", "x-locale", "lang")


def _share_of_new_keys(lookups: tuple[Lookup, ...]) -> float:
    return len({lookup.key for lookup in lookups}) / len(lookups)
