"""Warming endpoints through the application itself: the same key and the same bytes as a request would give."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from cachewright.capture.asgi import ASGIApp, Message
from cachewright.errors import ApplicationError, UsageError
from cachewright.integrations.parts import OUTCOMES, Outcome
from cachewright.runtime.warming.warmer import Loader, WarmRequest
from cachewright.spec.target import Plan, Target

#: The headers of a request on behalf of these parameters (`user`, `tenant`, …): how the application knows people.
Identity = Callable[..., Mapping[str, str]]
#: Parameters of a query that say on whose behalf it is, and are none of the request.
WHO = ("user", "user_id", "tenant", "tenant_id")


class Warmth:
    """Makes warming requests, and sends them through `app`.

    `base_url` is where users reach the application: scheme and host are part of its keys. `warm_as` signs requests.
    `state` is that of the application's lifespan.
    """

    def __init__(
        self,
        app: ASGIApp,
        plan: Plan,
        *,
        state: Callable[[], Mapping[str, Any]] = dict,
        base_url: str | None = None,
        warm_as: Identity | None = None,
    ) -> None:
        self._app = app
        self._plan = plan
        self._base = urlsplit(base_url or "http://localhost")
        self._is_known = base_url is not None or plan.single_host
        self._warm_as = warm_as
        self._state = state

    def requests(self, name: str, params: Mapping[str, Any]) -> Iterable[WarmRequest]:
        """The request for the endpoint target `name` with these parameters. Raises `UsageError`."""
        target = next((one for one in self._plan.targets.values() if one.name == name), None)
        if target is None:
            raise UsageError(f"{name} is neither a loader nor a target", hint="register it with `loaders`")
        if not self._is_known:
            raise UsageError(
                "under which host the application is reached is not known",
                hint="set CACHEWRIGHT_WARM_URL, or consistency.single_host in the specification",
            )
        who = {key: params[key] for key in WHO if key in params and f"{{{key}}}" not in target.template}
        headers: Mapping[str, str] = {}
        if who:
            if self._warm_as is None:
                raise UsageError(
                    f"{name} is to be warmed for somebody, and nothing signs for them", hint=_SIGN
                )
            headers = self._warm_as(**who)
        given = {key: value for key, value in params.items() if key not in who}
        return [WarmRequest(_path(target, given), headers)]

    async def send(self, request: WarmRequest) -> str | None:
        """Send one request; why nothing was stored, None where it was, or was there already."""
        outcomes: list[Outcome] = []
        status = 0

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        path, _, query = request.path.partition("?")
        await self._app(self._scope(path, query, request.headers, outcomes), receive, send)
        if outcomes and outcomes[-1].hit:
            return None
        if outcomes and status in (200, 404) and not outcomes[-1].refused:
            return None
        why = ", ".join(outcomes[-1].refused) if outcomes and outcomes[-1].refused else f"status {status}"
        return f"{path}: {'not looked up' if not outcomes and status == 200 else why}"

    def _scope(
        self, path: str, query: str, headers: Mapping[str, str], outcomes: list[Outcome]
    ) -> dict[str, Any]:
        sent = {"host": self._base.netloc, "user-agent": "cachewright-warming", **headers}
        host, port = self._base.hostname or "localhost", self._base.port
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": self._base.scheme,
            "path": unquote(path),
            "raw_path": quote(path, safe="/%").encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in sent.items()
            ],
            "server": (host, port or (443 if self._base.scheme == "https" else 80)),
            "client": ("127.0.0.1", 0),
            "state": dict(self._state()),
            OUTCOMES: outcomes,
        }


_SIGN = (
    "Give `warm_as` to install, or CACHEWRIGHT_WARM_AS=module:function: it returns the headers of a request."
)


def _path(target: Target, given: Mapping[str, Any]) -> str:
    left = dict(given)
    path = target.template
    for key in given:
        if f"{{{key}}}" in path:
            path = path.replace(f"{{{key}}}", quote(str(left.pop(key)), safe=""))
    if "{" in path:
        raise UsageError(f"{target.name}: the path {path} lacks a parameter", hint="name it under `params`")
    query = urlencode({key: value for key, value in left.items() if value is not None})
    return f"{path}?{query}" if query else path


def named(place: str | None) -> Any:
    """What `module:attribute` names, None for nothing. Raises `ApplicationError`."""
    if not place:
        return None
    module, _, attribute = place.partition(":")
    try:
        found = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ApplicationError(
            f"{place} cannot be imported: {error}", hint="as in app.warming:LOADERS"
        ) from None
    return found


def checked_url(url: str | None) -> None:
    """Raise `UsageError` for what is no URL to warm under."""
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
        raise UsageError("the URL to warm under is no http or https URL", hint="as in https://api.example")


def checked_loaders(loaders: Mapping[str, Loader] | None) -> None:
    """Raise `UsageError` for a loader that cannot be called."""
    for name, loader in (loaders or {}).items():
        if not callable(loader) or inspect.isclass(loader):
            raise UsageError(f"the loader {name!r} cannot be called", hint="register a function")
