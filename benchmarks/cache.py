"""The cache as code uses it, beside others and beside the plain client of the server: ratios measured in one run.

    python benchmarks/cache.py [--only memory,decorated,server,tag,sweep,room] [--rounds 7] [--entries 1000000]

Those that are compared take turns, and what is shown is the median of the ratios of each turn, so that they share
whatever else the machine does. What is not installed (`uv pip install --group bench`) is left out.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests' server

from tests.servers import valkey

from cachewright import MISSING, Cache
from cachewright.runtime.settings import Settings

Call = Callable[[int], Awaitable[object]]
_US = 1e6
_MS = 1e3
TEXT = "x" * 100
KILOBYTE = "x" * 1024
#: Patient, so that a busy machine does not look like a server that is away.
CALM = Settings(read_timeout=5.0, connect_timeout=5.0)


def show(what: str, figure: float, unit: str, bar: str = "") -> None:
    """One line of the table."""
    print(f"{what:66} {figure:10.2f} {unit:7} {bar}", flush=True)


async def seconds(call: Call, times: int, callers: int = 1) -> float:
    """How long `times` calls of each of so many callers take, all together."""

    async def caller(number: int) -> None:
        for _ in range(times):
            await call(number)

    began = time.perf_counter()
    if callers == 1:
        await caller(0)
    else:
        await asyncio.gather(*(caller(number) for number in range(callers)))
    return time.perf_counter() - began


async def beside(
    calls: Mapping[str, Call], *, rounds: int, times: int, callers: int = 1
) -> dict[str, tuple[float, float]]:
    """Of each call its best time (s), and the median over the rounds of its time as a multiple of the first one's."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            spent = await seconds(call, times, callers)
            if number:  # the first round warms up
                took[name].append(spent / times / callers)
    first = next(iter(took.values()))
    return {
        name: (min(own), statistics.median(one / other for one, other in zip(own, first, strict=True)))
        for name, own in took.items()
    }


async def memory(rounds: int) -> None:
    """A hit in this process's memory, by key."""
    async with Cache(namespace="bench") as cache:
        await cache.set("text", TEXT)
        await cache.set("dict", {"id": 1, "tags": ["a", "b"], "name": TEXT})

        async def nothing(_: int) -> None:
            return

        calls: dict[str, Call] = {
            "an empty coroutine": nothing,
            "get, a text": lambda _: cache.get("text"),
            "get, a dict, made anew": lambda _: cache.get("dict"),
            "get_or_load, a text": lambda _: cache.get_or_load("text", lambda: TEXT),
        }
        for name, (best, _) in (await beside(calls, rounds=20 * rounds, times=500)).items():
            show(f"memory: {name}", best * _US, "µs", "≤ 2" if name == "get, a text" else "")


async def decorated(rounds: int) -> None:
    """A hit of a decorated function, ours and others'."""
    async with Cache(namespace="bench") as cache:

        @cache.cached(300, key="perm:{tenant}:{user}")
        async def permissions(tenant: str, user: int) -> str:
            return f"{tenant}{user}{TEXT}"

        calls: dict[str, Call] = {"ours": lambda _: permissions("acme", 7)}
        if find_spec("cashews") is not None:
            calls["cashews"] = _cashews("mem://")
        if find_spec("aiocache") is not None:
            calls["aiocache"] = _aiocache()
        found = await beside(calls, rounds=10 * rounds, times=200)
        bars = {"cashews": "≥ 15", "aiocache": "≥ 8"}
        show("decorated function, hit in memory: ours", found["ours"][0] * _US, "µs")
        for name in [name for name in found if name != "ours"]:
            show(f"decorated function: {name} / ours", found[name][1], "×", bars[name])


def _cashews(url: str) -> Call:
    from cashews import Cache as Cashews

    cache = Cashews()
    cache.setup(url)

    @cache(ttl=300, key="perm:{tenant}:{user}")
    async def permissions(tenant: str, user: int) -> str:
        return f"{tenant}{user}{TEXT}"

    return lambda _: permissions("acme", 7)


def _aiocache() -> Call:
    from aiocache import cached as aiocached

    @aiocached(ttl=300)
    async def permissions(tenant: str, user: int) -> str:
        return f"{tenant}{user}{TEXT}"

    return lambda _: permissions("acme", 7)


@asynccontextmanager
async def over(url: str, **options: Any) -> AsyncIterator[Cache]:
    """A cache that asks the server at every read."""
    async with Cache(url, namespace="bench", levels=("l2",), settings=CALM, **options) as cache:
        yield cache


