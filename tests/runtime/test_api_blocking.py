"""The cache for code without an event loop, and from loops that are not its own."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Iterator

import pytest

from cachewright import MISSING, BlockingCache, Cache, LoadOptions, Settings, UsageError
from cachewright.runtime import home

CALM = Settings(read_timeout=5.0, connect_timeout=5.0)


@pytest.fixture(params=["memory", "server"])
def url(request, valkey_url):
    return None if request.param == "memory" else valkey_url


@pytest.fixture
def cache(namespace, url):
    with BlockingCache(url, namespace=namespace, settings=CALM) as made:
        yield made


def test_a_program_without_a_loop_has_all_of_the_cache(cache):
    assert cache.get("k") is MISSING
    assert cache.set("k", [1], ttl=60, tags=("t",))
    assert cache.get("k") == [1]
    assert cache.set_many({"a": 1, "b": 2}) == 2
    assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}
    assert cache.delete("a") == 1
    assert cache.invalidate("t") == 1
    assert cache.get("k") is MISSING
    cache.set("user:1:tasks:page=1", 1)
    assert cache.invalidate_pattern("user:1:tasks:*") == 1
    cache.set("user:1:tasks:page=1", 1)
    assert cache.delete_user(1) == 1
    cache.set("tenant:a:stats", 1)
    cache.delete_tenant("a")
    cache.invalidate_all()
    assert cache.get_many(["b", "user:1:tasks:page=1", "tenant:a:stats"]) == {}
    assert cache.health().cache_status == "healthy"
    assert cache.get_stats().performance.hit_rate > 0


def test_a_load_runs_in_the_thread_that_asked(cache):
    threads = []

    def load() -> int:
        threads.append(threading.current_thread())
        return 7

    assert [cache.get_or_load("k", load), cache.get_or_load("k", load)] == [7, 7]
    assert threads == [threading.current_thread()]


def test_a_load_may_ask_the_cache_itself(cache):
    @cache.cached()
    def inner(number: int) -> int:
        return number + 1

    @cache.cached()
    def outer(number: int) -> int:
        return inner(number) * 2

    assert [outer(1), outer(1), inner(1)] == [4, 4, 2]


def test_what_a_load_raises_is_raised_interruptions_included(cache):
    def interrupt() -> int:
        raise KeyboardInterrupt

    with pytest.raises(ZeroDivisionError):
        cache.get_or_load("k", lambda: 1 // 0)
    with pytest.raises(KeyboardInterrupt):
        cache.get_or_load("k", interrupt)
    assert cache.get_or_load("k", lambda: 1) == 1


def test_a_load_in_the_background_has_a_thread_of_its_own(namespace):
    began, threads = threading.Event(), []

    def load() -> int:
        threads.append(threading.current_thread())
        if len(threads) == 2:
            began.set()
        return len(threads)

    with BlockingCache(namespace=namespace, settings=CALM) as cache:
        clock = cache._cache.engine._core
        now = clock.wall()
        options = LoadOptions(soft_ttl=10)
        clock.wall = lambda: now
        assert cache.get_or_load("k", load, ttl=100, options=options) == 1
        clock.wall = lambda: now + 50
        assert cache.get_or_load("k", load, ttl=100, options=options) == 1
        assert began.wait(20)
        assert threads[0] is threading.current_thread()
        assert threads[1] is not threading.current_thread()


async def test_a_blocking_call_on_a_loop_is_refused(cache):
    for call in (cache.close, lambda: cache.get("k"), lambda: cache.get_or_load("k", lambda: 1)):
        with pytest.raises(UsageError, match="loop"):
            call()


async def test_a_thread_uses_the_cache_of_a_running_loop(namespace, url):
    async with Cache(url, namespace=namespace, settings=CALM) as cache:
        blocking = BlockingCache(cache=cache)
        await cache.set("k", 1)
        assert await asyncio.to_thread(blocking.get, "k") == 1
        await asyncio.to_thread(blocking.set, "k", 2)
        assert await cache.get("k") == 2
        assert await asyncio.to_thread(blocking.delete, "k") == 1
        assert await cache.get("k") is MISSING


def test_several_loops_use_one_cache_each_with_loads_of_its_own(namespace, url):
    cache, loops = Cache(url, namespace=namespace, settings=CALM), []
    ready, done = threading.Event(), threading.Event()

    async def load() -> int:
        loops.append(asyncio.get_running_loop())
        return len(loops)

    async def first() -> None:
        assert await cache.get_or_load("a", load) == 1
        ready.set()
        await asyncio.to_thread(done.wait, 20)
        assert await cache.get("b") == 2
        await cache.aclose()

    async def second() -> None:
        assert await cache.get_or_load("a", load) == 1
        assert await cache.get_or_load("b", load) == 2
        assert loops[1] is asyncio.get_running_loop()
        assert await cache.delete("a") == 1

    thread = threading.Thread(target=asyncio.run, args=(first(),))
    thread.start()
    assert ready.wait(20)
    asyncio.run(second())
    done.set()
    thread.join(20)
    assert not thread.is_alive()
    assert loops[0] is not loops[1]


def test_a_cache_moves_to_the_next_loop_when_its_own_has_ended(namespace, url):
    cache = Cache(url, namespace=namespace, settings=CALM)

    async def use(number: int) -> object:
        async with cache:
            before = await cache.get("k")
            await cache.set("k", number)
            return before

    assert asyncio.run(use(1)) is MISSING
    assert asyncio.run(use(2)) == 1
    with BlockingCache(cache=cache) as blocking:
        assert blocking.get("k") == 2
        blocking.set("k", 3)
    assert asyncio.run(use(4)) == 3


def test_a_cache_in_memory_survives_a_loop_that_ended_without_a_word(namespace):
    cache = Cache(namespace=namespace)
    assert asyncio.run(cache.set("k", 1))
    assert asyncio.run(cache.get_or_load("k", lambda: 2)) == 1
    with BlockingCache(cache=cache) as blocking:
        assert blocking.get("k") == 1


async def test_a_loop_that_waits_for_the_very_thread_does_not_hang_it(namespace, valkey_url, monkeypatch):
    monkeypatch.setattr(home, "_PATIENCE", 0.01)
    async with Cache(valkey_url, namespace=namespace, settings=CALM) as cache:

        @cache.cached()
        def number() -> int:
            return 7

        answers = []
        thread = threading.Thread(target=lambda: answers.append(number()))
        thread.start()
        thread.join(20)  # on the loop itself, which therefore answers nobody
        assert answers == [7]


@pytest.fixture
def left_open() -> Iterator[None]:
    """What a loop left open when it ended is collected here, unsaid, and not in whatever test comes later."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the collector may come while the test still runs
