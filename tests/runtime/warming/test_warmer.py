"""Jobs in the background: bounded, counted, once per fleet, and in nobody's way."""

import asyncio

import pytest
from tests.runtime.driving import until

from cachewright.runtime.warming.jobs import Job, jobs_of, spread
from cachewright.runtime.warming.warmer import Warmer, WarmRequest
from cachewright.spec.warming import CacheWarming, WarmupQuery


def warmer(engine, *jobs, loaders=None, send=None, wall=lambda: 1000.0, **more):
    sent = []

    async def taken(request):
        sent.append(request)

    made = Warmer(
        engine,
        jobs,
        loaders=loaders or {},
        send=send or taken,
        requests=lambda name, params: [WarmRequest(f"/{name}", params)],
        threshold=0.9,
        wall=wall,
        **more,
    )
    made.sent = sent
    return made


def job(*names, **more):
    return Job("on_startup", tuple(WarmupQuery(name=name) for name in names), **more)


@pytest.fixture
async def engine(make_cache):
    return await make_cache(None, workers=1)


@pytest.mark.requirement("#116", "#239", "#240")
def test_what_a_specification_says_becomes_jobs():
    said = {
        "strategies": [
            {"type": "on_startup", "warmup_queries": ["settings"]},
            {"type": "user_specific", "warmup_queries": ["top_users"]},
            {"type": "scheduled", "warmup_queries": ["reports"]},
        ],
        "on_startup": {"queries": [{"name": "GET /a"}]},
        "scheduled": {
            "schedule": "0 3 * * *",
            "execution_window": "02:00-04:00 UTC",
            "queries": [{"name": "GET /b"}],
        },
    }
    first, second = jobs_of(CacheWarming.model_validate({"enabled": True, **said}))
    assert (first.name, [query.name for query in first.queries]) == (
        "on_startup",
        ["GET /a", "settings", "top_users"],
    )
    assert (second.name, [query.name for query in second.queries]) == ("scheduled", ["GET /b", "reports"])
    assert (second.schedule, second.window.start) == ("0 3 * * *", 120)
    assert jobs_of(CacheWarming.model_validate({"enabled": False, **said})) == ()


def test_lists_offer_several_values():
    found = list(spread({"page": [1, 2], "limit": 20, "sort": ["due", "title"]}))
    assert found == [
        {"page": page, "limit": 20, "sort": sort} for page in (1, 2) for sort in ("due", "title")
    ]
    assert list(spread({})) == [{}]


@pytest.mark.requirement("#123", "C51", "C72")
async def test_loaders_load_or_say_which_requests_do(engine):
    called = []

    def top(count):
        return [WarmRequest(f"/users/{number}") for number in range(count)]

    async def alone():
        called.append("alone")

    queries = (
        WarmupQuery(name="top", params={"count": 3}),
        WarmupQuery(name="alone"),
        WarmupQuery(name="target"),
    )
    made = warmer(engine, Job("on_startup", queries), loaders={"top": top, "alone": alone})
    progress = await made.run(made._jobs["on_startup"])
    assert (progress.state, progress.done, progress.total, called) == ("done", 5, 5, ["alone"])
    assert sorted(request.path for request in made.sent) == ["/target", "/users/0", "/users/1", "/users/2"]


@pytest.mark.requirement("#127", "#254", "#400")
async def test_what_fails_is_counted_named_without_its_values_and_stops_nothing(engine, caplog):
    async def send(request):
        if request.path == "/broken":
            raise ValueError("a secret of somebody")
        return "status 500" if request.path == "/refused" else None

    def broken():
        raise LookupError("another secret")

    made = warmer(engine, job("good", "broken", "refused", "loader"), loaders={"loader": broken}, send=send)
    progress = await made.run(made._jobs["on_startup"])
    assert (progress.state, progress.done, progress.failed, progress.total) == ("failed", 1, 3, 4)
    assert set(progress.problems) == {"ValueError", "status 500", "loader: LookupError"}
    assert "secret" not in caplog.text
    assert "1 of 4 loaded" in caplog.text


@pytest.mark.requirement("#246")
async def test_fewer_results_than_expected_are_a_failure(engine):
    made = warmer(engine, Job("on_startup", (WarmupQuery(name="target", expected_results=2),)))
    progress = await made.run(made._jobs["on_startup"])
    assert (progress.state, progress.done, progress.failed) == ("failed", 1, 1)


@pytest.mark.requirement("#125")
async def test_no_more_than_so_many_at_once_and_a_rest_as_long_as_the_load(engine):
    running, most, loads = 0, 0, 0

    async def send(_request):
        nonlocal running, most, loads
        running, loads = running + 1, loads + 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    loop = asyncio.get_running_loop()
    made = warmer(engine, job(*"abcdef"), send=send, at_once=2)
    began = loop.time()
    await made.run(made._jobs["on_startup"])
    assert (most, loads) == (2, 6)
    assert loop.time() - began >= 6 * (0.01 + 0.01) / 2 * 0.95


async def test_a_fleet_warms_once_and_a_job_runs_once_at_a_time(make_cache):
    one, other = await make_cache(), await make_cache()
    first, second = warmer(one, job("a")), warmer(other, job("a"))
    first.start()
    second.start()
    await until(lambda: first.sent or second.sent)
    await asyncio.sleep(0.3)
    assert len(first.sent) + len(second.sent) == 1
    gate = asyncio.Event()

    async def wait(_request):
        await gate.wait()

    slow = warmer(one, job("a"), send=wait)
    assert slow.begin("on_startup")
    await until(lambda: slow.progress()[0]["state"] == "running")
    assert not slow.begin("on_startup")
    gate.set()
    await until(lambda: slow.progress()[0]["state"] == "done")
    for each in (first, second, slow):
        await each.aclose(1.0)


@pytest.mark.requirement("#121", "#249")
async def test_a_schedule_fires_inside_its_window_only(engine):
    from cachewright.spec.rates import parse_window

    now = [1_767_225_600.0]  # 2026-01-01 00:00 UTC

    def wall():
        now[0] += 0.005  # time goes on with every look
        return now[0]

    open_, shut = parse_window("00:00-12:00 UTC"), parse_window("12:00-13:00 UTC")
    inside = warmer(engine, Job("scheduled", (WarmupQuery(name="a"),), "0.01s", open_), wall=wall)
    outside = warmer(engine, Job("scheduled", (WarmupQuery(name="a"),), "0.01s", shut), wall=wall)
    inside.start()
    outside.start()
    await until(lambda: len(inside.sent) >= 2)
    assert outside.sent == []
    await inside.aclose(1.0)
    await outside.aclose(1.0)
