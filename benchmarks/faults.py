"""What faults of the server cost the requests of an application, measured: a table, and exit code 1 over a bar.

    python benchmarks/faults.py [--only hang,cluster,sentinel,bus]

Real servers run on loopback and are killed, stopped or cut off while callers go on asking through `Cache`. A request is
failed where it raises, late where it takes more than twice the read timeout, wrong where it shows less than the last
invalidation that had returned before it began. The bars are those of a quiet machine.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests' servers

from tests.runtime.asking import Asked, Truth, ask_on, write_on
from tests.runtime.conftest import OwnServer
from tests.runtime.proxy import Proxy
from tests.runtime.topologies import ClusterOfThree, Node, SentinelTrio

from cachewright import MISSING, Cache
from cachewright.runtime.settings import Settings
from cachewright.runtime.stores.names import Names

NAMESPACE = "faults"
READ_TIMEOUT = 0.05
LATE = 2 * READ_TIMEOUT
KEYS = 30
_MS = 1000.0


@dataclass
class Bars:
    """What was measured beside what it may be."""

    missed: list[str] = field(default_factory=list)

    def show(self, what: str, measured: float, bar: float | None = None, unit: str = "") -> None:
        """Print one figure; over `bar` it is missed."""
        text = f"{what:58} {measured:10.3f} {unit:4}"
        if bar is not None:
            text += f" ≤ {bar:g}"
            if measured > bar:
                text += "  MISSED"
                self.missed.append(what)
        print(text, flush=True)


@asynccontextmanager
async def stalls(bars: Bars, title: str) -> AsyncIterator[None]:
    """Show beside the rest how long the machine kept this very loop from running: no request can be quicker."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began - 0.001)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
    bars.show(f"{title}: the machine held the loop up meanwhile", _MS * longest, None, "ms")


def settings() -> Settings:
    """Those of a specification that says nothing, but for the interval of its repeats."""
    return Settings(read_timeout=READ_TIMEOUT, connect_timeout=2 * READ_TIMEOUT, replay_interval=0.1)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Cache]:
    """A cache without copies in memory, so that every read asks the server."""
    async with Cache(url, namespace=NAMESPACE, levels=("l2",), settings=settings()) as cache:
        yield cache


async def hang(bars: Bars) -> None:
    """One server: stopped, killed, and behind a network that swallows everything."""
    for fault in ("stopped", "killed", "swallowed"):
        server = OwnServer()
        server.start()
        proxy = Proxy(server.port)
        async with proxy.open(), opened(proxy.url if fault == "swallowed" else server.url) as cache:
            await cache.set("k", 1)
            assert await cache.get("k") == 1
            if fault == "stopped":
                with server.frozen():
                    await _asked_during(cache, bars, fault)
            elif fault == "killed":
                server.kill()
                await _asked_during(cache, bars, fault)
                server.start()
            else:
                proxy.swallows = True
                await _asked_during(cache, bars, fault)
                proxy.swallows = False
            await _back(cache)
        if server._server is not None:  # noqa: SLF001 - the tests' own server
            server.kill()


async def _asked_during(cache: Cache, bars: Bars, fault: str) -> None:
    """The longest read before and after the breaker opened; the store is struggling once it has."""
    store = cache.engine.store
    assert store is not None
    before, after = [0.0], []
    failed = 0
    async with stalls(bars, f"server {fault}"):
        while len(after) < 200:
            is_open, began = store.struggling, time.monotonic()
            try:
                await cache.get_or_load("k", lambda: 2)
            except Exception:  # noqa: BLE001 - what is counted
                failed += 1
            (after if is_open and store.struggling else before).append(time.monotonic() - began)
            await asyncio.sleep(0)
    bars.show(f"server {fault}: failed requests", failed, 0)
    bars.show(f"server {fault}: longest request until the breaker opens", _MS * max(before), _MS * LATE, "ms")
    # once a second one request finds out whether the server is back
    bars.show(f"server {fault}: longest of 200 requests after that", _MS * max(after), 5, "ms")


async def _back(cache: Cache) -> None:
    for _ in range(2000):
        if await cache.set("k", 1) and await cache.get("k") is not MISSING:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the server was never used again")


async def cluster(bars: Bars) -> None:
    """A Cluster with a node timeout of 2,000 ms: a primary is killed, another one stopped."""
    with tempfile.TemporaryDirectory() as name:
        servers = ClusterOfThree(Path(name), node_timeout=2000)
        try:
            servers.start()
            for fault in ("killed", "stopped"):
                await asyncio.to_thread(servers.settle)
                primary = servers.owner(Names(NAMESPACE, spread=True, colocate="entity").place("e:k0"))
                await _through(
                    bars,
                    f"cluster, primary {fault}",
                    servers.url,
                    primary=primary,
                    fault=fault,
                    is_there=_on(servers, primary),
                )
        finally:
            servers.stop()


