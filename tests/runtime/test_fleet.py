import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from tests.runtime.driving import request, until
from tests.runtime.test_loads import Database, counted

from cachewright.runtime.fleet import Landed, Lease
from cachewright.runtime.flight import Alone
from cachewright.runtime.loads import Loaded, Loads
from cachewright.spec.semantics import Policy

FLEET = Policy(ttl=60.0, identity_ttl=30.0, jitter=0.0, single_flight="fleet")
LOADING = str(Path(__file__).with_name("loading.py"))
FLIGHT = ("tasks", None, (b"token",), ("tasks",))


class Process:
    """One process of a fleet; see `loading`."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child

    def hear(self, word: str) -> list[str]:
        """Wait for a line that begins with `word`; the rest of it."""
        for line in self.child.stdout:
            said = line.split()
            if said and said[0] == word:
                return said[1:]
        raise AssertionError(f"it ended without a word of {word!r}")

    def go(self) -> None:
        self.child.stdin.write("go\n")
        self.child.stdin.flush()


@contextmanager
def process(
    url: str, namespace: str, *, callers: int, seconds: float, lease: float = 30.0
) -> Iterator[Process]:
    child = subprocess.Popen(
        [sys.executable, LOADING, url, namespace, str(callers), str(seconds), str(lease)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        started = Process(child)
        started.hear("ready")
        yield started
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def commands(client: redis.Redis) -> dict[str, int]:
    """How often each command was called that is not of a connection's keeping."""
    stats = client.info("commandstats")
    own = {"mget", "set", "unlink", "pexpire", "publish", "get", "exists"}
    return {name[8:]: found["calls"] for name, found in stats.items() if name[8:] in own}


def test_four_processes_with_a_hundred_callers_load_once(own_server):
    server, namespace = own_server(), f"t{uuid4().hex[:12]}"
    with ExitStack() as stack, server.client() as client:
        fleet = [
            stack.enter_context(process(server.url, namespace, callers=25, seconds=0.5)) for _ in range(4)
        ]
        client.config_resetstat()
        for each in fleet:
            each.go()
        answers = [each.hear("got") for each in fleet]
        spent = commands(client)
    assert len({tuple(answer) for answer in answers}) == 1
    assert len(answers[0]) == 1
    assert sum(spent.values()) / 100 < 5


def test_a_waiting_process_spends_fewer_than_five_commands(own_server):
    server, namespace = own_server(), f"t{uuid4().hex[:12]}"
    with (
        process(server.url, namespace, callers=1, seconds=1.0) as leader,
        process(server.url, namespace, callers=25, seconds=1.0) as waiter,
        server.client() as client,
    ):
        leader.go()
        leader.hear("loading")
        client.config_resetstat()
        waiter.go()
        assert waiter.hear("got") == leader.hear("got") == [str(leader.child.pid)]
        spent = commands(client)
    # the leader's own: a SET that fills, a SET that settles, one PUBLISH
    assert spent.pop("publish") == 1
    spent["set"] -= 2
    spent.pop("pexpire", None)
    assert spent == {"mget": spent["mget"], "set": 1}
    assert sum(spent.values()) < 5


def test_a_leader_that_is_killed_is_replaced_when_its_lease_is_over(own_server):
    server, namespace = own_server(), f"t{uuid4().hex[:12]}"
    with (
        process(server.url, namespace, callers=1, seconds=60.0, lease=0.5) as leader,
        process(server.url, namespace, callers=5, seconds=0.0, lease=0.5) as waiter,
    ):
        leader.go()
        leader.hear("loading")
        waiter.go()
        leader.child.kill()
        assert waiter.hear("got") == [str(waiter.child.pid)]


async def test_a_leader_that_is_cancelled_gives_its_lease_back_at_once(make_cache):
    first, second = await make_cache(fleet_lease=60.0), await make_cache(fleet_lease=60.0)
    stuck, database = Database(), Database()
    stuck.gate.clear()
    leader = asyncio.create_task(Loads(first).get_or_load(request(), FLEET, stuck))
    await until(lambda: stuck.running == 1)
    waiter = asyncio.create_task(Loads(second).get_or_load(request(), FLEET, database))
    await until(lambda: second.fleet._waiting)
    leader.cancel()
    assert await waiter == Loaded(b"1", None)
    with pytest.raises(asyncio.CancelledError):
        await leader


