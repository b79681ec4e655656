"""Functions whose results are cached: keys from declared parameters, signatures kept, `async def` and `def`."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import Depends, FastAPI

from cachewright import Cache, Settings, UsageError, principal

CALM = Settings(read_timeout=5.0, connect_timeout=5.0)


@pytest.fixture(params=["memory", "server"])
async def cache(request, namespace, valkey_url):
    url = None if request.param == "memory" else valkey_url
    async with Cache(url, namespace=namespace, settings=CALM) as made:
        yield made


@pytest.fixture
async def memory(namespace):
    async with Cache(namespace=namespace) as made:
        yield made


class Colour(Enum):
    RED = "red"


class Session:
    pass


@pytest.mark.requirement("#41", "#326")
async def test_a_coroutine_function_runs_once_for_the_same_arguments_however_they_are_given(cache):
    """An omitted default is filled in, and a keyword is the same as a position."""
    calls = []

    @cache.cached(ttl_seconds=60)
    async def tasks(user: int, limit: int = 10, *, done: bool = False) -> list[int]:
        calls.append((user, limit, done))
        return [user, limit]

    for asked in (tasks(1), tasks(1, 10), tasks(user=1), tasks(1, limit=10, done=False)):
        assert await asked == [1, 10]
    assert await tasks(1, 20) == [1, 20]
    assert calls == [(1, 10, False), (1, 20, False)]


@pytest.mark.requirement("#325")
async def test_what_it_is_stays_what_it_was(memory):
    async def tasks(user: int, *, limit: int = 3) -> list[int]:
        """All of them."""
        return []

    wrapped = memory.cached()(tasks)
    assert (wrapped.__name__, wrapped.__doc__, wrapped.__wrapped__) == ("tasks", "All of them.", tasks)
    assert inspect.signature(wrapped) == inspect.signature(tasks)
    assert inspect.iscoroutinefunction(wrapped)
    with pytest.raises(TypeError):
        await wrapped()
    with pytest.raises(TypeError):
        await wrapped(1, user=2)
    with pytest.raises(TypeError):
        await wrapped(1, other=2)


#: Pairs that ordinary key templates take for one another.
PAIRS = [
    (("acme", "admins:bob"), ("acme:admins", "bob")),
    ((None, "x"), ("", "x")),
    ((None, "x"), ("None", "x")),
    ((True, "x"), ("true", "x")),
    ((True, "x"), ("True", "x")),
    ((True, "x"), (1, "x")),
    ((1, "x"), ("1", "x")),
    ((1, "x"), (1.0, "x")),
    ((["a", "b"], "x"), ("a:b", "x")),
    ((["a", "b"], "x"), (["a,b"], "x")),
    (([1], "x"), ([True], "x")),
    (({"a": 1}, "x"), ("a:1", "x")),
    (({"a": 1}, "x"), ({"a": "1"}, "x")),
    ((b"ab", "x"), ("ab", "x")),
    (("a b", "x"), ("a%20b", "x")),
    (("*", "x"), ("?", "x")),
    ((Decimal("1.0"), "x"), (Decimal("1.00"), "x")),
    ((date(2026, 1, 1), "x"), (datetime(2026, 1, 1, tzinfo=UTC), "x")),
    ((UUID(int=1), "x"), (str(UUID(int=1)), "x")),
    ((("a", None), "x"), (("a", ""), "x")),
]


@pytest.mark.parametrize("pattern", ["perm:{tenant}:{user}", "perm:{tenant}/{user}", None])
@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_different_arguments_never_share_an_entry(memory, pattern, one, other):
    """A4."""

    @memory.cached(key=pattern)
    async def permissions(tenant, user) -> str:
        return repr((tenant, user))

    assert await permissions(*one) == repr(one)
    assert await permissions(*other) == repr(other)


async def test_the_strings_of_a_string_parameter_and_the_integers_of_others_stay_readable(memory):
    @memory.cached(key="tenant:{tenant}:user:{user}:tasks:page={page}:{colour}:{due}:{q}")
    async def tasks(
        tenant: str, user: int, page: int, colour: Colour, due: date | None, q: str | None = None
    ):
        return 1

    key = memory.key_of(tasks, "abc123", 7, 2, Colour.RED, date(2026, 1, 2), "1")
    assert key == "tenant:abc123:user:7:tasks:page=2:red:%td2026-01-02:1"
    assert memory.key_of(tasks, "abc123", "7", 2, Colour.RED, None) != key


async def test_an_id_that_is_missing_shares_nothing(memory):
    calls = []

    @memory.cached(key="user:{user}:tasks")
    async def tasks(user: str | None) -> int:
        calls.append(user)
        return len(calls)

    for user in (None, None, "", "a", "a"):
        await tasks(user)
    assert calls == [None, None, "", "a"]
    assert (await memory.get_stats()).counters["targets"].popitem()[1]["bypassed"] == {"unbound_key": 3}


async def test_the_ids_of_the_principal_fill_in_for_parameters_that_are_not_there(memory):
    calls = []

    @memory.cached(key="tenant:{tenant_id}:user:{user_id}:tasks")
    async def tasks() -> int:
        calls.append(1)
        return len(calls)

    assert [await tasks(), await tasks()] == [1, 2]
    with principal(tenant="a", user=1):
        assert [await tasks(), await tasks()] == [3, 3]
    with principal(tenant="a", user=2):
        assert await tasks() == 4
    with principal(user=1):
        assert await tasks() == 5


async def test_attributes_of_a_parameter_make_a_key_where_it_has_none_itself(memory):
    class User:
        def __init__(self, number: int) -> None:
            self.id = number

    @memory.cached(key="perm:{user.id}", tags=("user:{user.id}",))
    async def permissions(user: User) -> int:
        return user.id

    assert [await permissions(User(1)), await permissions(User(2)), await permissions(User(1))] == [1, 2, 1]
    assert memory.key_of(permissions, User(7)) == "perm:7"


def test_a_part_without_a_value_of_its_own_is_refused_by_name_before_anything_is_served(memory):
    """A3: an address never gets into a key."""

    async def tasks(session: Session, user: int) -> int:
        return user

    for key in (None, "tasks:{session}"):
        with pytest.raises(UsageError, match=r"`session` of .*tasks is a Session") as refused:
            memory.cached(key=key)(tasks)
    assert "{session.id}" in refused.value.hint


@pytest.mark.parametrize("annotation", [None, Any, object, int])
async def test_a_part_that_only_the_call_shows_is_refused_by_name(memory, annotation):
    async def tasks(session) -> int:
        return pytest.fail("it must not run")

    if annotation is not None:
        tasks.__annotations__["session"] = annotation
    wrapped = memory.cached(key="tasks:{session}")(tasks)
    with pytest.raises(UsageError, match=r"`session` has no place in the key .*Session") as refused:
        await wrapped(Session())
    assert "0x" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "tags", "said"),
    [
        ("perm:{usr}", (), "did you mean {user}"),
        ("perm:{user", (), "unbalanced"),
        ("perm:*", (), "cannot hold"),
        ("perm:{user}", ("user:{usr}",), "did you mean {user}"),
        ("perm:{user}", ("t(user_id={usr})",), "did you mean {user}"),
        ("perm:{user}", ("t(user_id)",), "write table"),
        ("perm:{user_id.x}", (), "no parameter"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused_where_it_is_written(memory, key, tags, said):
    async def permissions(user: int) -> int:
        return user

    with pytest.raises(UsageError, match="t") as refused:
        memory.cached(key=key, tags=tags)(permissions)
    assert said in str(refused.value)


@pytest.mark.requirement("C32")
def test_iterators_are_refused(memory):
    def rows() -> Iterator[int]:
        yield 1

    async def more():
        yield 1

    for function in (rows, more):
        with pytest.raises(UsageError, match="iterator"):
            memory.cached()(function)


async def test_tags_over_the_parameters_invalidate_what_they_name(cache):
    calls = []

    @cache.cached(key="perm:{tenant}:{user}", tags=("user:{user}", "roles(user_id={user})", "roles:{tenant}"))
    async def permissions(tenant: str, user: int) -> int:
        calls.append(user)
        return len(calls)

    async def again(*tags: str) -> int:
        await cache.invalidate(*tags)
        return await permissions("a", 7)

    assert await again("user:8", "roles(user_id=8)", "roles:b") == 1
    assert [await again("user:7"), await again("roles(user_id=7)"), await again("roles:a")] == [2, 3, 4]
    await cache.delete(cache.key_of(permissions, "a", 7))
    assert await permissions("a", user=7) == 5


async def test_methods_of_one_name_and_closures_over_other_things_have_keys_of_their_own(memory):
    class A:
        @staticmethod
        @memory.cached()
        async def get(number: int) -> str:
            return "A"

    class B:
        @staticmethod
        @memory.cached()
        async def get(number: int) -> str:
            return "B"

    assert [await A.get(1), await B.get(1)] == ["A", "B"]


async def test_all_arguments_of_a_function_that_takes_any_number_count(memory):
    @memory.cached()
    async def both(*numbers: int, **named: int) -> list:
        return [numbers, named]

    assert await both(1, 2, a=3) == [(1, 2), {"a": 3}]
    assert await both(1, a=3) == [(1,), {"a": 3}]
    assert await both(1, 2, a=4) == [(1, 2), {"a": 4}]


async def test_the_return_annotation_is_the_type_of_the_value(cache):
    @cache.cached()
    async def ids(n: int) -> frozenset[UUID]:
        return frozenset({UUID(int=n)})

    assert await ids(1) == await ids(1) == frozenset({UUID(int=1)})


async def test_a_hundred_callers_make_one_call(cache):
    calls, began, gate = [], asyncio.Event(), asyncio.Event()

    @cache.cached()
    async def slow(number: int) -> int:
        calls.append(number)
        began.set()
        await gate.wait()
        return number

    callers = [asyncio.create_task(slow(1)) for _ in range(100)]
    await began.wait()
    for _ in range(3):  # whoever asked together with the first has been answered by then
        await cache.get("another")
    gate.set()
    assert await asyncio.gather(*callers) == [1] * 100
    assert calls == [1]


@pytest.mark.requirement("#325")
async def test_a_plain_function_is_cached_in_threads_and_loads_in_its_callers(cache):
    threads = []

    @cache.cached(key="n:{number}")
    def twice(number: int) -> list[int]:
        threads.append(threading.current_thread())
        return [number, number]

    def ask() -> tuple[list[int], threading.Thread]:
        return twice(2), threading.current_thread()

    first, caller = await asyncio.to_thread(ask)
    assert first == [2, 2]
    assert threads == [caller]
    first.append(3)
    assert (await asyncio.to_thread(ask))[0] == [2, 2]
    assert len(threads) == 1
    assert twice(2) == [2, 2], "what is in memory is answered anywhere"
    assert len(threads) == 1
    await cache.delete("n:2")
    assert (await asyncio.to_thread(ask))[0] == [2, 2]
    assert len(threads) == 2


async def test_many_threads_make_one_call(cache):
    calls, gate = [], threading.Event()

    @cache.cached()
    def slow(number: int) -> int:
        calls.append(number)
        gate.wait(20)
        return number

    callers = [asyncio.create_task(asyncio.to_thread(slow, 1)) for _ in range(4)]
    while not calls:
        await asyncio.sleep(0.01)
    gate.set()
    assert await asyncio.gather(*callers) == [1] * 4
    assert calls == [1]


async def test_a_plain_function_called_on_the_loop_never_waits(cache):
    calls = []

    @cache.cached()
    def number() -> int:
        calls.append(1)
        return 7

    assert [number(), number()] == [7, 7]
    assert len(calls) == 2
    targets = (await cache.get_stats()).counters["targets"]
    assert next(iter(targets.values()))["bypassed"] == {"on_loop": 2}


async def test_what_a_plain_function_raises_is_raised(cache):
    @cache.cached()
    def fail() -> int:
        raise LookupError("no such row")

    for _ in range(2):
        with pytest.raises(LookupError, match="no such row"):
            await asyncio.to_thread(fail)


def current_user(user: int) -> int:
    return user


@pytest.mark.requirement("#325")
async def test_fastapi_still_injects_what_a_cached_endpoint_asks_for(namespace):
    cache, app, calls = Cache(namespace=namespace), FastAPI(), []

    @app.get("/tasks")
    @cache.cached(key="user:{user}:tasks:{page}")
    async def tasks(user: Annotated[int, Depends(current_user)], page: int = 1) -> list[int]:
        calls.append(user)
        return [user, page]

    @app.get("/rates")
    @cache.cached(key="rates:{day}")
    def rates(day: date) -> dict[str, str]:
        calls.append(day)
        return {"day": day.isoformat()}

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        for _ in range(2):
            assert (await client.get("/tasks?user=1")).json() == [1, 1]
            assert (await client.get("/tasks?user=2&page=3")).json() == [2, 3]
            assert (await client.get("/rates?day=2026-01-02")).json() == {"day": "2026-01-02"}
        assert (await client.get("/tasks?user=x")).status_code == 422
    assert calls == [1, 2, date(2026, 1, 2)]
    await cache.aclose()
