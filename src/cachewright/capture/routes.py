"""The routes of an application as its router will match them, and the values a request gives their parameters.

Works on Starlette and on FastAPI from the versions that copy routes on inclusion to those that include them by
reference: a route is addressed by its *holder*, the object whose `app` attribute runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.routing import BaseRoute, Mount
from starlette.routing import Route as StarletteRoute

from cachewright.capture.params import ANY, Param, declared
from cachewright.spec.identity import is_carrier


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One leaf of the router.

    `template` is the path as the outside writes it, mounts and prefixes included. `credentials` are what its
    security schemes read (`header:authorization`, `cookie:sid`, `query:api_key`). `holder.app` runs it.
    `exact_query` says that query parameters which are not among `params` may matter as well: a model keeps or
    forbids them, or takes a name that cannot be told. `overrides` are the dependency overrides of `provider`
    when the route was looked at. `matched` is what matches a request's path, `mounts` those it goes through first.
    `decisive` are the path and query parameters (`path.team_id`) that its dependencies read who decide who may pass.
    """

    methods: frozenset[str]
    template: str
    endpoint: str
    params: tuple[Param, ...]
    credentials: tuple[str, ...]
    holder: Any
    exact_query: bool = False
    provider: Any = None
    overrides: Mapping[Any, Any] = field(default_factory=dict)
    matched: Any = None
    mounts: tuple[Mount, ...] = ()
    decisive: frozenset[str] = frozenset()

    @property
    def outdated(self) -> bool:
        """Whether dependencies were overridden otherwise since: the parameters may be others now."""
        return (getattr(self.provider, "dependency_overrides", None) or {}) != self.overrides

    def undeclared(self, scope: Mapping[str, Any]) -> bool:
        """Whether the request has a query parameter that the route does not declare."""
        query = scope.get("query_string", b"")
        if not query:
            return False
        declared = {param.name for param in self.params if param.where == "query"}
        names = {name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)}
        return not names <= declared

    def spells(self, paths: Sequence[str], path_params: Mapping[str, Any]) -> bool:
        """Whether a path is the one that is made of its converted parameters: `07` is another path than `7`.

        `paths` are that of the request, and what its router was given.
        """
        if all(isinstance(value, str) for value in path_params.values()):
            return True
        convertors = {**getattr(self.matched, "param_convertors", {})}
        for mount in self.mounts:
            convertors |= {name: c for name, c in mount.param_convertors.items() if name != "path"}
        try:
            made = self.template.format(**{n: convertors[n].to_string(v) for n, v in path_params.items()})
        except Exception:  # noqa: BLE001 - convertors are the application's; one that cannot go back tells nothing
            return False
        return any(path.endswith(made) for path in paths)

    def reads_below(self, wanted: Callable[[Any], bool]) -> frozenset[str]:
        """What the dependencies whose callable is `wanted` declare to read, with all that they depend on."""
        found: set[str] = set()
        for node in _tree(getattr(self.holder, "dependant", None), self.overrides):
            for child in (child for child in node.dependencies if wanted(child.call)):
                for below in _tree(_overridden(child, self.overrides), self.overrides):
                    found.update(f"{param.where}:{param.name}" for param in declared(below))
                    found.update(_security(below))
        return frozenset(read for read in found if not read.startswith("path:"))

    def values(self, scope: Mapping[str, Any], path_params: Mapping[str, Any]) -> dict[str, Any]:
        """The request's path and declared query parameters, by the names of key patterns, defaults filled in.

        Path parameters stay as they are written: an answer may quote the path.
        """
        given: dict[str, list[str]] = {}
        query = scope.get("query_string", b"")
        if query:
            for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
                given.setdefault(name, []).append(value)
        values = {f"path.{name}": str(value) for name, value in path_params.items()}
        for param in self.params:
            if param.where == "query":
                values[f"query.{param.name}"] = param.canonical(given.get(param.name, ()))
        return values


def walk(app: Any) -> list[Route]:
    """All HTTP routes of a Starlette or FastAPI application, in the order of its routers."""
    return list(_leaves(getattr(app, "routes", ()), ()))


def _leaves(routes: Sequence[BaseRoute], mounts: tuple[Mount, ...]) -> Iterator[Route]:
    for route, holder in _effective(routes):
        if isinstance(route, Mount):
            inner = getattr(getattr(route, "_base_app", route.app), "routes", None) or ()
            yield from _leaves(inner, (*mounts, route))
        elif isinstance(route, StarletteRoute) and hasattr(holder, "app"):
            yield _leaf(route, holder, mounts)


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


_REST = ("query", ANY)


def _leaf(route: StarletteRoute, holder: Any, mounts: tuple[Mount, ...]) -> Route:
    path = getattr(holder, "path_format", route.path_format)
    endpoint = getattr(holder, "endpoint", route.endpoint)
    provider = getattr(holder, "dependency_overrides_provider", None)
    overrides = _overrides(provider)
    params: dict[tuple[str, str], Param] = {}
    credentials: dict[str, None] = {}
    for node in _tree(getattr(holder, "dependant", None), overrides):
        for param in declared(node):
            params.setdefault((param.where, param.name), param)
        credentials.update(dict.fromkeys(_security(node)))
    return Route(
        methods=frozenset(getattr(holder, "methods", None) or route.methods or {"GET"}),
        template="".join(mount.path for mount in mounts) + path,
        endpoint=f"{getattr(endpoint, '__module__', '')}.{getattr(endpoint, '__qualname__', repr(type(endpoint)))}",
        params=tuple(param for key, param in params.items() if key != _REST),
        credentials=tuple(credentials),
        holder=holder,
        exact_query=_REST in params,
        provider=provider,
        overrides=overrides,
        matched=route,
        mounts=mounts,
        decisive=_decisive(getattr(holder, "dependant", None), overrides),
    )


def _overrides(provider: Any) -> dict[Any, Any]:
    return dict(getattr(provider, "dependency_overrides", None) or {})


def _tree(dependant: Any, overrides: Mapping[Any, Any]) -> Iterator[Any]:
    if dependant is None:
        return
    yield dependant
    for child in dependant.dependencies:
        yield from _tree(_overridden(child, overrides), overrides)


def _decisive(dependant: Any, overrides: Mapping[Any, Any]) -> frozenset[str]:
    """The path and query parameters of the dependencies that read a credential, and of those that rest on one."""
    if dependant is None:
        return frozenset()
    children = (_overridden(child, overrides) for child in dependant.dependencies)
    return frozenset().union(*(_deciding(child, overrides)[1] for child in children))


def _deciding(dependant: Any, overrides: Mapping[Any, Any]) -> tuple[bool, frozenset[str]]:
    """Whether a dependency has to do with who asks, and the parameters that it and those below it go by then."""
    below = [_deciding(_overridden(child, overrides), overrides) for child in dependant.dependencies]
    own = tuple(declared(dependant))
    decides = (
        any(decides for decides, _ in below)
        or any(_security(dependant))
        or bool(dependant.request_param_name or dependant.http_connection_param_name)
        or any(param.where in ("header", "cookie") or is_carrier(param.name) for param in own)
    )
    found = frozenset().union(*(read for _, read in below))
    if not decides:
        return False, found
    return True, found | {f"{param.where}.{param.name}" for param in own if param.where in ("path", "query")}


def _overridden(dependant: Any, overrides: Mapping[Any, Any]) -> Any:
    """What runs in place of a dependency, or itself."""
    if dependant.call not in overrides:
        return dependant
    from fastapi.dependencies.utils import get_dependant

    return get_dependant(path=dependant.path or "", call=overrides[dependant.call])


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
