"""The routes that an OpenAPI document describes, with what only it tells: choices, free texts, members of answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cachewright.errors import UsageError

_METHODS = frozenset({"get", "head", "post", "put", "patch", "delete", "options"})
_DEEPEST = 12
_CARRIES = {"apiKey": lambda scheme: f"{scheme.get('in', 'header')}:{scheme.get('name', '')}"}


@dataclass(frozen=True, slots=True)
class ApiParam:
    """A parameter: `choices` are all values it may have, `free` says that any text will do."""

    name: str
    where: str
    choices: tuple[str, ...] = ()
    free: bool = False


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """One operation; `answers` are the names of all members that its successful answers may have."""

    methods: frozenset[str]
    template: str
    params: tuple[ApiParam, ...]
    credentials: tuple[str, ...]
    answers: frozenset[str]


def api_routes(document: Any) -> list[ApiRoute]:
    """The routes of an OpenAPI 3 document. Raises `UsageError` where it is none."""
    if not isinstance(document, Mapping) or not isinstance(document.get("paths"), Mapping):
        raise UsageError("this is no OpenAPI document", hint="it has no mapping `paths`")
    prefix = _base_path(document)
    found = []
    for path, item in document["paths"].items():
        if not isinstance(item, Mapping):
            continue
        shared = item.get("parameters") or ()
        for method, operation in item.items():
            if method.lower() in _METHODS and isinstance(operation, Mapping):
                found.append(_route(document, method, f"{prefix}{path}", operation, shared))
    return found


def _base_path(document: Mapping[str, Any]) -> str:
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, Sequence) and servers else None
    url = first.get("url") if isinstance(first, Mapping) else None
    return urlsplit(str(url)).path.rstrip("/") if url else ""


def _route(
    document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any], shared: Any
) -> ApiRoute:
    given = [_resolved(document, each) for each in (*shared, *(operation.get("parameters") or ()))]
    params = {(p.where, p.name): p for p in (_param(document, each) for each in given if "name" in each)}
    return ApiRoute(
        methods=frozenset({method.upper()}),
        template=path,
        params=tuple(params.values()),
        credentials=tuple(dict.fromkeys(_credentials(document, operation))),
        answers=frozenset(_answers(document, operation)),
    )


def _param(document: Mapping[str, Any], given: Mapping[str, Any]) -> ApiParam:
    where, name = str(given.get("in", "query")), str(given["name"])
    schema = _resolved(document, given.get("schema"))
    kinds = [_resolved(document, kind) for kind in schema.get("anyOf", (schema,))]
    choices = [str(value) for kind in kinds for value in kind.get("enum", ())]
    free = not choices and any(
        kind.get("type") == "string" and not kind.keys() & {"enum", "const", "format"} for kind in kinds
    )
    return ApiParam(name.lower() if where == "header" else name, where, tuple(choices), free)


def _credentials(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    components = document.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
    for requirement in operation.get("security", document.get("security")) or ():
        for name in requirement:
            scheme = _resolved(document, schemes.get(name)) if isinstance(schemes, Mapping) else {}
            carries = _CARRIES.get(str(scheme.get("type")))
            where, _, carrier = (carries(scheme) if carries else "header:authorization").partition(":")
            yield f"{where}:{carrier.lower() if where == 'header' else carrier}"


def _answers(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    responses = operation.get("responses")
    for status, response in responses.items() if isinstance(responses, Mapping) else ():
        if str(status).startswith("2"):
            content = _resolved(document, response).get("content")
            for media in content.values() if isinstance(content, Mapping) else ():
                yield from _members(
                    document, media.get("schema") if isinstance(media, Mapping) else None, set()
                )


def _members(document: Mapping[str, Any], schema: Any, seen: set[int]) -> Iterator[str]:
    """The names of all properties; a schema that stands in several places, or in itself, is read once."""
    found = _resolved(document, schema)
    if not found or id(found) in seen:
        return
    seen.add(id(found))
    properties = found.get("properties")
    for name, inner in properties.items() if isinstance(properties, Mapping) else ():
        yield str(name)
        yield from _members(document, inner, seen)
    for part in (found.get("items"), found.get("additionalProperties")):
        yield from _members(document, part, seen)
    for name in ("allOf", "anyOf", "oneOf"):
        for part in found.get(name) or ():
            yield from _members(document, part, seen)


def _resolved(document: Mapping[str, Any], part: Any) -> Mapping[str, Any]:
    """What `part` is, its local references followed; empty where it is nothing usable."""
    for _ in range(_DEEPEST):
        if not isinstance(part, Mapping):
            return {}
        reference = part.get("$ref")
        if reference is None:
            return part
        part = document
        for name in str(reference).removeprefix("#/").split("/"):
            unescaped = name.replace("~1", "/").replace("~0", "~")
            part = part.get(unescaped) if isinstance(part, Mapping) else None
    return {}
