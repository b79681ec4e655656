"""A process that accepts writes and prints each one it has acknowledged: to be killed.

`python accepting.py JOURNAL DATABASE accept|replay`. JOURNAL is a directory, or the URL of a Redis.
"""

import asyncio
import sqlite3
import sys
import threading
import time
from contextlib import closing

from cachewright.runtime.api import Cache
from cachewright.runtime.strategies import Resource, WriteBack

KEYS = 1000


class Rows:
    """A table with a version in each row, and a record of what reached it in which order."""

    def __init__(self, path: str, pause: float) -> None:
        self._pause = pause
        self._one = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")  # the machine does not fail here, the process does
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS rows (key INTEGER PRIMARY KEY, value TEXT, version INTEGER)"
        )
        self._database.execute("CREATE TABLE IF NOT EXISTS seen (key INTEGER, version INTEGER)")

    def load(self, key: int) -> str | None:
        with self._one:
            row = self._database.execute("SELECT value FROM rows WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def store(self, key: int, value: str, version: int) -> bool:
        time.sleep(self._pause)
        with self._one:
            self._database.execute("BEGIN IMMEDIATE")
            changed = self._database.execute(
                "INSERT INTO rows VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE "
                "SET value = ?2, version = ?3 WHERE version <= ?3",
                (key, value, version),
            ).rowcount
            self._database.execute("INSERT INTO seen VALUES (?, ?)", (key, version))
            self._database.execute("COMMIT")
        return changed == 1

    def close(self) -> None:
        self._database.close()


def resource(cache: Cache, journal: str, rows: Rows) -> Resource:
    plan = WriteBack(journal=journal, batch=10**6, interval=3600.0, limit=10**6, drain=60.0)
    return Resource(
        cache, "rows", load=rows.load, store=rows.store, strategy=plan, ttl=60.0, key_type=int, value_type=str
    )


async def accept(journal: str, rows: Rows) -> None:
    async with Cache(None) as cache:
        own = resource(cache, journal, rows)

        async def write(key: int, value: str) -> None:
            written = await own.set(key, value)
            sys.stdout.write(f"{key} {value} {written.version}\n")

        for first in range(0, KEYS, 50):
            await asyncio.gather(*(write(key, "first") for key in range(first, first + 50)))
        assert own.backlog().pending == KEYS
        sys.stdout.write("pending\n")
        sys.stdout.flush()
        storing = asyncio.create_task(own.flush(3600.0))
        number = 0
        while True:
            await asyncio.gather(*(write((number * 7 + n) % KEYS, f"later{number}") for n in range(20)))
            sys.stdout.flush()
            number += 1
            assert not storing.cancelled()


async def replay(journal: str, rows: Rows) -> None:
    async with Cache(None) as cache:
        own = resource(cache, journal, rows)
        await own.start()
        sys.stdout.write(f"found {own.backlog().pending}\n")
        assert await own.flush(60.0)
        await own.aclose()
    sys.stdout.write("stored\n")


if __name__ == "__main__":
    _, where, database, what = sys.argv
    work, pause = {"accept": (accept, 0.01), "replay": (replay, 0.0)}[what]
    with closing(Rows(database, pause)) as rows:
        asyncio.run(work(where, rows))
