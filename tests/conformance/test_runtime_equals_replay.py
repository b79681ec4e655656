"""The runtime and the replay come to the same counts over the same events: the one place that knows both wings."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.analysis.builder import TodoTraffic
from tests.apps import path_user
from tests.conformance.driving import ROOM, Clock, Driver, memory_cache, replayed
from tests.servers import serve_app
from tests.simulator.recording import Recording, plan_of

from cachewright.capture.asgi import Watched
from cachewright.capture.database import DatabaseWatch
from cachewright.evidence.recorder import Recorder
from cachewright.evidence.trace import Trace
from cachewright.evidence.tracereader import read_trace
from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Settings, boottime
from cachewright.simulator.judge import Judge
from cachewright.simulator.lookups import prepare
from cachewright.simulator.playing import Playing, late
from cachewright.simulator.settings import ReplaySettings
from cachewright.spec.target import Plan

TODO = """
identity: {user: "claim:sub"}
consistency: {identity_ttl_seconds: 2}
cache_targets:
- endpoint: GET /api/tasks
  scope: user
  cache_key_pattern: "user:{user_id}:tasks:status={status}:page={page}"
  depends_on: ["tasks(owner_id={user_id})", "users(id={user_id})"]
  bypass_when: ["query.status == 'done'"]
  ignored_reads: ["header:user-agent"]
  strategy: {ttl: {duration_seconds: 5}}
- endpoint: GET /api/tasks/{task_id}
  scope: user
  cache_key_pattern: "user:{user_id}:tasks:{task_id}"
  depends_on: ["tasks(id={task_id},owner_id={user_id})", "users(id={user_id})"]
- endpoint: GET /api/tasks/stats
  cache_key_pattern: "stats"
  depends_on: [tasks, users]
  strategy: {ttl: {duration_seconds: 3}}
  ignored_reads: ["header:user-agent"]
- endpoint: GET /news
  scope: public
  cache_key_pattern: news
  depends_on: [news]
  strategy: {ttl: {duration_seconds: 1}}
"""


#: The same, where no request shows whose rows they are.
LEARNED = (
    TODO.replace("{task_id},owner_id={user_id}", "{*}")
    .replace("tasks(owner_id={user_id})", "tasks(owner_id={*})")
    .replace("users(id={user_id})", "users(id={*})")
)


def replay_counts(trace: Trace, plan: Plan) -> dict:
    prepared = prepare(trace, plan)
    return replayed(prepared, Playing(prepared, ReplaySettings(), Judge(trace, prepared), late).run())


async def runtime_counts(trace: Trace, plan: Plan) -> dict:
    clock = Clock()
    cache = memory_cache(clock)
    counts = await Driver(prepare(trace, plan), cache, clock).run()
    await cache.aclose()
    return counts


def of_all(counts: dict, what: str) -> Counter:
    return sum((Counter(target[what]) for target in counts.values()), Counter())


TRAFFIC = {
    "plain": {},
    "two credentials for each user": {"credentials": 2},
    "claims that change with the credential": {"credentials": 2, "claims": {"role": lambda user: user % 2}},
    "an answer in a language that the key lacks": {"language": True},
    "middleware that reads a header": {"agent": True},
    "reads that write": {"writes_on_read": True},
    "writes to rows that nobody can pin": {"bulk_moves": True, "credentials": 2},
}


def traffic(**traps) -> Trace:
    """Five hundred requests; one in fifty sets a cookie, as a logout does."""
    build = TodoTraffic(seed=3, **traps).run(500)
    dice = Random(5)
    trace = build.build()
    requests = [replace(r, set_cookie=dice.random() < 0.02) for r in trace.requests]
    return replace(trace, requests=tuple(requests))


@pytest.mark.parametrize("traps", TRAFFIC.values(), ids=TRAFFIC.keys())
@pytest.mark.requirement("#3")
async def test_memory_counts_as_the_replay_does(traps):
    trace, plan = traffic(**traps), plan_of(TODO)
    expected = replay_counts(trace, plan)
    assert await runtime_counts(trace, plan) == expected
    assert sum(target["hits"] for target in expected.values()) > 20
    assert of_all(expected, "misses").keys() >= {"absent", "expired", "invalidated", "not_accepted"}


KINDS = {
    "soft": {"soft_ttl": 1.0},
    "soft and early": {"soft_ttl": 1.0, "early": 20.0},
    "early": {"early": 100.0},
    "kept for failures": {"stale_if_error": 60.0, "soft_ttl": 1.0},
    "sliding": {"longest": 8.0},
    "what is not there": {"negative_ttl": 0.5, "statuses": frozenset({200, 404})},
}


def with_policy(plan: Plan, **facts) -> Plan:
    targets = {
        place: replace(target, policy=replace(target.policy, **facts))
        for place, target in plan.targets.items()
    }
    return replace(plan, targets=targets)


@pytest.mark.parametrize("facts", KINDS.values(), ids=KINDS.keys())
async def test_memory_counts_as_the_replay_does_under_every_kind_of_lifetime(facts):
    trace, usual = traffic(credentials=2), plan_of(TODO)
    if "longest" in facts:
        usual = with_policy(usual, ttl=2.0)
    plan = with_policy(usual, **facts)
    expected = replay_counts(trace, plan)
    assert await runtime_counts(trace, plan) == expected
    if "negative_ttl" not in facts:
        assert expected != replay_counts(trace, usual)
    if facts.keys() & {"soft_ttl", "early"}:
        assert of_all(expected, "misses")["refresh"] > 0


@asynccontextmanager
async def shared_cache(url: str) -> AsyncIterator[tuple[Engine, Clock]]:
    """A cache with a Valkey behind it, listening, and the clock that dates its entries."""
    clock = Clock()
    calm = Settings(workers=1, read_timeout=5.0, connect_timeout=5.0, **ROOM)
    cache = Engine(f"t{uuid4().hex[:12]}", redis_url=url, settings=calm, wall=clock, dice=lambda: 0.5)
    await cache.start()
    while not cache._core.heard(boottime()):
        await asyncio.sleep(0.001)
    yield cache, clock
    await cache.aclose()


@pytest.mark.parametrize(
    "name", ["claims that change with the credential", "writes to rows that nobody can pin"]
)
@pytest.mark.requirement("#2", "#3")
async def test_a_shared_store_counts_as_the_replay_does(valkey_url, name):
    """A store keeps what was invalidated, so that every reason is its own."""
    trace, plan = traffic(**TRAFFIC[name]), plan_of(TODO)
    async with shared_cache(valkey_url) as (cache, clock):
        counts = await Driver(prepare(trace, plan), cache, clock, forgets=False, keep=3600).run()
    assert counts == replay_counts(trace, plan)


NOTES = """
identity: {user: "claim:sub"}
cache_targets:
- endpoint: GET /users/{user_id}/notes
  scope: user
  cache_key_pattern: "user:{user_id}:notes:of={path.user_id}:pinned={pinned}"
  depends_on: ["notes(user_id={user_id})", "users(id={user_id})"]
