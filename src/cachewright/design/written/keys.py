"""Key patterns of a written request: the ones that were given, where they are safe, else ones made from the path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from cachewright.design.patterns import field_name, meet
from cachewright.design.written.facts import Known, tags_of
from cachewright.spec.keys import KeyPatternError, KeyTemplate, escape, resource_literal
from cachewright.spec.model import CacheKeys
from cachewright.sql.complexity import digest

_USER = re.compile(r"(?:^|(?<=:))user:\{user_id\}(?::|$)")
_SCOPES = {
    "public": "",
    "tenant": "tenant:{tenant_id}:",
    "user": "user:{user_id}:",
    "credential": "cred:{cred}:",
}


@dataclass(frozen=True, slots=True)
class Keyed:
    """The pattern of one target, and what was done to the one that was given."""

    pattern: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scoped:
    """A target with the scope that its entries get; `tenants` says that the tenant stands in front."""

    target: Known
    scope: str
    tenants: bool


def given_pattern(target: Known, keys: CacheKeys | None) -> str | None:
    """The pattern that the request gives, for the target or for its kind. Raises `KeyPatternError`."""
    pattern = target.asked.cache_key_pattern
    if pattern is None and keys is not None:
        kinds = {"database_query": keys.query_result.pattern, "computed_data": keys.computed.pattern}
        endpoint = keys.resource.pattern if target.single else keys.collection.pattern
        pattern = endpoint if target.asked.endpoint is not None else kinds[target.asked.kind]
    if pattern is None:
        return None
    literal = re.sub(r"\{[^}]*\}", "", pattern)
    if "/" in literal and ":" in literal:
        raise KeyPatternError(f"{pattern!r} separates with both ':' and '/'; write user:{{user_id}}:tasks")
    pattern = _spelt_out(pattern.replace("/", ":"), target)
    KeyTemplate.parse(pattern)
    return pattern


def _spelt_out(pattern: str, target: Known) -> str:
    """A pattern in which words for the target itself stand for what they mean: its resource, its query."""
    pattern = pattern.replace("{resource_type}", resource_literal(target.resource))
    query = target.asked.database_query
    if query is not None:
        fields = ":".join(f"{escape(name)}={{{name}}}" for name in _fields(target))
        pattern = (
            pattern.replace("{hash}", digest(query)).replace("{params}", fields).replace("::", ":").strip(":")
        )
    return pattern


def key_patterns(found: Sequence[Scoped], keys: CacheKeys | None) -> list[Keyed]:
    """The pattern of each target, no two of which give the same key. Raises `KeyPatternError`."""
    patterns = [_keyed(one, keys, named=False) for one in found]
    for (here, first), (there, second) in combinations(enumerate(patterns), 2):
        if meet(first.pattern, second.pattern):
            for at in (here, there):
                patterns[at] = _keyed(found[at], keys, named=True)
    for at, keyed in enumerate(patterns):
        if any(meet(keyed.pattern, other.pattern) for other in patterns[:at]):
            patterns[at] = Keyed(
                f"{keyed.pattern}:target={at}", f"{keyed.reason} Its number tells it from others."
            )
    return patterns


def _keyed(one: Scoped, keys: CacheKeys | None, *, named: bool) -> Keyed:
    target = one.target
    given = given_pattern(target, keys)
    prefix = _SCOPES[one.scope]
    if one.tenants and one.scope in ("user", "credential"):
        prefix = f"tenant:{{tenant_id}}:{prefix}"
    if given is None:
        return Keyed(prefix + _made(target, named=named), "All parameters stand in the key.")
    body, notes = given.removeprefix(prefix), []
    if one.scope != "user" and "{user_id}" in body:
        if "user_id" in target.path_fields:
            body = body.replace("{user_id}", "{path.user_id}")
            notes.append("{user_id} is the one of the path")
        else:
            body = _USER.sub("", body).strip(":") or _made(target, named=named)
            notes.append(
                f"nothing says where the user's id stands in a request, so the {one.scope} stands for it"
            )
    if "{tenant_id}" not in body and "{tenant_id}" in prefix:
        body = f"tenant:{{tenant_id}}:{body}"
        notes.append("every key holds its tenant")
    for field, scope in (("{user_id}", "user"), ("{cred}", "credential")):
        if one.scope == scope and field not in body:
            tenant, body = _split_tenant(body)
            body = f"{tenant}{_SCOPES[scope]}{body}"
            notes.append(f"entries are kept apart by {scope}")
    missing = [name for name in target.parameters if not _holds(body, name)]
    for name in missing:
        body += f":{escape(name)}={{{_field(target, 'query', name)}}}"
    if missing:
        notes.append(f"answers differ by {', '.join(missing)}")
    kept = "It was asked for." if not notes else f"It was asked for as {given}: {'; '.join(notes)}."
    return Keyed(body, kept)


def _split_tenant(pattern: str) -> tuple[str, str]:
    tenant = "tenant:{tenant_id}:"
    return (tenant, pattern.removeprefix(tenant)) if pattern.startswith(tenant) else ("", pattern)


def _holds(pattern: str, name: str) -> bool:
    return re.search(rf"\{{(?:query\.)?{re.escape(name)}\}}", pattern) is not None


def _made(target: Known, *, named: bool) -> str:
    asked = target.asked
    if asked.endpoint is None:
        fields = _fields(target)
        return ":".join(
            [resource_literal(target.resource), *(f"{escape(name)}={{{name}}}" for name in fields)]
        )
    parts: list[str] = []
    for text in target.place[1].split("/"):
        field = re.fullmatch(r"\{([^{}:]+)(?::[^{}]*)?\}", text)
        if field is not None:
            written = f"{{{_field(target, 'path', field[1])}}}"
            parts.append(f"{field[1]}={written}" if named else written)
        elif text and text != "api" and (named or not re.fullmatch(r"v\d+", text)):
            parts.append(resource_literal(re.sub(r"\{([^{}:]+)[^{}]*\}", r"\1", text)))
    if not parts or parts[0].startswith("{"):
        parts.insert(0, resource_literal(target.resource))
    if asked.resource_type is not None and not named:
        parts[0] = resource_literal(asked.resource_type)
    parts += [f"{escape(name)}={{{_field(target, 'query', name)}}}" for name in target.parameters]
    return ":".join(parts)


def _fields(target: Known) -> list[str]:
    """What a query or value differs by: parameters that were named, and values its predicates are bound to."""
    pinned = (
        source.name
        for template in (tags_of(target.facts) if target.facts is not None else ())
        for _, source in template.columns
        if source.name is not None
    )
    return [
        name for name in dict.fromkeys((*pinned, *target.parameters)) if name not in ("user_id", "tenant_id")
    ]


def _field(target: Known, place: str, name: str) -> str:
    return field_name(f"{place}.{name}", target.place[1])
