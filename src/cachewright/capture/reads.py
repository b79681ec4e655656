"""Noticing what of a request the application's own code reads, beyond what its routes declare.

FastAPI and Starlette read headers on every request for reasons of their own (cookies, CORS); only a read from
a frame outside of them says that an answer may depend on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette import background, datastructures, requests

from cachewright.capture.context import CURRENT

#: Modules that read on behalf of their caller.
_PASSED_OVER = frozenset(
    {"starlette.datastructures", "collections.abc", "_collections_abc", "typing", __name__}
)
_FRAMEWORKS = frozenset({"starlette", "fastapi", "uvicorn", "cachewright"})
_SCOPE_ITEMS = {
    "headers": "headers",
    "query_string": "url",
    "client": "client",
    "session": "session",
    "user": "session",
    "auth": "session",
}


def _note(what: str) -> None:
    """Note a read if it was made from a frame of the application."""
    context = CURRENT.get()
    if context is None:
        return
    frame = sys._getframe(1)  # noqa: SLF001 - the interpreter's documented way to the caller
    while frame.f_globals.get("__name__") in _PASSED_OVER and frame.f_back is not None:
        if frame.f_code is _HEADERS_CODE:
            return  # what is read of these headers is noted one by one
        frame = frame.f_back
    if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _FRAMEWORKS:
        context.read(what)


class _WatchedHeaders(list[tuple[bytes, bytes]]):
    """The raw headers of a scope; they stay watched in the copies that a middleware makes of the scope."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        _note("headers")
        return super().__iter__()

    def __contains__(self, item: object) -> bool:
        _note("headers")
        return super().__contains__(item)

    def __getitem__(self, at: Any) -> Any:
        _note("headers")
        return super().__getitem__(at)


class WatchedScope(dict[str, Any]):
    """An ASGI scope that notices when application code looks into it directly."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__(scope)
        self["headers"] = scope["headers"]

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "headers" and not isinstance(value, _WatchedHeaders):
            value = _WatchedHeaders(value)
        super().__setitem__(key, value)

    def __getitem__(self, key: str) -> Any:
        if key in _SCOPE_ITEMS:
            _note(_SCOPE_ITEMS[key])
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """See `dict.get`."""
        if key in _SCOPE_ITEMS and key in self:
            _note(_SCOPE_ITEMS[key])
        return super().get(key, default)


_HEADERS_CODE = datastructures.Headers.__init__.__code__


class _WatchedCookies(dict[str, str]):
    def __getitem__(self, key: str) -> str:
        _note(f"cookie:{key}")
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        _note(f"cookie:{key}")
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        _note(f"cookie:{key}")
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        _note("header:cookie")
        return super().__iter__()

    def items(self) -> Any:
        _note("header:cookie")
        return super().items()

    def values(self) -> Any:
        _note("header:cookie")
        return super().values()


class _WatchedURL(datastructures.URL):
    """A request's URL of which the path may be read freely: key and route hold it already."""

    @property
    def path(self) -> str:
        return super().components.path

    @property
    def components(self) -> Any:
        _note("url")
        return super().components

    def __str__(self) -> str:
        _note("url")
        return super().__str__()


def watch_reads() -> Callable[[], None]:
    """Watch every Starlette request of this process; returns what undoes it."""
    undo: list[Callable[[], None]] = []

    def replace(owner: type, name: str, build: Callable[[Any], Any]) -> None:
        original = owner.__dict__.get(name)
        inherited = getattr(owner, name)
        setattr(owner, name, build(original if original is not None else inherited))
        undo.append(
            (lambda: setattr(owner, name, original))
            if original is not None
            else (lambda: delattr(owner, name))
        )

    for name in ("__getitem__", "getlist", "__contains__"):
        replace(datastructures.Headers, name, _keyed("header"))
        replace(datastructures.QueryParams, name, _keyed("query"))
    for name in ("keys", "values", "items", "__iter__"):
        replace(datastructures.Headers, name, _whole("headers"))
    for name in ("keys", "values", "items", "multi_items", "__iter__", "__str__"):
        replace(datastructures.QueryParams, name, _whole("url"))
    replace(datastructures.Headers, "raw", _property("headers"))
    for name in ("session", "user", "auth"):
        replace(requests.HTTPConnection, name, _property("session"))
    replace(requests.HTTPConnection, "client", _property("client"))
    replace(requests.HTTPConnection, "cookies", _cookies)
    replace(requests.HTTPConnection, "url", _url)
    replace(background.BackgroundTask, "__init__", _background)

    def stop() -> None:
        for step in reversed(undo):
            step()

    return stop


def _keyed(kind: str) -> Callable[[Any], Any]:
    def build(original: Any) -> Any:
        def method(self: Any, key: Any, *arguments: Any) -> Any:
            if isinstance(key, str):
                _note(f"{kind}:{key.lower() if kind == 'header' else key}")
            return original(self, key, *arguments)

        return method

    return build


def _whole(what: str) -> Callable[[Any], Any]:
    def build(original: Any) -> Any:
        def method(self: Any) -> Any:
            _note(what)
            return original(self)

        return method

    return build


def _property(what: str) -> Callable[[Any], Any]:
    def build(original: property) -> property:
        def read(self: Any) -> Any:
            _note(what)
            return original.__get__(self)

        return property(read)

    return build


def _cookies(original: property) -> property:
    def read(self: Any) -> Any:
        if not isinstance(getattr(self, "_cookies", None), _WatchedCookies):
            self._cookies = _WatchedCookies(original.__get__(self))
        return self._cookies

    return property(read)


def _url(original: property) -> property:
    def read(self: Any) -> Any:
        if not isinstance(getattr(self, "_url", None), _WatchedURL):
            plain = original.__get__(self)
            self._url = _WatchedURL(plain._url)  # noqa: SLF001 - its text, without a read of it
        return self._url

    return property(read)


def _background(original: Any) -> Any:
    def init(self: Any, *arguments: Any, **named: Any) -> None:
        context = CURRENT.get()
        if context is not None:
            context.background = True
        original(self, *arguments, **named)

    return init
