"""Warming endpoints through the application itself: the same key and the same bytes as a request would give."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal
from urllib.parse import quote, unquote, urlencode, urlsplit

from cachewright.capture.asgi import ASGIApp, Message
from cachewright.errors import ApplicationError, UsageError
from cachewright.integrations.parts import OUTCOMES, WARMING, Outcome
from cachewright.runtime.warming.warmer import Loader, WarmRequest
from cachewright.spec.target import Plan, Target

#: The headers of a request on behalf of these parameters (`user`, `tenant`, …): how the application knows people.
Identity = Callable[..., Mapping[str, str]]
#: Parameters of a query that say on whose behalf it is, and are none of the request.
WHO = ("user", "user_id", "tenant", "tenant_id")
#: Why a request is sent that no user sends.
Purpose = Literal["warmed", "refilled", "predicted"]
PREDICTED: Purpose = "predicted"
_OK = 200
_TRIES, _WAIT_SECONDS = 5, 0.2


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a request that was sent to warm with: its status, and what the cache did (None: nothing)."""

    status: int
    outcome: Outcome | None

    @property
    def found(self) -> bool:
        """Whether it was there already."""
        return self.outcome is not None and self.outcome.hit

    @property
    def stored(self) -> bool:
        """Whether it is there now."""
        return self.outcome is not None and (self.outcome.hit or self.outcome.stored)

    @property
    def overtaken(self) -> bool:
        """Whether it may be stored in a moment: its tags were held, or changed while it was loaded."""
        return (
            not self.stored and self.outcome is not None and self.status == _OK and not self.outcome.refused
        )


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
        return [WarmRequest(path_of(target, given), headers)]

    async def send(self, request: WarmRequest) -> str | None:
        """Send one request; why nothing was stored, None where it was, or was there already."""
        sent = await self.ask(request)
        for _ in range(_TRIES):
            if not sent.overtaken:
                break
            await asyncio.sleep(_WAIT_SECONDS)
            sent = await self.ask(request)
        return None if sent.stored else f"{request.path.partition('?')[0]}: {_why(sent)}"

    async def ask(self, request: WarmRequest, purpose: Purpose = "warmed") -> Sent:
        """Send one request, and see what became of it."""
        outcomes: list[Outcome] = []
        status = 0

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        scope = {**self._scope(request), OUTCOMES: outcomes, WARMING: purpose}
        await self._app(scope, receive, send)
        return Sent(status, outcomes[-1] if outcomes else None)

    def _scope(self, request: WarmRequest) -> dict[str, Any]:
        path, _, query = request.path.partition("?")
        sent = {"host": self._base.netloc, "user-agent": "cachewright-warming", **request.headers}
        scheme = request.scheme or self._base.scheme
        host, port = self._base.hostname or "localhost", self._base.port
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": scheme,
            "path": unquote(path),
            "raw_path": quote(path, safe="/%").encode(),
            "query_string": query.encode(),
            "root_path": request.root_path,
            "headers": [
                (key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in sent.items()
            ],
            "server": (host, port or (443 if scheme == "https" else 80)),
            "client": ("127.0.0.1", 0),
            "state": dict(self._state()),
        }


def _why(sent: Sent) -> str:
    """Why nothing was stored."""
    if sent.outcome is None:
        return "not looked up" if sent.status == _OK else f"status {sent.status}"
    if sent.overtaken:
        return "what it rests on changes too often"
    return ", ".join(sent.outcome.refused) or f"status {sent.status}"


_SIGN = (
    "Give `warm_as` to install, or CACHEWRIGHT_WARM_AS=module:function: it returns the headers of a request."
)


def path_of(target: Target, given: Mapping[str, Any]) -> str:
    """The path and query string of `target` with these parameters. Raises `UsageError` where one is missing."""
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
