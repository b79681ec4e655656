"""Key patterns from route templates: `user:{user_id}:api:tasks:status={status}:page={page}`.

Every path and query parameter stands in the key, so two requests with different parameters never share one;
patterns of different targets that could give the same text are told apart by naming their parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

from cachewright.analysis.study import Profile
from cachewright.spec.keys import escape, resource_literal
from cachewright.spec.semantics import Scope
from cachewright.spec.tags import Source, TagTemplate

_PLACES = ("path.", "query.", "header.", "cookie.", "claim.")
_FIELD = re.compile(r"\{([^{}:]+)(?::[^{}]*)?\}")
#: Fields that mean something else than a parameter of that name.
_TAKEN = frozenset({"user_id", "tenant_id", "cred", "host"})
_SCOPES: Mapping[Scope, tuple[str, ...]] = {
    Scope.PUBLIC: (),
    Scope.TENANT: ("tenant:{tenant_id}",),
    Scope.USER: ("user:{user_id}",),
    Scope.CREDENTIAL: ("cred:{cred}",),
}


def unwritable(fields: Sequence[str]) -> tuple[str, ...]:
    """The names among `fields` that no key pattern can hold."""
    return tuple(name for name in fields if set(name) & set(":{}*? \t") or not name.isprintable())


def key_patterns(profiles: Sequence[Profile], *, tenant: bool) -> dict[str, str]:
    """The key pattern of each profile, by subject.

    With `tenant` all but public ones start with the tenant.
    """
    found = {profile.route.subject: _pattern(profile, tenant=tenant, named=False) for profile in profiles}
    for first, second in combinations(profiles, 2):
        if meet(found[first.route.subject], found[second.route.subject]):
            for profile in (first, second):
                found[profile.route.subject] = _pattern(profile, tenant=tenant, named=True)
    for number, profile in enumerate(profiles):
        subject = profile.route.subject
        if any(meet(found[subject], found[other.route.subject]) for other in profiles[:number]):
            found[subject] = f"{found[subject]}:target={number}"
    return found


def field_name(name: str, template: str) -> str:
    """The field `path.task_id` as short as it stays clear in a pattern of this route: `task_id`."""
    place, _, bare = name.partition(".")
    in_path = bare in path_fields(template)
    plain = bare not in _TAKEN and "." not in bare and not bare.startswith(_PLACES)
    if plain and ((place == "path" and in_path) or (place == "query" and not in_path)):
        return bare
    return name


def tag_text(template: TagTemplate, route_template: str, user: str | None, tenant: str | None) -> str:
    """A tag template as the specification writes it.

    `user` and `tenant` are the fields that have short names.
    """

    def short(source: Source) -> Source:
        if source.name is None:
            return source
        if source.name == user:
            return Source("user_id")
        if source.name == tenant:
            return Source("tenant_id")
        return Source(field_name(source.name, route_template))

    return str(
        TagTemplate(template.table, tuple((column, short(source)) for column, source in template.columns))
    )


def path_fields(template: str) -> frozenset[str]:
    """The names of the parameters in a route's path."""
    return frozenset(_FIELD.findall(template))


def _pattern(profile: Profile, *, tenant: bool, named: bool) -> str:
    template = profile.route.template
    scopes = _SCOPES[profile.scope]
    if tenant and profile.scope in (Scope.USER, Scope.CREDENTIAL):
        scopes = ("tenant:{tenant_id}", *scopes)
    resource = [_segment(text, template, named=named) for text in template.split("/") if text] or ["root"]
    if resource[0].startswith("{"):
        resource.insert(0, "root")
    shown = path_fields(template)
    rest = [
        name for name in profile.fields if not (name.startswith("path.") and name.partition(".")[2] in shown)
    ]
    parameters = [f"{escape(name.partition('.')[2])}={{{field_name(name, template)}}}" for name in rest]
    return ":".join([*scopes, *resource, *parameters])


def _segment(text: str, template: str, *, named: bool) -> str:
    """One segment of a path: literal text escaped, parameters as fields, named where that is asked for."""
    parts: list[str] = []
    end = 0
    for found in _FIELD.finditer(text):
        parts.append(_literal(text[end : found.start()]))
        field = f"{{{field_name(f'path.{found[1]}', template)}}}"
        parts.append(f"{found[1]}={field}" if named else field)
        end = found.end()
    parts.append(_literal(text[end:]))
    return "".join(parts)


def _literal(text: str) -> str:
    return resource_literal(text) if text else ""


def meet(first: str, second: str) -> bool:
    """Whether two patterns may give the same text: segment by segment, equal or at least one with a field."""
    ours, theirs = first.split(":"), second.split(":")
    return len(ours) == len(theirs) and all(map(_may_equal, ours, theirs))


def _may_equal(ours: str, theirs: str) -> bool:
    """A value never brings a separator, so what stands before the first field must agree."""
    one, other = _FIELD.split(ours)[0], _FIELD.split(theirs)[0]
    if "{" not in ours and "{" not in theirs:
        return ours == theirs
    if ("=" in ours) != ("=" in theirs):
        return False
    if "=" in ours:
        return ours.partition("=")[0] == theirs.partition("=")[0]
    return one.startswith(other) or other.startswith(one)
