"""`simulate` with several workers, a Redis that is away, and a recording that is too large for all of it."""

import json
import sqlite3

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


def test_a_design_asks_the_database_beside_the_recording(command, job, tmp_path):
    trace = job[-1]
    (tmp_path / "statements.csv").write_text("query,calls,total_time\nDELETE FROM news WHERE id = $1,9,1.5\n")
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE tasks (id integer PRIMARY KEY, owner_id, status, title)")
        connection.execute("CREATE TABLE users (id integer PRIMARY KEY, name)")
        connection.execute("CREATE TABLE news (id integer PRIMARY KEY, title)")
        connection.executemany("INSERT INTO tasks VALUES (?, ?, '', '')", ((n, n) for n in range(2_000)))
    connection.close()
    database = f"sqlite:///{tmp_path}/shop.db"
    code, _, said = command(
        "design", trace, "--statements", str(tmp_path / "statements.csv"), "--plans", database
    )
    assert code == 0
    assert "news was written to 9 times" in said
    assert "CREATE INDEX ON tasks (owner_id)" in said
    assert command("design", "--project", str(tmp_path), "--plans", database)[0] == 2
