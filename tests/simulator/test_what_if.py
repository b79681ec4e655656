"""Other lives and other room for the same plan."""

import pytest
from tests.analysis.builder import TodoTraffic

from cachewright.errors import RequirementError
from cachewright.simulator.replay import replay
from cachewright.simulator.what_if import parse_option
from cachewright.spec.document import loads_spec
from cachewright.spec.target import compile_plan

SPEC = """
caching_specification:
  namespace: todo
  identity: {user: claim:sub}
  cache_targets:
  - endpoint: GET /api/tasks/stats
    scope: user
    cache_key_pattern: "user:{user_id}:stats"
    levels: [l1, l2]
    depends_on: ["tasks(owner_id={user_id})", "users(id={user_id})"]
"""


@pytest.fixture(scope="module")
def trace():
    return TodoTraffic(calm=True).run(600).build()


def _hits(trace, text):
    option = parse_option(text)
    return replay(trace, option.plan(compile_plan(loads_spec(SPEC))), option.settings())


def test_a_shorter_life_hits_less(trace):
    long, short = _hits(trace, "ttl=300"), _hits(trace, "ttl=0.1")
    assert 0 < short.hits < long.hits
    assert short.wrong_answers == 0


def test_less_room_hits_less_and_is_never_exceeded(trace):
    plenty, little = _hits(trace, "size=1MB"), _hits(trace, "ttl=5m, size=450")
    assert 0 < little.hits < plenty.hits
    assert little.peak_bytes <= 450 < plenty.peak_bytes


@pytest.mark.parametrize("text", ["", "ttl", "ttl=soon", "size=0", "size=many", "speed=9"])
def test_what_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(RequirementError) as refused:
        parse_option(text)
    assert "ttl=60,size=64MB" in str(refused.value.hint)