- endpoint: GET /users/{user_id}/notes/{note_id}
  cache_key_pattern: "notes:{path.user_id}:{note_id}"
  depends_on: ["notes(id={note_id},user_id={path.user_id})", "users(id={path.user_id})"]
- endpoint: GET /users/{user_id}/summary
  scope: user
  cache_key_pattern: "user:{user_id}:summary:of={path.user_id}"
  depends_on: ["notes(user_id={user_id})"]
"""


@pytest.fixture
def recorded(tmp_path) -> Trace:
    """Four hundred requests to a real application, over HTTP."""
    database = f"sqlite:///{tmp_path / 'app.db'}"
    path_user.seed(database)
    recorder = Recorder(tmp_path / "t.trace", "tests:app", {"user": "claim:sub"}, time.monotonic_ns)
    watch = DatabaseWatch(recorder, time.monotonic_ns).open()
    application = path_user.build(database)
    app = Watched(application, recorder, clock=time.monotonic_ns)
    try:
        with serve_app(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
            path_user.exercise(client)
    finally:
        watch.close()
        app.close()
        recorder.add_routes(app.routes)
        recorder.close()
        application.state.engine.dispose()
    return read_trace(tmp_path / "t.trace")


async def test_memory_counts_as_the_replay_of_what_an_application_did(recorded):
    plan = plan_of(NOTES)
    expected = replay_counts(recorded, plan)
    assert await runtime_counts(recorded, plan) == expected
    assert sum(target["hits"] for target in expected.values()) > 100
    assert expected["GET /users/{user_id}/summary"]["refused"].keys() == {"dependency_drift"}


@dataclass(frozen=True)
class Read:
    """A request of one of two users, by one of two credentials."""

    gap: int
    took: int
    user: int
    page: int
    device: int
    role: int
    status: int
    drifts: bool


@dataclass(frozen=True)
class Write:
    """A transaction that changes the rows of a user, or rows that nobody can pin; it may be a logout too."""

    gap: int
    took: int
    user: int | None
    committed: bool
    logout: bool


def reads(statuses: list[int]) -> st.SearchStrategy[Read]:
    return st.builds(
        Read,
        gap=st.integers(0, 400),
        took=st.integers(4, 300),
        user=st.integers(1, 2),
        page=st.integers(1, 2),
        device=st.integers(1, 2),
        role=st.sampled_from([1, 1, 1, 2]),
        status=st.sampled_from(statuses),
        drifts=st.sampled_from([False, False, False, True]),
    )


def writes(endings: list[bool]) -> st.SearchStrategy[Write]:
    return st.builds(
        Write,
        gap=st.integers(0, 400),
        took=st.integers(4, 300),
        user=st.sampled_from([1, 1, 2, None]),
        committed=st.sampled_from(endings),
        logout=st.booleans(),
    )


RANDOM = """
identity: {user: "claim:sub"}
consistency: {identity_ttl_seconds: 1}
cache_targets:
- endpoint: GET /tasks
  scope: user
  cache_key_pattern: "user:{user_id}:tasks:page={page}"
  depends_on: ["tasks(user_id={user_id})"]
  strategy: {ttl: {duration_seconds: 2}}
