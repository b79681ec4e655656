import itertools
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from cachewright.runtime.api import Cache
from cachewright.runtime.server import Server
from cachewright.runtime.settings import Settings
from cachewright.runtime.strategies import LocalVersions, SharedVersions

CALM = Settings(read_timeout=5.0, connect_timeout=5.0)


@pytest.fixture
async def make_cache(valkey_url) -> AsyncIterator:
    """Caches of one namespace on the shared server, each a process of its own as far as the protocol can tell."""
    made: list[Cache] = []
    namespace = f"t{uuid4().hex[:12]}"

    def make(url: str | None = valkey_url) -> Cache:
        made.append(Cache(url, namespace=namespace, settings=CALM))
        return made[-1]

    yield make
    for cache in made:
        await cache.aclose()


@pytest.fixture
async def shared_versions(valkey_url) -> AsyncIterator:
    """Versions that processes share."""
    server = Server(valkey_url, timeout=5.0)
    yield SharedVersions(server.send, f"t{uuid4().hex[:12]}:version:")
    await server.aclose()


@pytest.fixture(params=["local", "shared"])
def versions(request):
    """Versions of both kinds."""
    if request.param == "local":
        return LocalVersions(lambda: 0.0)
    return request.getfixturevalue("shared_versions")


class Table:
    """A database table as small as can be: rows with versions, and a record of every call."""

    def __init__(self) -> None:
        self.rows: dict[int, dict] = {}
        self.loads = 0
        self.stores: list[tuple] = []
        self.numbers = itertools.count(1)

    async def load(self, key: int):
        self.loads += 1
        row = self.rows.get(key)
        return None if row is None else dict(row)

    async def store(self, key: int, value: dict):
        """Commit, and answer with the row as it is now."""
        self.stores.append((key, value))
        self.rows[key] = {**value, "version": next(self.numbers)}
        return dict(self.rows[key])

    async def delete(self, key: int):
        self.rows.pop(key, None)

    async def store_newer(self, key: int, value: dict, version: int):
        """Commit unless the row is newer."""
        self.stores.append((key, value, version))
        if key in self.rows and self.rows[key]["version"] > version:
            return False
        self.rows[key] = {**value, "version": version}
        return None

    async def current(self, key: int):
        return self.rows[key]["version"] if key in self.rows else None


@pytest.fixture
def table() -> Table:
    return Table()