async def server(rounds: int) -> None:
    """A hit on the server, validated by its tags, beside a plain GET of as many bytes."""
    from redis.asyncio import Redis

    with valkey() as url:
        raw = Redis.from_url(url, max_connections=64)
        async with over(url) as cache:
            for number in range(64):
                await raw.set(f"raw{number}", KILOBYTE)
                await cache.set(f"k{number}", KILOBYTE)
            calls: dict[str, Call] = {
                "plain GET": lambda number: raw.get(f"raw{number}"),
                "ours": lambda number: cache.get(f"k{number}"),
            }
            one = await beside(calls, rounds=rounds, times=400)
            show("server, 1 caller: ours / plain GET, time", one["ours"][1], "×", "≤ 1.4")
            many = await beside(calls, rounds=rounds, times=20, callers=64)
            show(
                "server, 64 callers, a key each: ours / plain GET, throughput",
                1 / many["ours"][1],
                "×",
                "≥ 4",
            )
            calls["ours"] = lambda _: cache.get("k0")
            same = await beside(calls, rounds=rounds, times=20, callers=64)
            show("server, 64 callers, one key: ours / plain GET, throughput", 1 / same["ours"][1], "×", "≥ 4")
        await raw.aclose()


async def tag(rounds: int, entries: int) -> None:
    """Invalidating a tag, by how many entries hold it."""
    with valkey() as url:
        async with over(url) as cache:
            await cache.set("k", TEXT, tags=("few",))
            for at in range(0, entries, 2000):
                many = {f"many:{number}": TEXT for number in range(at, min(at + 2000, entries))}
                await cache.set_many(many, tags=("many",))
            calls: dict[str, Call] = {
                "few": lambda _: cache.invalidate("few"),
                "many": lambda _: cache.invalidate("many"),
            }
            found = await beside(calls, rounds=5 * rounds, times=20)
            show("invalidate a tag of one entry", found["few"][0] * _US, "µs")
            show(f"invalidate a tag of {entries:,} entries / of one", found["many"][1], "×", "≤ 1.5")
            assert await cache.get("many:0") is MISSING


async def sweep(_: int) -> None:
    """100,000 entries in memory that have ended leave it: how long the event loop waits at most."""
    settings = Settings(l1_items=100_000, l1_bytes=1 << 30, sweep_interval=0.2)
    longest = {}
    for what, ttl in (("that live on", 3600.0), ("that have ended", 0.001)):
        async with Cache(namespace="bench", settings=settings) as cache:
            for at in range(0, 100_000, 1000):
                await cache.set_many({f"k{number}": TEXT for number in range(at, at + 1000)}, ttl=ttl)
            gc.collect()
            gc.disable()
            held = cache.engine.memory
            longest[what] = await _longest_stall(lambda held=held: len(held) == 0)
            assert (len(held) == 0) == (ttl < 1)
            gc.enable()
    async with Cache(namespace="bench"):
        idle = await _longest_stall(lambda: False)
    show("an idle loop: longest stall", idle * _MS, "ms")
    for what, stall in longest.items():
        show(f"sweep of 100,000 entries {what}: longest stall", stall * _MS, "ms", "≤ 2")


async def _longest_stall(until: Callable[[], bool]) -> float:
    """The longest that other work kept this thread busy between two turns of its loop, in three seconds at most (s).

    It is the thread's own time: what the machine gives to others meanwhile is not the sweep's.
    """
    longest, began = 0.0, time.perf_counter()
    while time.perf_counter() - began < 3.0 and not until():
        before = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
    return longest


async def room(_: int) -> None:
    """What an entry takes in memory beside the bytes of its value."""
    import tracemalloc

    from cachewright.runtime.codec import Entry
    from cachewright.runtime.settings import Bounds
    from cachewright.runtime.stores.memory import MemoryStore

    count = 50_000
    gc.collect()
    tracemalloc.start()
    store = MemoryStore(Bounds(count, 1 << 30))
    before, tokens = tracemalloc.get_traced_memory()[0], {"ns": b"t" * 16, "tasks": b"u" * 16}
    now = time.time()
    for number in range(count):
        payload = (b"%6d" % number) * 20
        entry = Entry.of(
            f"tasks:user={number}", loaded_at=now + number, expires_at=now + number + 60, tokens=tokens,
            variant=None, payload=payload,
        )  # fmt: skip
        store.put(entry, now + number, now=now)
    entry = payload = None
    show(
        "memory store: bytes an entry beside its value",
        (tracemalloc.get_traced_memory()[0] - before) / count - 120,
        "bytes",
        "≤ 400",
    )
    del store
    settings = Settings(l1_items=count, l1_bytes=1 << 30)
    async with Cache(namespace="bench", settings=settings) as cache:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for at in range(0, count, 500):
            await cache.set_many({f"task:{number}": f"{number:6}" * 20 for number in range(at, at + 500)})
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        assert len(cache.engine.memory) == count
        show("through `set`, with a tag and a token of its own key: the same", grown / count - 120, "bytes")
    tracemalloc.stop()


async def measure(only: list[str], rounds: int, entries: int) -> None:
    """Run what is asked for."""
    sections: dict[str, Callable[[int], Awaitable[None]]] = {
        "memory": memory,
        "decorated": decorated,
        "server": server,
        "tag": lambda number: tag(number, entries),
        "sweep": sweep,
        "room": room,
    }
    for name, section in sections.items():
        if name in only:
            await section(rounds)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="memory,decorated,server,tag,sweep,room")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--entries", type=int, default=1_000_000)
    given = parser.parse_args()
    asyncio.run(measure(given.only.split(","), given.rounds, given.entries))


if __name__ == "__main__":
    main()