"""
LIFETIMES = st.fixed_dictionaries(
    {},
    optional={
        "soft_ttl": st.sampled_from([0.3, 1.0]),
        "early": st.sampled_from([1.0, 4.0]),
        "longest": st.sampled_from([2.0, 3.0]),
        "stale_if_error": st.just(5.0),
        "negative_ttl": st.just(0.4),
        "statuses": st.just(frozenset({200, 404})),
    },
)


def happened(events: list[Read | Write]) -> Trace:
    """A recording of `events`, each `gap` milliseconds after the one before."""
    recording = Recording()
    listing = recording.route("GET", "/tasks", "query:page", credentials=("header:authorization",))
    saving = recording.route("POST", "/tasks")
    now = 1000
    for number, event in enumerate(events, start=1):
        now += event.gap
        match event:
            case Read():
                asked = recording.request(
                    listing,
                    now,
                    event.took,
                    user=event.user,
                    values={"query.page": event.page, "claim.role": event.role},
                    status=event.status,
                    credential=recording.hasher.secret(f"{event.user}/{event.device}".encode()),
                )
                recording.sql(LIST, (event.user,), at=now + 1, request=asked)
                if event.drifts:
                    recording.sql("SELECT id FROM notes", at=now + 2, request=asked)
            case Write():
                asked = recording.request(
                    saving,
                    now,
                    event.took,
                    user=event.user or 1,
                    credential=recording.hasher.secret(f"{event.user}/1".encode()),
                    set_cookie=event.logout,
                )
                recording.transaction(
                    number, now, now + event.took - 1, request=asked, committed=event.committed
                )
                text, binds = (MOVE, ("new",)) if event.user is None else (RENAME, ("new", event.user, 4))
                recording.sql(text, binds, at=now + 1, request=asked, transaction=number)
    return recording.trace()


def any_read(events: list[Read | Write]) -> bool:
    return any(isinstance(event, Read) for event in events)


LIST = "SELECT title FROM tasks WHERE user_id = ?"
RENAME = "UPDATE tasks SET title = ? WHERE user_id = ? AND id = ?"
MOVE = "UPDATE tasks SET title = ?"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(reads([200, 200, 200, 401, 404]), writes([True])), max_size=40).filter(any_read),
    LIFETIMES,
)
def test_memory_counts_as_the_replay_of_anything(events, lifetimes):
    trace, plan = happened(events), with_policy(plan_of(RANDOM), **lifetimes)
    assert asyncio.run(runtime_counts(trace, plan)) == replay_counts(trace, plan)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the fixture is only an address
@given(st.lists(st.one_of(reads([200, 200, 200, 404]), writes([True, False])), max_size=40).filter(any_read))
def test_a_shared_store_counts_as_the_replay_of_anything(valkey_url, events):
    """Rollbacks too: they invalidate nothing, but what was read meanwhile is not kept."""
    trace, plan = happened(events), plan_of(RANDOM)

    async def counts() -> dict:
        async with shared_cache(valkey_url) as (cache, clock):
            return await Driver(prepare(trace, plan), cache, clock, forgets=False, keep=3600).run()

    assert asyncio.run(counts()) == replay_counts(trace, plan)


@pytest.mark.parametrize("traps", TRAFFIC.values(), ids=TRAFFIC.keys())
async def test_learned_tags_count_in_memory_as_in_the_replay(traps):
    trace, plan = traffic(**traps), plan_of(LEARNED)
    expected = replay_counts(trace, plan)
    assert await runtime_counts(trace, plan) == expected
    assert sum(target["hits"] for target in expected.values()) > 20


@pytest.mark.parametrize("name", ["plain", "writes to rows that nobody can pin"])
async def test_learned_tags_count_in_a_shared_store_as_in_the_replay(valkey_url, name):
    trace, plan = traffic(**TRAFFIC[name]), plan_of(LEARNED)
    async with shared_cache(valkey_url) as (cache, clock):
        counts = await Driver(prepare(trace, plan), cache, clock, forgets=False).run()
    assert counts == replay_counts(trace, plan)


def test_what_is_learned_hits_about_as_often_as_what_is_predicted():
    trace = traffic()
    learned, predicted, wide = (
        sum(target["hits"] for target in replay_counts(trace, plan_of(text)).values())
        for text in (LEARNED, TODO, LEARNED.replace("(owner_id={*})", "").replace("(id={*})", ""))
    )
    assert wide < learned
    assert learned >= 0.9 * predicted
