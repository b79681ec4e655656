"""Whether an application's routing can be remembered: a function of method, path, root path and host, and nothing else.

Nothing here matches a path. The application's own router says which route a request takes; what it said may be
repeated while every table it looked at is the same, and only where all code that took part is the framework's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from starlette.routing import Mount

from cachewright.capture.routes import Route

_FRAMEWORK = frozenset(
    {
        "starlette.routing",
        "starlette.applications",
        "starlette.convertors",
        "fastapi.routing",
        "fastapi.applications",
    }
)
#: Layers that leave a response alone which is no error, and have no business with a request without a body.
_INERT = frozenset(
    {
        "starlette.middleware.errors",
        "starlette.middleware.exceptions",
        "starlette.middleware.body_limit",
        "fastapi.middleware.asyncexitstack",
        "fastapi._body_limit",
        "fastapi.telemetry._asgi",
    }
)
#: What routers put into a scope for one route: the same for every request that takes it.
_PLACED = frozenset(
    {"router", "route", "endpoint", "path_params", "root_path", "app_root_path", "fastapi", "app"}
)
#: What layers of a mounted application keep there for themselves.
_KEPT = frozenset({"starlette.exception_handlers", "fastapi_middleware_astack"})
_MOST_LAYERS = 20


@dataclass(frozen=True, slots=True)
class Placed:
    """What routing put into a scope that held `root_path`, under the version of the route tables at that time."""

    version: int
    root_path: str
    items: Mapping[str, Any]

    def put(self, scope: MutableMapping[str, Any]) -> None:
        """Leave `scope` as routing leaves it: middleware may look into it once it was answered."""
        scope.update({k: dict(v) if isinstance(v, dict) else v for k, v in self.items.items()})


class Routing:
    """The routing of the application `root`."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._router = getattr(root, "router", None)
        self._root_path: str | None = None
        self._tables: tuple[tuple[Any, Any], ...] = ()
        self._plain = False
        self._leaves: dict[Route, bool] = {}
        self.version = 0

    def settled(self) -> bool:
        """Whether the route tables hold the very same routes as when `version` was counted."""
        for table, known in self._tables:
            if table != known:
                return False
        return getattr(self._root, "root_path", None) == self._root_path

    def placed(self, route: Route, given: Mapping[str, Any], taken: Mapping[str, Any]) -> Placed | None:
        """What may be repeated of the way from the router, which was `given` this scope, to `route`.

        `taken` is the scope as the route got it. None where anything but the framework's own routing took part.
        """
        if not self.version or not self.settled():
            self._look()
        if not self._plain or not isinstance(taken, dict) or not self._is_direct(route):
            return None
        items = {
            key: value
            for key, value in dict.items(taken)
            if key not in _KEPT and (key not in given or given[key] is not value)
        }
        if not items.keys() <= _PLACED:
            return None
        return Placed(self.version, given.get("root_path", ""), items)

    def _is_direct(self, route: Route) -> bool:
        """Whether a request reaches `route` through routing alone."""
        plain = self._leaves.get(route)
        if plain is None:
            plain = self._leaves[route] = _is_leaf(route.matched)
        return plain and all(_is_plain_mount(mount) for mount in route.mounts)

    def _look(self) -> None:
        self._leaves.clear()
        self._root_path = getattr(self._root, "root_path", None)
        routers = list(_routers(self._router)) if self._router is not None else []
        tables = [router.routes for router in routers]
        self._plain = bool(routers) and all(_is_plain_router(router) for router in routers)
        self._plain = self._plain and all(_own(route, "matches") for table in tables for route in table)
        self._tables = tuple((table, list(table)) for table in tables)
        self.version += 1


def is_bare(app: Any, root: Any) -> bool:
    """Whether nothing but inert layers of the framework stands between `app` and the router of `root`."""
    router = getattr(root, "router", None)
    layer = app
    for _ in range(_MOST_LAYERS):
        if layer is None or router is None:
            return False
        if layer is router:
            return True
        if layer is root:
            if not _own(layer, "__call__") or _is_traced(layer):
                return False
            layer = layer.middleware_stack
        elif _own(layer, "__call__", modules=_INERT):
            layer = layer.app
        else:
            return False
    return False


def plain_stack(router: Any) -> bool:
    """Whether a router has no middleware of its own, so that whatever it runs is its routing."""
    return (
        _own(router, "__call__", "app")
        and getattr(router, "middleware_stack", None) == getattr(router, "app", ())
    )  # fmt: skip


def _routers(router: Any) -> Iterator[Any]:
    """`router` and all those it passes requests on to, as far as they can be seen."""
    seen: set[int] = set()
    waiting = [router]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or not isinstance(getattr(found, "routes", None), list):
            continue
        seen.add(id(found))
        yield found
        for route in found.routes:
            if isinstance(route, Mount):
                inner = getattr(route, "_base_app", route.app)
                waiting.append(getattr(inner, "router", inner))
            elif hasattr(route, "original_router"):
                waiting.append(route.original_router)


def _is_plain_router(router: Any) -> bool:
    return all(_own(router, name) for name in ("app", "handle", "matches") if hasattr(router, name))


def _is_leaf(route: Any) -> bool:
    return _own(route, "matches") and _own(route, "handle") and _own_convertors(route)


def _is_plain_mount(mount: Any) -> bool:
    """Whether a mount adds nothing but its path: another router, or an application without middleware."""
    if not _is_leaf(mount) or mount.app is not getattr(mount, "_base_app", None):
        return False
    inner = mount.app
    router = getattr(inner, "router", inner)
    return plain_stack(router) and (router is inner or is_bare(inner, inner))


def _is_traced(app: Any) -> bool:
    telemetry = getattr(app, "_native_telemetry", None)
    return telemetry is not None and bool(telemetry.enabled())


def _own_convertors(route: Any) -> bool:
    return all(_own(convertor, "convert") for convertor in getattr(route, "param_convertors", {}).values())


def _own(thing: Any, *names: str, modules: frozenset[str] = _FRAMEWORK) -> bool:
    """Whether these methods of `thing` are the framework's, in all its classes, and not replaced on itself."""
    return all(
        name not in getattr(thing, "__dict__", {}) and _all_from(type(thing), name, modules) for name in names
    )


def _all_from(kind: type, name: str, modules: frozenset[str]) -> bool:
    """A wrapper may copy the name of the module of what it wraps; the globals of its code tell where it is from."""
    found = [vars(each)[name] for each in kind.__mro__ if name in vars(each)]
    return bool(found) and all(
        isinstance(function, FunctionType) and function.__globals__.get("__name__") in modules
        for function in found
    )
