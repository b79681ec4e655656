"""The routes of an application as its router will match them, and the values a request gives their parameters.

Works on Starlette and on FastAPI from the versions that copy routes on inclusion to those that include them by
reference: a route is addressed by its *holder*, the object whose `app` attribute runs it.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal
from urllib.parse import parse_qsl

from starlette.routing import BaseRoute, Mount
from starlette.routing import Route as StarletteRoute

Where = Literal["path", "query", "header", "cookie"]

_LONGEST_INTEGER = 40
_INTEGER = re.compile(r"[+-]?\d+\Z")
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})


@dataclass(frozen=True, slots=True)
class Param:
    """A declared parameter: its name on the wire, where it stands, its plain type, its default."""

    name: str
    where: Where
    type: str
    required: bool
    default: Any = None
    multiple: bool = False

    def canonical(self, given: Sequence[str]) -> Any:
        """The one spelling of the texts given for it: a text, a list of texts, or None where it is absent."""
        if not given:
            return _plain(self.default)
        if self.multiple:
            return [self._spelled(text) for text in given]
        return self._spelled(given[-1])

    def _spelled(self, text: str) -> str:
        if self.type == "int" and len(text) <= _LONGEST_INTEGER and _INTEGER.match(text):
            return str(int(text))
        if self.type == "bool":
            folded = text.casefold()
            return "true" if folded in _TRUE else "false" if folded in _FALSE else text
        return text


def _plain(value: Any) -> Any:
    """A declared default in the spelling of `Param.canonical`."""
    match value:
        case None:
            return None
        case Enum():
            return _plain(value.value)
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
    return str(value)


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One leaf of the router.

    `template` is the path as the outside writes it, mounts and prefixes included. `credentials` are what its
    security schemes read (`header:authorization`, `cookie:sid`, `query:api_key`). `holder.app` runs it.
    """

    methods: frozenset[str]
    template: str
    endpoint: str
    params: tuple[Param, ...]
    credentials: tuple[str, ...]
    holder: Any

    def values(self, scope: Mapping[str, Any], path_params: Mapping[str, Any]) -> dict[str, Any]:
        """The request's path and declared query parameters, by the names of key patterns, defaults filled in."""
        given: dict[str, list[str]] = {}
        query = scope.get("query_string", b"")
        if query:
            for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
                given.setdefault(name, []).append(value)
        values = {f"path.{name}": str(value) for name, value in path_params.items()}
        for param in self.params:
            if param.where == "query":
                values[f"query.{param.name}"] = param.canonical(given.get(param.name, ()))
            elif param.where == "path" and param.name in path_params:
                values[f"path.{param.name}"] = param.canonical((str(path_params[param.name]),))
        return values


def walk(app: Any) -> list[Route]:
    """All HTTP routes of a Starlette or FastAPI application, in the order of its routers."""
    return list(_leaves(getattr(app, "routes", ()), ""))


def _leaves(routes: Sequence[BaseRoute], prefix: str) -> Iterator[Route]:
    for route, holder in _effective(routes):
        if isinstance(route, Mount):
            inner = getattr(getattr(route, "_base_app", route.app), "routes", None) or ()
            yield from _leaves(inner, prefix + route.path)
        elif isinstance(route, StarletteRoute) and hasattr(holder, "app"):
            yield _leaf(route, holder, prefix)


def _effective(routes: Sequence[BaseRoute]) -> Iterator[tuple[BaseRoute, Any]]:
    """Each route with its holder; FastAPI's included routers are opened."""
    try:
        from fastapi.routing import iter_route_contexts
    except ImportError:  # Starlette alone, or a FastAPI that copies routes on inclusion
        for route in routes:
            yield route, route
        return
    for context in iter_route_contexts(routes):
        effective = context._route_context  # noqa: SLF001 - the holder has no public name
        if effective is None:
            yield context.route, context.route
        elif effective.starlette_route is not None:
            yield effective.starlette_route, effective.starlette_route
        else:
            yield effective.original_route, effective


def _leaf(route: StarletteRoute, holder: Any, prefix: str) -> Route:
    path = getattr(holder, "path_format", route.path_format)
    endpoint = getattr(holder, "endpoint", route.endpoint)
    dependant = getattr(holder, "dependant", None)
    params: dict[tuple[str, str], Param] = {}
    credentials: dict[str, None] = {}
    for node in _tree(dependant):
        for param in _params(node):
            params.setdefault((param.where, param.name), param)
        credentials.update(dict.fromkeys(_security(node)))
    return Route(
        methods=frozenset(getattr(holder, "methods", None) or route.methods or {"GET"}),
        template=prefix + path,
        endpoint=f"{getattr(endpoint, '__module__', '')}.{getattr(endpoint, '__qualname__', repr(type(endpoint)))}",
        params=tuple(params.values()),
        credentials=tuple(credentials),
        holder=holder,
    )


def _tree(dependant: Any) -> Iterator[Any]:
    if dependant is not None:
        yield dependant
        for child in dependant.dependencies:
            yield from _tree(child)


def _params(dependant: Any) -> Iterator[Param]:
    fields: tuple[tuple[Where, Sequence[Any]], ...] = (
        ("path", dependant.path_params),
        ("query", dependant.query_params),
        ("header", dependant.header_params),
        ("cookie", dependant.cookie_params),
    )
    for where, found in fields:
        for field in found:
            yield from _opened(field.alias, where, field.field_info)


def _opened(name: str, where: Where, info: Any) -> Iterator[Param]:
    """One parameter, or all fields of a model that stands for several."""
    annotation = _unwrapped(info.annotation)
    inner = getattr(annotation, "model_fields", None)
    if inner is not None and where != "path":
        for field_name, field in inner.items():
            yield from _opened(_wire_name(field.alias or field_name, where), where, field)
        return
    multiple = typing.get_origin(annotation) in (
        list,
        set,
        tuple,
        frozenset,
        Sequence,
        AbstractSet,
    ) or annotation in (
        list,
        set,
        tuple,
    )
    element = (typing.get_args(annotation) or (str,))[0] if multiple else annotation
    required = info.is_required()
    default = None if required or info.default_factory is not None else info.default
    yield Param(_wire_name(name, where), where, _type_name(_unwrapped(element)), required, default, multiple)


def _wire_name(name: str, where: Where) -> str:
    return name.replace("_", "-").lower() if where == "header" else name


def _unwrapped(annotation: Any) -> Any:
    """`annotation` without `Annotated` and `None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _unwrapped(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [item for item in typing.get_args(annotation) if item is not type(None)]
        return _unwrapped(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _type_name(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return "enum"
    if not isinstance(annotation, type):
        return "other"
    if issubclass(annotation, Enum):
        return "enum"
    for plain, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "str")):
        if issubclass(annotation, plain):
            return name
    return "other"


def _security(dependant: Any) -> Iterator[str]:
    """What the security scheme of this dependency reads, if it is one."""
    from fastapi.security.base import SecurityBase

    scheme = dependant.call
    if not isinstance(scheme, SecurityBase):
        return
    model = scheme.model
    where = getattr(model, "in_", None)
    name = getattr(model, "name", None)
    if where is None or name is None:
        yield "header:authorization"
    else:
        kind = str(getattr(where, "value", where))
        yield f"{kind}:{name.lower() if kind == 'header' else name}"
