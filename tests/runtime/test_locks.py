"""Locks on real servers: one, and five of their own for RedLock."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator

import pytest
from tests.runtime.driving import until

from cachewright.errors import LockNotAcquiredError, StoreUnavailableError, UsageError
from cachewright.runtime.locks import Lock, LockServer, RedLock

PATIENT = 5.0


@pytest.fixture
async def locks(valkey_url, namespace) -> AsyncIterator:
    """Makes lock servers of one prefix, each a process of its own."""
    made = []

    def make(url: str = valkey_url) -> LockServer:
        made.append(LockServer(url, prefix=f"{namespace}:", timeout=PATIENT))
        return made[-1]

    yield make
    for server in made:
        await server.aclose()


@pytest.mark.requirement("#174")
async def test_one_at_a_time_and_the_next_after_release(locks):
    first, second = locks().lock("job"), locks().lock("job")
    assert await first.acquire()
    assert first.held
    assert 9 < first.remaining < 10
    assert not await second.acquire()
    assert not second.held
    assert await first.release()
    assert not first.held
    assert await second.acquire()
    await second.release()


async def test_ten_tasks_never_hold_it_together(locks):
    server, inside, most = locks(), 0, 0

    async def work():
        nonlocal inside, most
        async with server.lock("job", wait=60.0):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(10)))
    assert most == 1


async def test_waiting_ends_and_says_who_is_asked_for(locks):
    holder = locks().lock("job")
    await holder.acquire()
    with pytest.raises(LockNotAcquiredError, match="'job'"):
        async with locks().lock("job", wait=0.05):
            pytest.fail("it was held")
    await holder.release()


async def test_names_with_braces_are_locks_of_their_own(locks):
    server = locks()
    held = [server.lock(name) for name in ("a", "{a}", "a}b", "ä b", "a:b", "fence:a")]
    assert [await lock.acquire() for lock in held] == [True] * len(held)
    for lock in held:
        await lock.release()


async def test_it_ends_by_itself_where_nobody_renews_it(locks, server, namespace):
    lock = locks().lock("job", ttl=0.05, renew=False)
    await lock.acquire()
    await until(lambda: not server.exists(f"{namespace}:lock:{{job}}"))
    assert not lock.held
    assert not await lock.release()


async def test_it_is_renewed_as_long_as_it_is_held(locks, server, namespace):
    lock = locks().lock("job", ttl=0.6)
    async with lock:
        until_first = lock._until
        await until(lambda: lock._until > until_first + 0.6)
        assert lock.held
        assert server.exists(f"{namespace}:lock:{{job}}")


@pytest.mark.requirement("#174", "C35")
async def test_a_lock_that_was_taken_away_is_noticed_and_not_taken_back(locks, server, namespace):
    """The callback comes, and neither renewal nor release touches the lock of the next holder."""
    lost = []
    lock = locks().lock("job", ttl=0.3, on_lost=lost.append)
    await lock.acquire()
    server.set(f"{namespace}:lock:{{job}}", "another's")
    await until(lambda: lost)
    assert lost == ["job"]
    assert not lock.held
    assert not await lock.release()
    assert server.get(f"{namespace}:lock:{{job}}") == b"another's"


async def test_a_callback_that_fails_hides_nothing(locks, server, namespace, caplog):
    def fails(_name):
        raise ValueError("callback")

    lock = locks().lock("job", ttl=0.3, on_lost=fails)
    await lock.acquire()
    server.delete(f"{namespace}:lock:{{job}}")
    await until(lambda: "the callback for a lost lock failed" in caplog.text)
    assert not lock.held


async def test_a_server_that_falls_silent_loses_the_lock_before_it_ends_there(own_server):
    lost = []
    server = own_server()
    single = LockServer(server.url, timeout=0.1)
    lock = single.lock("job", ttl=1.0, on_lost=lost.append)
    await lock.acquire()
    with server.frozen():
        await until(lambda: lost)
        assert not lock.held
        with pytest.raises(StoreUnavailableError):
            await single.lock("other").acquire()
    await lock.release()
    await single.aclose()


async def test_the_fence_rises_over_releases_expiry_and_flush(locks, server, namespace):
    fences = []
    for forget in (None, None, "flush", None, "fence"):
        lock = locks().lock("job")
        await lock.acquire()
        fences.append(lock.fence)
        await lock.release()
        if forget == "flush":
            for key in server.scan_iter(f"{namespace}:*"):
                server.delete(key)
        elif forget == "fence":
            server.delete(f"{namespace}:fence:{{job}}")
    assert fences == sorted(set(fences))


async def test_a_fence_far_ahead_of_the_clock_is_exceeded_all_the_same(locks, server, namespace):
    """The clock of the server went back."""
    ahead = 2**52
    server.zadd(f"{namespace}:fence:{{job}}", {"f": ahead})
    lock = locks().lock("job")
    await lock.acquire()
    assert lock.fence == ahead + 1
    await lock.release()


async def test_a_late_writer_is_stopped_by_its_fence(locks, server, namespace, tmp_path):
    """The holder pauses, the lock ends, another takes it and writes: the late write finds no row."""
    with contextlib.closing(sqlite3.connect(tmp_path / "db")) as database:
        database.execute("CREATE TABLE job (id INTEGER PRIMARY KEY, result TEXT, fence INTEGER)")
        database.execute("INSERT INTO job VALUES (1, '', 0)")

        def write(result, fence):
            return database.execute(
                "UPDATE job SET result = :r, fence = :f WHERE id = 1 AND fence <= :f",
                {"r": result, "f": fence},
            ).rowcount

        paused, other = locks().lock("job", renew=False), locks().lock("job")
        await paused.acquire()
        server.delete(f"{namespace}:lock:{{job}}")
        await other.acquire()
        assert write("other's", other.fence) == 1
        assert write("late", paused.fence) == 0
        assert not await paused.release()
        assert await other.release()


async def test_a_server_without_compare_and_delete_does_as_well(own_server):
    """DELIFEQ is Valkey 9's; elsewhere WATCH on a connection of its own does the same."""
    plain = own_server(rename_command='DELIFEQ ""')
    single = LockServer(plain.url, timeout=PATIENT)
    lock, other = single.lock("job", ttl=0.6), single.lock("job")
    await lock.acquire()
    assert await lock.release()
    assert not single._compares
    await lock.acquire()
    first = lock._until
    await until(lambda: lock._until > first)
    with plain.client() as client:
        client.set("cachewright:lock:{job}", "another's")
    await until(lambda: not lock.held)
    assert not await lock.release()
    assert not await other.acquire()
    await single.aclose()