async def test_a_leader_that_fails_lets_another_process_try(make_cache):
    first, second = await make_cache(fleet_lease=60.0), await make_cache(fleet_lease=60.0)
    failing, database = Database(), Database()
    failing.down = OSError("away")
    failing.gate.clear()
    leader = asyncio.create_task(Loads(first).get_or_load(request(), FLEET, failing))
    await until(lambda: failing.running == 1)
    waiter = asyncio.create_task(Loads(second).get_or_load(request(), FLEET, database))
    await until(lambda: second.fleet._waiting)
    failing.gate.set()
    with pytest.raises(OSError, match="away"):
        await leader
    assert await waiter == Loaded(b"1", None)


async def test_a_load_that_may_not_be_shared_sends_the_others_off_at_once(make_cache):
    first, second = await make_cache(fleet_lease=60.0), await make_cache(fleet_lease=60.0)
    private, database = Database(fill=False), Database(fill=False)
    private.gate.clear()
    leader = asyncio.create_task(Loads(first).get_or_load(request(), FLEET, private))
    await until(lambda: private.running == 1)
    waiter = asyncio.create_task(Loads(second).get_or_load(request(), FLEET, database))
    await until(lambda: second.fleet._waiting)
    private.gate.set()
    assert (await leader, await waiter) == (Loaded(b"1", None), Loaded(b"1", None))


async def test_a_caller_with_newer_tokens_waits_for_nobody(make_cache):
    first, second = await make_cache(fleet_lease=60.0), await make_cache(fleet_lease=60.0)
    older, newer = Database(), Database()
    older.gate.clear()
    leader = asyncio.create_task(Loads(first).get_or_load(request(), FLEET, older))
    await until(lambda: older.running == 1)
    await second.invalidate(["tasks"])
    assert await Loads(second).get_or_load(request(), FLEET, newer) == Loaded(b"1", None)
    older.gate.set()
    await leader
    assert (await Loads(second).get_or_load(request(), FLEET, newer)).tier is not None


async def test_past_its_soft_end_one_process_of_the_fleet_loads_anew(make_cache):
    now = [1_000_000.0]
    caches = [await make_cache(wall=lambda: now[0], fleet_lease=60.0) for _ in range(3)]
    soft = Policy(ttl=60.0, identity_ttl=30.0, jitter=0.0, single_flight="fleet", soft_ttl=10.0)
    loads, database = [Loads(cache) for cache in caches], Database()
    for each in loads:
        await each.get_or_load(request(), soft, database)
    now[0] += 11
    database.gate.clear()
    for each in loads:
        await each.get_or_load(request(), soft, database)
    await until(lambda: database.running == 1 and sum(len(cache.refreshes) for cache in caches) == 1)
    database.gate.set()
    await until(lambda: sum(counted(cache)["refreshes"] for cache in caches) == 1)
    assert database.loads == 2


async def test_a_lease_is_kept_while_its_load_takes_long(make_cache):
    first, second = await make_cache(fleet_lease=0.3), await make_cache(fleet_lease=0.3)
    lease = await first.fleet.join(FLIGHT)
    assert isinstance(lease, Lease)
    waiting = asyncio.create_task(second.fleet.join(FLIGHT))
    done, _ = await asyncio.wait((waiting,), timeout=1.0)
    assert not done
    lease.end(filled=True)
    assert await waiting is Landed.LANDED


async def test_who_does_not_wait_goes_alone(make_cache):
    first, second = await make_cache(), await make_cache()
    assert isinstance(await first.fleet.join(FLIGHT), Lease)
    assert await second.fleet.join(FLIGHT, wait=False) == Alone()


async def test_what_ended_says_so_to_who_comes_just_after(make_cache):
    """It read before the fill and asks for the lease after it."""
    first, second = await make_cache(), await make_cache()
    lease = await first.fleet.join(FLIGHT)
    lease.end(filled=True)
    await until(lambda: not first.fleet._tasks or len(first.fleet._tasks) == 0)
    assert await second.fleet.join(FLIGHT) is Landed.LANDED


async def test_without_word_of_the_end_the_store_is_asked(make_cache, server, namespace):
    first, second = await make_cache(fleet_lease=0.6), await make_cache(fleet_lease=0.6)
    lease = await first.fleet.join(FLIGHT)
    waiting = asyncio.create_task(second.fleet.join(FLIGHT))
    await until(lambda: second.fleet._waiting)
    second._core.heard = lambda _now: False
    second.fleet.ended = lambda flights: None
    lease.end(filled=False)
    assert await waiting == Alone()


async def test_with_the_store_away_everybody_loads_alone(make_cache, own_server):
    server = own_server()
    cache = await make_cache(server.url, read_timeout=0.1, connect_timeout=0.1)
    with server.frozen():
        assert await cache.fleet.join(FLIGHT) == Alone()