@pytest.mark.usefixtures("left_open")
def test_a_loop_that_ends_while_others_use_its_cache_fails_and_hangs_nobody(namespace, valkey_url):
    cache = Cache(valkey_url, namespace=namespace, settings=CALM)
    started, ended = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def first() -> None:
        async def own() -> None:
            await cache.set("k", 1)
            started.set()
            await asyncio.sleep(0.2)

        asyncio.run(own())
        ended.set()

    def other(name: str) -> None:
        async def use() -> None:
            number = 0
            while not ended.is_set() or number < 3:
                number += ended.is_set()
                key = f"{name}.{number}"
                load = cache.get_or_load(key, lambda key=key: asyncio.sleep(0.01, key), tags=("t",))
                assert await asyncio.wait_for(load, 10) == key
                await asyncio.wait_for(cache.invalidate("t"), 10)

        started.wait()
        try:
            asyncio.run(use())
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it was
            failures.append(error)

    def blocking(name: str) -> None:
        started.wait()
        own = BlockingCache(cache=cache)
        try:
            while not ended.is_set():
                assert own.get_or_load(name, lambda: name, tags=("t",)) == name
                own.invalidate("t")
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it was
            failures.append(error)

    users = [
        threading.Thread(target=use, args=(f"{use.__name__}{n}",))
        for n in range(3)
        for use in (other, blocking)
    ]
    for thread in (*users, owner := threading.Thread(target=first)):
        thread.start()
    for thread in (owner, *users):
        thread.join(60)
    assert failures == []
    assert not any(thread.is_alive() for thread in users)
    BlockingCache(cache=cache).close()