async def test_a_cancelled_acquisition_leaves_no_lock_behind(locks, server, namespace):
    single = locks()
    lock = single.lock("job")
    task = asyncio.create_task(lock.acquire())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await lock._tasks.finish(PATIENT)
    assert not server.exists(f"{namespace}:lock:{{job}}")


async def test_a_lock_is_not_reentrant_and_has_a_fence_only_once_it_was_acquired(locks):
    lock = locks().lock("job")
    with pytest.raises(LockNotAcquiredError):
        _ = lock.fence
    async with lock:
        with pytest.raises(UsageError, match="not reentrant"):
            await lock.acquire()
    with pytest.raises(UsageError, match="ends before it can be used"):
        Lock(locks(), "job", ttl=0.001)


@pytest.mark.parametrize("urls", [["redis://a"], ["redis://a", "redis://b"], ["redis://a"] * 3])
def test_redlock_is_refused_over_fewer_than_three_servers(urls):
    with pytest.raises(UsageError, match="at least 3 different servers"):
        RedLock(urls)


@pytest.fixture
def five(own_server):
    return [own_server() for _ in range(5)]


@pytest.fixture
async def redlock(five) -> AsyncIterator:
    made = []

    def make(timeout: float = PATIENT) -> RedLock:
        made.append(RedLock([server.url for server in five], timeout=timeout))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


@pytest.mark.requirement("#174", "C35")
async def test_redlock_is_one_at_a_time_with_rising_fences_and_gives_everything_back(redlock, five):
    first, second = redlock(), redlock()
    fences = []
    for ground in (first, second, first):
        lock, other = ground.lock("job"), (second if ground is first else first).lock("job")
        assert await lock.acquire()
        assert not await other.acquire()
        fences.append(lock.fence)
        assert await lock.release()
    assert fences == sorted(set(fences))
    await first._tasks.finish(PATIENT)
    await second._tasks.finish(PATIENT)
    assert [held(server) for server in five] == [0] * 5


def held(server) -> int:
    with server.client() as client:
        return client.exists("cachewright:lock:{job}")


async def test_redlock_does_not_wait_for_a_stopped_minority(redlock, five):
    """Two of five do not answer: the other three decide long before a timeout, and the fence still rises."""
    ground = redlock()
    async with ground.lock("job") as before:
        pass
    with five[0].frozen(), five[1].frozen():
        began = time.monotonic()
        lock = ground.lock("job")
        assert await lock.acquire()
        assert time.monotonic() - began < PATIENT / 2  # a wait for either of them would be all of it
        assert lock.fence > before.fence
        assert lock.held
    assert await lock.release()


async def test_redlock_is_not_had_from_a_minority(redlock, five):
    ground = redlock(timeout=0.3)
    with five[0].frozen(), five[1].frozen(), five[2].frozen():
        assert not await ground.lock("job").acquire()
    await until(lambda: [held(server) for server in five] == [0] * 5)


async def test_a_redlock_that_a_majority_forgot_is_lost(redlock, five):
    lost = []
    lock = redlock().lock("job", ttl=0.9, on_lost=lost.append)
    await lock.acquire()
    for server in five[:3]:
        with server.client() as client:
            client.flushall()
    await until(lambda: lost)
    assert not lock.held
    await lock.release()
