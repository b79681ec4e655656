"""Noticing what of a request the application's own code reads, beyond what its routes declare.

FastAPI and Starlette read headers on every request for reasons of their own (cookies, CORS); only a read from
a frame outside of them says that an answer may depend on it. What the application has taken in hand is noted
whoever looks into it: it may hand it on to the framework, as an answer or to a template.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult

from starlette import background, datastructures, requests

from cachewright.capture.context import CURRENT, RequestContext, Take

#: Modules that read on behalf of their caller.
_PASSED_OVER = frozenset(
    {"starlette.datastructures", "collections.abc", "_collections_abc", "typing", "copy", __name__}
)
_FRAMEWORKS = frozenset({"starlette", "fastapi", "uvicorn", "cachewright"})
#: It decides who may pass by what it reads.
_DECIDING = "starlette.authentication"
#: A scheme among the dependencies of a route is known; one that code calls by itself reads on its behalf.
_SCHEMES = "fastapi.security."
_SCOPE_ITEMS = {
    "headers": "headers",
    "query_string": "url",
    "raw_path": "url",
    "client": "client",
    "session": "session",
    "user": "session",
    "auth": "session",
}
_OWNED = "_cachewright_owned"


def _note(what: str, *, owned: bool = False) -> None:
    """Note a read if it was made from a frame of the application, or of something it has in hand (`owned`)."""
    context = CURRENT.get()
    if context is not None and (owned or _is_application(sys._getframe(1))):  # noqa: SLF001 - the interpreter's documented way to the caller
        context.read(what)


def _is_application(frame: Any) -> bool:
    """Whether the code that reads, through whatever reads on its behalf, is none of the framework's."""
    while True:
        module = str(frame.f_globals.get("__name__", ""))
        if frame.f_back is None or not (module in _PASSED_OVER or module.startswith(_SCHEMES)):
            return module.partition(".")[0] not in _FRAMEWORKS or module == _DECIDING
        if frame.f_code is _HEADERS_CODE:
            return False  # what is read of these headers is noted one by one
        frame = frame.f_back


