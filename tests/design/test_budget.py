"""Room shared out by what it spares, and designs under a budget."""

from datetime import UTC, datetime

import pytest
from tests.analysis.builder import TodoTraffic

from cachewright.design.budget import Budget, rooms
from cachewright.design.planner import design
from cachewright.simulator.replay import replay
from cachewright.simulator.shapes import shape_of
from cachewright.simulator.stream import stream
from cachewright.spec.document import Document
from cachewright.spec.target import compile_plan

SECOND = 1_000_000_000


def _shape(keys, size, cost):
    reads = [number % keys for number in range(40 * keys)]
    return shape_of(
        stream(
            [number * SECOND for number in range(len(reads))],
            reads,
            sizes=[size] * len(reads),
            costs=[cost] * len(reads),
        ),
        None,
    )


def test_without_a_budget_all_that_hits_has_room():
    shape = _shape(10, 1000, 5.0)
    assert rooms({"a": shape}, None)["a"] == pytest.approx(shape.whole, rel=0.2)


def test_what_spares_more_for_a_byte_comes_first():
    found = {"dear": _shape(10, 1000, 50.0), "cheap": _shape(10, 1000, 1.0)}
    given = rooms(found, int(found["dear"].whole * 1.2))
    assert given["dear"] >= 0.8 * found["dear"].whole
    assert given["cheap"] < 0.5 * given["dear"]
    assert sum(given.values()) <= found["dear"].whole * 1.2


@pytest.fixture(scope="module")
def trace():
    return TodoTraffic(calm=True).run(500).build()


def _designed(trace, budget):
    def score(spec):
        return replay(trace, compile_plan(Document(spec=spec, positions={})))

    return design(trace, now=datetime(2026, 1, 2, tzinfo=UTC), score=score, budget=budget)


def test_room_is_written_where_it_is_bounded(trace):
    found = _designed(trace, Budget(memory=2_000))
    limits = [target.strategy.eviction_policy.max_memory_bytes for target in found.spec.cache_targets]
    assert limits
    assert sum(limits) <= 2_000
    assert "no_room" in {refused.code for refused in found.not_cached}
    assert any("2000 are allowed" in text for text in found.warnings)


def test_without_redis_one_worker_keeps_entries_to_itself(trace):
    found = _designed(trace, Budget(redis=False))
    assert {target.levels for target in found.spec.cache_targets} == {("l1",)}


def test_without_redis_several_workers_keep_nothing(trace):
    found = _designed(trace, Budget(redis=False, workers=3))
    assert not found.spec.cache_targets
    assert "needs_redis" in {refused.code for refused in found.not_cached}


def test_every_target_shows_its_curves(trace):
    found = _designed(trace, Budget())
    assert found.shapes.keys() == {target.subject for target in found.spec.cache_targets}
    for shape in found.shapes.values():
        assert shape["over_life"]["hits"] == sorted(shape["over_life"]["hits"])
        assert shape["over_room"]["hits"][0] == 0
