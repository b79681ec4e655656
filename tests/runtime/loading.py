"""One process of a fleet: it starts when it is told to, and says who loaded."""

import asyncio
import os
import sys

from cachewright.runtime.engine import Engine
from cachewright.runtime.loads import Brought, Loads
from cachewright.runtime.questions import LookupRequest
from cachewright.runtime.settings import Settings, boottime
from cachewright.spec.semantics import Policy

REQUEST = LookupRequest("GET /tasks", "tasks", ("ns", "tasks"))
POLICY = Policy(ttl=60.0, identity_ttl=30.0, single_flight="fleet")


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def main(url: str, namespace: str, callers: int, seconds: float, lease: float) -> None:
    settings = Settings(read_timeout=5.0, connect_timeout=5.0, fleet_lease=lease, topology_interval=60.0)
    cache = Engine(namespace, redis_url=url, settings=settings)
    await cache.start()
    while not cache._core.heard(boottime()):
        await asyncio.sleep(0.001)
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)

    async def load() -> Brought:
        say("loading")
        await asyncio.sleep(seconds)
        return Brought(str(os.getpid()).encode())

    loads = Loads(cache)
    got = await asyncio.gather(*(loads.get_or_load(REQUEST, POLICY, load) for _ in range(callers)))
    say("got", *sorted({each.payload.decode() for each in got}))
    await asyncio.to_thread(sys.stdin.readline)
    await cache.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
