"""`simulate` with several workers, a Redis that is away, and a recording that is too large for all of it."""

import json

import pytest
from tests.analysis.builder import TodoTraffic
from tests.simulator.todo import SPECIFICATION

from cachewright.evidence.tracerows import write_trace


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    directory = tmp_path_factory.mktemp("simulate")
    (directory / "caching.yaml").write_text(SPECIFICATION)
    write_trace(directory / "traffic.trace", TodoTraffic(calm=True, users=4).run(400).build())
    return ("simulate", str(directory / "caching.yaml"), "--trace", str(directory / "traffic.trace"))


def test_workers_tell_memory_from_redis_and_an_outage_costs_hits(command, job):
    alone = json.loads(command(*job, "--json")[1])
    fleet = json.loads(command(*job, "--workers", "3", "--json")[1])
    hurt = json.loads(command(*job, "--workers", "3", "--fault", "redis-down=10s@0", "--json")[1])
    assert alone["bytes"]["from_shared"] is None
    assert 0 < fleet["bytes"]["from_shared"] <= fleet["bytes"]["served"]
    assert 0 <= hurt["hits"] < fleet["hits"]


def test_a_table_ends_with_the_bytes_that_move(command, job):
    assert "served from the cache" in command(*job)[1]
    assert "sent by Redis" in command(*job, "--workers", "2")[1]


def test_a_sample_says_that_it_is_one(command, job):
    assert "stand for the whole recording" in command(*job, "--sample", "100")[2]


def test_a_fault_nobody_knows_is_refused(command, job):
    code, _, said = command(*job, "--fault", "redis-slow=3s")
    assert (code, "redis-down=60s" in said) == (2, True)
