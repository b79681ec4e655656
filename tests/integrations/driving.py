"""Driving a cached application in this process, and asking the same application without its cache."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx

from cachewright.integrations.edge import UNCACHED
from cachewright.integrations.install import Installed
from cachewright.integrations.parts import OUTCOMES, Outcome
from cachewright.integrations.surroundings import Surroundings
from cachewright.runtime.settings import boottime
from cachewright.spec.document import Document, loads_spec


def patience(milliseconds: int) -> dict[str, Any]:
    """A configuration that waits so long for the server, at most."""
    return {"redis": {"socket_timeout_ms": milliseconds, "socket_connect_timeout_ms": milliseconds}}


def specification(*targets: dict[str, Any], **extra: Any) -> Document:
    """A specification in a namespace of its own; a target without a key gets one by its place.

    It is patient with the server: a busy machine must not look like one that is away.
    """
    for at, target in enumerate(targets):
        target.setdefault("cache_key_pattern", f"target{at}")
        target.setdefault("levels", ["l1", "l2"])
    body = {
        "namespace": f"n{uuid4().hex}",
        "configuration": patience(5000),
        **extra,
        "cache_targets": list(targets),
    }
    return loads_spec(json.dumps({"caching_specification": body}))


def get(
    path: str, *depends_on: str, key: str | None = None, scope: str = "public", **extra: Any
) -> dict[str, Any]:
    """A target for `GET path`."""
    target = {"endpoint": f"GET {path}", "scope": scope, "depends_on": list(depends_on), **extra}
    return {**target, "cache_key_pattern": key} if key else target


class Driver:
    """A client of a cached application."""

    def __init__(self, app: Any, base_url: str = "http://test") -> None:
        self.outcomes: list[Outcome] = []
        self._app = app
        self._cached = self._client({OUTCOMES: self.outcomes}, base_url)
        self._plain = self._client({UNCACHED: True}, base_url)

    def _client(self, extra: dict[str, Any], base_url: str) -> httpx.AsyncClient:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self._app({**scope, **extra}, receive, send)

        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=base_url)

    async def send(self, method: str, url: str, **options: Any) -> httpx.Response:
        """A request; its outcome, if the route is cached, is the last of `outcomes`."""
        self._cached.cookies.clear()
        return await self._cached.request(method, url, **options)

    async def get(self, url: str, **options: Any) -> httpx.Response:
        return await self.send("GET", url, **options)

    async def hit(self, url: str, **options: Any) -> bool:
        """Whether this read is answered from the cache; the answer is the one the application gives itself."""
        before = len(self.outcomes)
        cached = await self.get(url, **options)
        self._plain.cookies.clear()
        plain = await self._plain.request("GET", url, **options)
        assert (cached.status_code, cached.content) == (plain.status_code, plain.content)
        assert sorted(cached.headers.multi_items()) == sorted(plain.headers.multi_items())
        return len(self.outcomes) > before and self.outcomes[-1].hit

    async def caches(self, url: str, **options: Any) -> bool:
        """Whether the second of two reads is a hit."""
        await self.hit(url, **options)
        return await self.hit(url, **options)

    @property
    def refused(self) -> tuple[str, ...]:
        """Why the last load was not filled."""
        return tuple(str(reason) for reason in self.outcomes[-1].refused)

    async def aclose(self) -> None:
        await self._cached.aclose()
        await self._plain.aclose()


@asynccontextmanager
async def driven(
    app: Any, document: Document, *, base_url: str = "http://test", wait: bool = True, **around: Any
) -> AsyncIterator[Driver]:
    """`app` cached as `document` says, started by its first request. Without `redis_url` in its own memory.

    With one it is not used before the cache hears of others' invalidations, unless `wait` is false.
    """
    installed = Installed(app, document, Surroundings(**{"workers": 1, **around}))
    driver = Driver(installed, base_url)
    driver.installed = installed
    try:
        if wait and "redis_url" in around:
            await driver.get("/no/such/path")
            await listening(installed)
        yield driver
    finally:
        await driver.aclose()
        await installed.aclose()


async def listening(installed: Installed) -> None:
    """Return once the cache hears of the invalidations of others: what is loaded before that is not kept."""
    async with asyncio.timeout(10):
        while not installed.cache._core.heard(boottime()):
            await asyncio.sleep(0.01)


async def uninstall(app: Any) -> None:
    """Close what `install` put into `app`."""
    layer = app.middleware_stack
    while not hasattr(layer, "_installed"):
        layer = layer.app
    await layer._installed.aclose()
