"""Other lives and other room for the same plan."""

import pytest
from tests.analysis.builder import TodoTraffic
from tests.simulator.todo import todo_plan

from cachewright.errors import RequirementError
from cachewright.simulator.replay import replay
from cachewright.simulator.settings import ReplaySettings
from cachewright.simulator.what_if import parse_option


@pytest.fixture(scope="module")
def trace():
    return TodoTraffic(calm=True).run(600).build()


def _hits(trace, text):
    option = parse_option(text)
    return replay(trace, option.plan(todo_plan()), ReplaySettings(max_bytes=option.room))


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