def _noting(base: Any, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Methods of `base` that note a read of `what` first."""

    def method(original: Any) -> Any:
        def noted(self: Any, *arguments: Any, **named: Any) -> Any:
            _note(what)
            return original(self, *arguments, **named)

        return noted

    return {name: method(getattr(base, name)) for name in names}


#: Values of a scope that stay watched in the copies that a middleware makes of it.
_WatchedHeaders: Any = type(
    "_WatchedHeaders",
    (list,),
    _noting(
        list,
        "headers",
        ("__iter__", "__contains__", "__getitem__", "__len__", "__eq__", "__reversed__", "__repr__",
         "index", "count", "copy"),
    )
    | {"__add__": lambda self, other: _WatchedHeaders(list.__add__(self, other)), "__hash__": None},
)  # fmt: skip
_WatchedAddress: Any = type(
    "_WatchedAddress",
    (tuple,),
    _noting(tuple, "client", ("__iter__", "__contains__", "__getitem__", "__eq__", "__hash__", "__repr__")),
)
_WatchedText: Any = type(
    "_WatchedText",
    (bytes,),
    _noting(
        bytes,
        "url",
        ("__iter__", "__contains__", "__getitem__", "__len__", "__eq__", "__hash__", "__repr__", "__add__",
         "decode", "split", "rsplit", "partition", "rpartition", "startswith", "endswith", "find", "index", "count",
         "replace", "strip", "lower", "upper", "hex"),
    ),
)  # fmt: skip


def _note_item(scope: Any, key: str) -> None:
    """Note that this item of a scope was looked at; of the extensions only who holds a certificate matters."""
    if key in _SCOPE_ITEMS and key in scope:
        _note(_SCOPE_ITEMS[key])
    elif key == "extensions" and "tls" in (dict.get(scope, key) or ()):
        _note("client")


class WatchedScope(dict[str, Any]):
    """An ASGI scope that notices when application code looks into it directly."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__(scope)
        self["headers"] = scope["headers"]
        for name in ("query_string", "raw_path"):
            if type(given := super().get(name)) is bytes:
                super().__setitem__(name, _WatchedText(given))
        if isinstance(client := super().get("client"), (tuple, list)):
            super().__setitem__("client", _WatchedAddress(client))

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "headers" and not isinstance(value, _WatchedHeaders):
            value = _WatchedHeaders(value)
        super().__setitem__(key, value)

    def __getitem__(self, key: str) -> Any:
        _note_item(self, key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """See `dict.get`."""
        _note_item(self, key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """See `dict.pop`."""
        _note_item(self, key)
        return super().pop(key, *default)


_HEADERS_CODE = datastructures.Headers.__init__.__code__


class _WatchedCookies(dict[str, str]):
    """The cookies as application code took them in hand.

    C code looks into a dictionary unseen. So all of them count as read until one of them has been asked for by
    its name.
    """

    def __init__(self, cookies: Mapping[str, str], context: RequestContext) -> None:
        super().__init__(cookies)
        self._take = context.take("header:cookie")

    def _whole(self) -> None:
        self._take.whole()

    def _one(self, key: object) -> None:
        self._take.part(f"cookie:{key}")

    def __getitem__(self, key: str) -> str:
        self._one(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """See `dict.get`."""
        self._one(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self._one(key)
        return super().__contains__(key)

    def pop(self, key: str, *default: Any) -> Any:
        """See `dict.pop`."""
        self._one(key)
        return super().pop(key, *default)


def _whole_cookies(name: str) -> Any:
    original = getattr(dict, name)

    def method(self: _WatchedCookies, *arguments: Any) -> Any:
        self._whole()
        return original(self, *arguments)

    return method


for _name in ("__iter__", "__len__", "__eq__", "__or__", "__ror__", "__repr__", "__reversed__", "items", "values",
              "keys", "copy"):  # fmt: skip
    setattr(_WatchedCookies, _name, _whole_cookies(_name))


class _WatchedURL(datastructures.URL):
    """A request's URL of which the path may be read freely: key and route hold it already.

    Its host is what the header says, and counts as a read of that.
    """

    #: None for one that was made from another: what that took was read as a whole.
    take: Take | None = None

    @property
    def path(self) -> str:
        if self.take is not None:
            self.take.part(None)
        return super().components.path

    @property
    def netloc(self) -> str:
        return str(self._named().netloc)

    @property
    def hostname(self) -> str | None:
        return self._named().hostname

    def _named(self) -> SplitResult:
        if self.take is not None:
            self.take.part("header:host")
        return super().components

    @property
    def components(self) -> Any:
        if self.take is not None:
            self.take.whole()
        return super().components

    def __str__(self) -> str:
        if self.take is not None:
            self.take.whole()
        return super().__str__()


_WHOLE = ("__iter__", "__len__", "__eq__", "__repr__")


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
    for name in ("keys", "values", "items", *_WHOLE):
        replace(datastructures.Headers, name, _whole("headers"))
    for name in ("keys", "values", "items", "multi_items", "__str__", *_WHOLE):
        replace(datastructures.QueryParams, name, _whole("url"))
    replace(datastructures.Headers, "raw", _property("headers"))
    replace(requests.HTTPConnection, "__getitem__", _item)
    for name in ("headers", "query_params"):
        replace(requests.HTTPConnection, name, _taken)
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
                _note(f"{kind}:{key.lower() if kind == 'header' else key}", owned=_OWNED in self.__dict__)
            return original(self, key, *arguments)

        return method

    return build


def _whole(what: str) -> Callable[[Any], Any]:
    def build(original: Any) -> Any:
        def method(self: Any, *arguments: Any) -> Any:
            _note(what, owned=_OWNED in self.__dict__)
            return original(self, *arguments)

        return method

    return build


def _property(what: str) -> Callable[[Any], Any]:
    def build(original: property) -> property:
        def read(self: Any) -> Any:
            _note(what)
            return original.__get__(self)

        return property(read)

    return build


def _item(original: Any) -> Any:
    def item(self: Any, key: str) -> Any:
        _note_item(self.scope, key)
        return original(self, key)

    return item


def _taken(original: property) -> property:
    """Headers or query parameters: the application gets an object of its own, which tells of every look into it."""

    def read(self: Any) -> Any:
        found = original.__get__(self)
        if CURRENT.get() is None or not _is_application(sys._getframe(1)):  # noqa: SLF001 - see `_note`
            return found
        own = copy.copy(found)
        own.__dict__[_OWNED] = True
        return own

    return property(read)


def _cookies(original: property) -> property:
    def read(self: Any) -> Any:
        found, context = original.__get__(self), CURRENT.get()
        if context is None or not _is_application(sys._getframe(1)):  # noqa: SLF001 - see `_note`
            return found
        return _WatchedCookies(found, context)

    return property(read)


def _url(original: property) -> property:
    def read(self: Any) -> Any:
        found, context = original.__get__(self), CURRENT.get()
        if context is None or not _is_application(sys._getframe(1)):  # noqa: SLF001 - see `_note`
            return found
        own = _WatchedURL(found._url)  # noqa: SLF001 - its text, without a read of it
        own.take = context.take("url")
        return own

    return property(read)


def _background(original: Any) -> Any:
    def init(self: Any, *arguments: Any, **named: Any) -> None:
        context = CURRENT.get()
        if context is not None:
            context.background = True
        original(self, *arguments, **named)

    return init
