"""Large recordings read with fewer requests: what they stand for, and what is never left out."""

import pytest
from tests.analysis.builder import Call, TodoTraffic, TraceBuilder
from tests.simulator.todo import NEWS, STATS, todo_plan

from cachewright.evidence.dependencies import written_by
from cachewright.evidence.tracereader import read_trace
from cachewright.evidence.tracerows import write_trace
from cachewright.simulator.replay import replay


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("thin") / "large.trace"
    write_trace(path, TodoTraffic(users=60).run(3000).build())
    return path


@pytest.fixture(scope="module")
def both(recording):
    return read_trace(recording), read_trace(recording, most=900)


def test_nothing_is_left_out_of_a_small_recording(recording, both):
    assert read_trace(recording, most=10_000) == both[0]
    assert not both[0].weights


def test_what_is_kept_stands_for_all(both):
    whole, thinned = both
    assert len(thinned.requests) < 0.6 * len(whole.requests)
    assert sum(thinned.weight(request.id) for request in thinned.requests) == pytest.approx(
        len(whole.requests), rel=0.1
    )


def test_all_writes_are_kept(both):
    whole, thinned = both
    assert written_by(thinned, {}) == written_by(whole, {})
    assert written_by(whole, {})


def test_the_same_file_gives_the_same_requests(recording, both):
    assert read_trace(recording, most=900) == both[1]


def test_hit_rates_of_what_is_kept_are_those_of_all(both):
    plan = todo_plan()
    whole, thinned = (
        {route.route: route for route in replay(trace, plan).routes if route.cached} for trace in both
    )
    assert whole.keys() == thinned.keys() == {STATS, NEWS}
    for name, route in whole.items():
        assert thinned[name].hit_rate == pytest.approx(route.hit_rate, abs=0.08)
        assert thinned[name].lookups == pytest.approx(route.lookups, rel=0.15)


def test_one_hot_key_is_thinned_in_time(tmp_path):
    build = TraceBuilder()
    route = build.route("GET", "/news", credentials=())
    for _ in range(3000):
        build.add(Call(route, sql=[("SELECT news.id FROM news", [])], body="news"))
    write_trace(tmp_path / "hot.trace", build.build())
    thinned = read_trace(tmp_path / "hot.trace", most=600)
    assert len(thinned.requests) < 900
    assert sum(thinned.weight(request.id) for request in thinned.requests) == pytest.approx(3000, rel=0.25)
