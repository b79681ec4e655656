"""Programs that fork after they made, or used, a cache. Each says on its standard output what its children saw."""

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

from cachewright import BlockingCache, Cache, Settings
from cachewright.runtime.strategies import WriteBack

CALM = Settings(read_timeout=5.0, connect_timeout=5.0, l1_lease=30.0)
#: A child that takes so long hangs.
HANG = 20.0


def child(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        sys.stdout.write(f"{work()}\n")
        sys.stdout.flush()
    finally:
        os._exit(0)


def made_before(url: str, namespace: str) -> None:
    """As a server that loads the application, and then forks its workers: what one writes the other drops."""
    cache = Cache(url, namespace=namespace, settings=CALM)
    (filled, fill), (written, write) = os.pipe(), os.pipe()

    async def reader() -> str:
        async with cache:
            await cache.get_or_load("k", lambda: "old", tags=("t",))
            os.write(fill, b".")
            await asyncio.to_thread(os.read, written, 1)
            deadline = time.monotonic() + HANG
            while cache.peek("k") == "old" and time.monotonic() < deadline:
                await asyncio.sleep(0.001)
            return await cache.get_or_load("k", lambda: "new", tags=("t",))

    async def writer() -> str:
        async with cache:
            os.read(filled, 1)
            changed = await cache.invalidate("t")
            os.write(write, b".")
            return f"changed {changed}"

    for one in (child(lambda: asyncio.run(reader())), child(lambda: asyncio.run(writer()))):
        os.waitpid(one, 0)


def loop_runs(url: str, namespace: str) -> None:
    """A loop that runs when the process forks: it does not run in the child, which has a loop of its own."""
    cache = Cache(url, namespace=namespace, settings=CALM)

    def used() -> list[object]:
        saw: list[object] = [cache.peek("k")]

        async def use() -> None:
            saw.append(await cache.get_or_load("k", lambda: 0))
            saw.append(await cache.get_or_load("other", lambda: 2))

        def thread() -> None:
            asyncio.run(asyncio.wait_for(use(), HANG))
            saw.append(BlockingCache(cache=cache).get_or_load("third", lambda: 3))

        apart = threading.Thread(target=thread, daemon=True)
        apart.start()
        apart.join(2 * HANG)
        return saw

    async def parent() -> None:
        async with cache:
            await cache.set("k", 1)
            await asyncio.to_thread(os.waitpid, child(used), 0)
            sys.stdout.write(f"{await cache.get('other')}\n")

    asyncio.run(parent())


def lock_taken(url: str, namespace: str) -> None:
    """A thread that is in the midst of something when the process forks: it will never let go in the child."""
    cache = BlockingCache(url, namespace=namespace, settings=CALM)
    cache.set("k", 1)
    locks = [cache._cache.engine.tokens._lock, cache._cache.engine.memory._lock, cache._cache.home._lock]
    for lock in locks:
        lock.acquire()
    pid = child(lambda: [cache.get("k"), cache.set("k", 2), cache.get("k"), cache.invalidate("none")])
    for lock in locks:
        lock.release()
    os.waitpid(pid, 0)
    sys.stdout.write(f"{cache.get_or_load('k', lambda: 0)}\n")
    cache.close()


def written_back(url: str, namespace: str) -> None:
    """A resource that writes back, in use when the process forks: parent and child store what each has accepted."""
    cache = Cache(url, namespace=namespace, settings=CALM)
    with tempfile.TemporaryDirectory() as name:
        table = Path(name, "table")

        def store(key: int, value: str, version: int) -> bool:
            with table.open("a") as file:
                file.write(f"{key}={value}\n")
            return True

        plan = WriteBack(journal=str(Path(name, "journal")), interval=3600.0, batch=10**6)
        rows = cache.resource("rows", load=lambda key: None, store=store, strategy=plan, ttl=60)

        async def writes(key: int, value: str) -> str:
            await asyncio.wait_for(rows.set(key, value), HANG)
            return f"{await rows.get(key)} {rows.backlog().pending}"

        async def in_child() -> str:
            async with cache:
                return await writes(2, "child")

        async def parent() -> None:
            async with cache:
                await writes(1, "parent")
                await asyncio.to_thread(os.waitpid, child(lambda: in_thread(in_child)), 0)
                sys.stdout.write(f"{table.read_text().split()} {await writes(3, 'parent')}\n")

        asyncio.run(parent())
        sys.stdout.write(f"{sorted(table.read_text().split())} {list(Path(name, 'journal').iterdir())}\n")


def in_thread(work: Callable[[], Coroutine[object, object, object]]) -> object:
    """The result of `work` on a loop of its own: the thread that forked seems to run one."""
    said: list[object] = []
    apart = threading.Thread(target=lambda: said.append(asyncio.run(work())), daemon=True)
    apart.start()
    apart.join(2 * HANG)
    return said[0]


if __name__ == "__main__":
    programs = (made_before, loop_runs, lock_taken, written_back)
    {program.__name__: program for program in programs}[sys.argv[1]](*sys.argv[2:])