def _on(servers: ClusterOfThree, primary: Node) -> Callable[[str], bool]:
    names = Names(NAMESPACE, spread=True, colocate="entity")
    return lambda key: servers.owner(names.place(f"e:{key}")) is primary


async def sentinel(bars: Bars) -> None:
    """A primary behind Sentinel is killed, another time stopped."""
    for fault in ("killed", "stopped"):
        with tempfile.TemporaryDirectory() as name:
            servers = SentinelTrio(Path(name))
            try:
                servers.start()
                await _through(
                    bars,
                    f"sentinel, primary {fault}",
                    servers.url,
                    primary=servers.primary(),
                    fault=fault,
                    is_there=lambda _: True,
                )
            finally:
                servers.stop()


async def _through(
    bars: Bars, title: str, url: str, *, primary: Node, fault: str, is_there: Callable[[str], bool]
) -> None:
    """Ask and write on while `primary` is lost and another one takes over."""
    keys = [f"k{number}" for number in range(KEYS)]
    there = [key for key in keys if is_there(key)]
    elsewhere = [key for key in keys if key not in there]
    truth, hit, others, end = Truth.of(keys), Asked(LATE), Asked(LATE), asyncio.Event()
    gaps: list[float] = []
    async with opened(url) as reader, opened(url) as writer:
        work: list[Awaitable[None]] = [
            asyncio.create_task(ask_on(reader, there, truth, hit, end)),
            asyncio.create_task(write_on(writer, there[:5], truth, gaps, end)),
        ]
        if elsewhere:
            work.append(asyncio.create_task(ask_on(reader, elsewhere, truth, others, end)))
        await asyncio.sleep(1.0)
        stopped = primary.frozen() if fault == "stopped" else None
        if stopped is None:
            primary.kill()
        else:
            stopped.__enter__()
        try:
            async with stalls(bars, title):
                await asyncio.sleep(8.0)
        finally:
            if stopped is not None:
                stopped.__exit__(None, None, None)
            end.set()
            await asyncio.gather(*work)
        window = writer.engine.stats.snapshot()["promotion_seconds"]
    bars.show(f"{title}: failed requests of {len(hit.took)}", hit.failed + others.failed, 0)
    bars.show(f"{title}: wrong answers", hit.wrong + others.wrong, 0)
    bars.show(f"{title}: time with late requests", hit.gap(), 5.0, "s")
    if elsewhere:
        bars.show(f"{title}: the same, other primaries", others.gap(), 0.6, "s")
    bars.show(f"{title}: until a write is taken again", max(gaps, default=0.0), 5.0, "s")
    if window["count"]:
        bars.show(
            f"{title}: from the last word of the old one to the replay",
            window["seconds"] / window["count"],
            None,
            "s",
        )


async def bus(bars: Bars, count: int) -> None:
    """From the return of an invalidation until another process has dropped its copy."""
    server = OwnServer()
    server.start()
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--listen", server.url, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdin is not None
        assert child.stdout is not None
        lags: list[float] = []
        async with Cache(server.url, namespace=NAMESPACE, settings=settings()) as cache:
            for number in range(count):
                await cache.set("k", number)
                child.stdin.write(b"watch\n")
                await child.stdout.readline()  # it holds a copy
                await cache.invalidate_all()
                returned = time.monotonic()
                lags.append(max(0.0, float(await child.stdout.readline()) - returned))
            child.stdin.write_eof()
            await child.wait()
    finally:
        server.kill()
    thousandths = statistics.quantiles(lags, n=1000)
    bars.show(f"bus: lag of a copy elsewhere, median of {count}", _MS * statistics.median(lags), None, "ms")
    bars.show("bus: p99", _MS * thousandths[989], None, "ms")
    bars.show("bus: p99.9", _MS * thousandths[998], 20, "ms")


async def listen(url: str) -> None:
    """The other process: holds a copy when told to, and says when it is gone."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with Cache(url, namespace=NAMESPACE, settings=Settings(l1_lease=60.0)) as cache:
        while await lines.readline():
            while await cache.get("k") is MISSING or cache.peek("k") is MISSING:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0)
            print("held", flush=True)
            while cache.peek("k") is not MISSING:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0)
            print(time.monotonic(), flush=True)


async def measure(only: Sequence[str], count: int) -> int:
    """Run what is asked for; the exit code."""
    bars = Bars()
    for name, scenario in (("hang", hang), ("cluster", cluster), ("sentinel", sentinel)):
        if name in only:
            await scenario(bars)
    if "bus" in only:
        await bus(bars, count)
    if bars.missed:
        print(f"missed: {'; '.join(bars.missed)}")
    return 1 if bars.missed else 0


def main() -> None:
    """Run the benchmark, or its other process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="hang,cluster,sentinel,bus")
    parser.add_argument("--words", type=int, default=3000, help="how many invalidations the bus carries")
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.listen is not None:
        asyncio.run(listen(given.listen))
        return
    sys.exit(asyncio.run(measure(given.only.split(","), given.words)))


if __name__ == "__main__":
    main()
