"""Staleness that is allowed: how long a life it buys, and what it never buys."""

from datetime import UTC, datetime
from random import Random

from tests.analysis.builder import Call, TodoTraffic, TraceBuilder

from cachewright.checks.rules import check
from cachewright.design.budget import Budget
from cachewright.design.planner import design
from cachewright.jobs.designing import scored_by
from cachewright.simulator.replay import replay
from cachewright.spec.document import Document
from cachewright.spec.target import compile_plan


def board(change_seconds: float, *, seconds: float = 600.0):
    """A public board that another program fills every so often, read several times a second."""
    build, dice = TraceBuilder(), Random(7)
    route = build.route("GET", "/board", credentials=())
    begin = build.now
    while (build.now - begin) / 1e9 < seconds:
        version = int((build.now - begin) / 1e9 / change_seconds)
        build.add(
            Call(route, sql=[("SELECT news.id FROM news", [])], body=version), gap=dice.uniform(200, 600)
        )
    return build.build()


def designed(trace, allowed):
    return design(
        trace,
        now=datetime(2026, 1, 1, tzinfo=UTC),
        score=scored_by(trace),
        budget=Budget(stale=allowed),
    )


def test_without_leave_what_others_write_is_refused():
    assert {no.code for no in designed(board(40.0), 0.0).not_cached} == {"unexplained_changes"}


def test_the_longest_life_that_stays_under_the_share_is_chosen():
    trace = board(40.0)
    lives = {}
    for allowed in (0.05, 0.4):
        found = designed(trace, allowed)
        (target,) = found.spec.cache_targets
        life = target.strategy.ttl.duration_seconds
        assert target.max_staleness_seconds == life
        plan = compile_plan(Document(spec=found.spec, positions={}))
        (route,) = replay(trace, plan).routes
        assert 0 < route.wrong_share <= allowed
        assert any("--max-stale-fraction" in warning for warning in found.warnings)
        assert not [
            problem
            for problem in check(Document(spec=found.spec, positions={}), trace=trace)
            if problem.severity == "error"
        ]
        lives[allowed] = life
    assert lives == {0.05: 1, 0.4: 30}


def test_what_changes_faster_than_any_life_is_refused():
    (no,) = designed(board(3.0), 0.02).not_cached
    assert no.code == "too_stale"
    assert no.figures["wrong_share"] > 0.02


def test_a_key_that_lacks_a_part_is_not_bought_with_staleness():
    trace = TodoTraffic(language=True).run(900).build()
    assert {"GET /api/tasks"} <= {no.endpoint for no in designed(trace, 0.05).not_cached}


def test_what_a_write_explains_is_kept_exact_beside_what_may_be_stale():
    trace = TodoTraffic(hidden_trigger=True, calm=True).run(1200).build()
    found = designed(trace, 0.1)
    exact = [target for target in found.spec.cache_targets if not target.max_staleness_seconds]
    assert exact
    outcomes = {
        route.route: route
        for route in replay(trace, compile_plan(Document(spec=found.spec, positions={}))).routes
    }
    assert all(outcomes[target.endpoint].wrong_answers == 0 for target in exact)


def test_a_handful_of_hits_proves_no_small_share():
    (no,) = designed(board(30.0, seconds=60), 0.01).not_cached
    assert no.code == "too_stale"
