"""Several workers with copies of their own, a bus that lags, and a Redis that is away: against a second simulator."""

from __future__ import annotations

import pytest
from tests.simulator.recording import Recording, plan_of
from tests.simulator.test_oracle import Read, Write, recorded, traffic

from cachewright.errors import RequirementError
from cachewright.simulator.faults import Fault, parse_fault
from cachewright.simulator.fleet import Fleet, Outage, Worker
from cachewright.simulator.judge import Judge
from cachewright.simulator.lookups import prepare
from cachewright.simulator.playing import Playing, late
from cachewright.simulator.replay import replay
from cachewright.simulator.settings import ReplaySettings

MS = 1_000_000
LEASE, LAG, TTL = 400.0, 35.0, 3000.0

PLAN = """
identity: {{user: "claim:sub"}}
consistency: {{l1_lease_ms: 400}}
cache_targets:
- endpoint: GET /tasks
  scope: user
  levels: {levels}
  cache_key_pattern: user:{{user_id}}:tasks:page={{page}}
  depends_on: ["tasks(user_id={{user_id}})"]
  strategy: {{ttl: {{duration_seconds: 3}}}}
"""
BOTH, MEMORY, SHARED = "[l1, l2]", "[l1]", "[l2]"


class Oracle:
    """Lists of what happened, searched again for every question; no tags, no tokens, no events that queue."""

    def __init__(self, reads, writes, worker, *, levels, outages=()):
        self.reads, self.writes, self.worker = reads, writes, worker
        self.levels, self.outages = levels, outages
        self.kept: list[tuple[float, float, Read, int]] = []  # filled at, loaded at, read, worker
        self.copies: dict[tuple[int, int, int], tuple[float, float]] = {}  # sent, loaded at

    def of(self, read):
        return [
            (number, write)
            for number, write in enumerate(self.writes, start=len(self.reads))
            if write.user in (None, read.user)
        ]

    def down(self, at):
        return any(begin <= at < end for begin, end in self.outages)

    def changed(self, read, since, until):
        return any(write.committed and since < write.until <= until for _, write in self.of(read))

    def unheard(self, read, since, at, worker):
        def told(moment):
            return max([moment, *(end for begin, end in self.outages if begin <= moment < end)]) + LAG

        return not any(
            write.committed
            and since < write.until <= at
            and (self.worker(number) == worker or told(write.until) <= at)
            for number, write in self.of(read)
        )

    def held(self, read, at, worker):
        return any(w.at <= at < w.until and self.worker(number) == worker for number, w in self.of(read))

    def overtaken(self, read, number):
        worker, end = self.worker(number), read.at + read.took
        begun = any(read.at < w.at <= end and self.worker(n) == worker for n, w in self.of(read))
        return begun or self.held(read, end, worker) or self.changed(read, read.at, end) or self.down(end)

    def hits(self):
        """Where each read was answered: `l1`, `l2`, or nothing."""
        found = {}
        order = sorted(enumerate(self.reads), key=lambda item: item[1].at)
        loads: list[tuple[float, int, Read]] = []
        for number, read in order:
            for end, which, load in sorted(loads):
                if end <= read.at:
                    loads.remove((end, which, load))
                    if not self.overtaken(load, which):
                        self.keep(load, which, end)
            level = self.answer(read, number)
            if level:
                found[number] = level
            elif not self.down(read.at) and not self.held(read, read.at, self.worker(number)):
                loads.append((read.at + read.took, number, read))
        return found

    def keep(self, read, number, end):
        worker = self.worker(number)
        self.kept.append((end, read.at, read, worker))
        if "l1" in self.levels:
            self.copies[worker, read.user, read.page] = (read.at, read.at)

    def answer(self, read, number):
        worker, at = self.worker(number), read.at
        if self.down(at) or self.held(read, at, worker):
            return None
        if "l1" in self.levels and (worker, read.user, read.page) in self.copies:
            sent, loaded = self.copies[worker, read.user, read.page]
            fresh = sent <= at < sent + LEASE and at < loaded + TTL
            cut = any(sent < begin <= at for begin, _ in self.outages)
            if fresh and not cut and self.unheard(read, sent, at, worker):
                return "l1"
        for _, loaded, other, owner in sorted(self.kept, key=lambda item: item[0], reverse=True):
            if (other.user, other.page) == (read.user, read.page) and (
                owner == worker or "l2" in self.levels
            ):
                if at < loaded + TTL and not self.changed(read, loaded, at):
                    if "l1" in self.levels:
                        self.copies[worker, read.user, read.page] = (at, loaded)
                    return "l2" if "l2" in self.levels else "l1"
                break
        return None


def played(reads: list[Read], writes: list[Write], levels: str, workers: int, outages=()):
    trace = recorded(reads, writes).trace()
    plan = plan_of(PLAN.format(levels=levels))
    prepared = prepare(trace, plan)
    fleet = Fleet(
        [Worker(number) for number in range(workers)],
        memory=True,
        lag=int(LAG * MS),
        lease=int(LEASE * MS),
        outages=[Outage(int(begin * MS), int(end * MS)) for begin, end in outages],
    )
    run = Playing(prepared, ReplaySettings(), Judge(trace, prepared), late, fleet=fleet).run()
    found = {number - 1: "l2" if number in run.remote else "l1" for number in run.hits}
    return found, lambda number: fleet.worker(number + 1).number


@pytest.mark.parametrize("outages", [(), ((2000.0, 3500.0), (4000.0, 4120.0))], ids=["up", "down"])
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("levels", [BOTH, MEMORY, SHARED])
def test_hits_and_their_levels_equal_the_oracle(levels, workers, outages):
    for seed in range(2):
        reads, writes = traffic(seed, overlapping=True)
        found, worker = played(reads, writes, levels, workers, outages)
        expected = Oracle(reads, writes, worker, levels=levels, outages=outages).hits()
        assert found == expected
        assert len(found) > 10


def test_more_workers_without_a_shared_store_hit_less():
    reads, writes = traffic(1, overlapping=False)
    alone, many = (len(played(reads, writes, MEMORY, workers)[0]) for workers in (1, 8))
    assert 0 < many < alone


def read_after_a_write_of_another(pause: float, workers: int) -> Recording:
    """Two reads of one page with a write between, which somebody else's worker answers."""
    recording = Recording()
    listing = recording.route("GET", "/tasks", "query:page", credentials=("header:authorization",))
    saving = recording.route("POST", "/tasks")
    fleet = Fleet([Worker(number) for number in range(workers)])
    reader, at = None, 0.0
    for number in range(1, 40):
        worker = fleet.worker(number)
        wanted = reader is None or (at == 100 and worker is not reader) or (at > 100 and worker is reader)
        if not wanted:
            recording.request(saving, 5000 + number, 1, user=9, status=422)
        elif at == 100:
            recording.request(saving, 100, 10, user=1)
            recording.transaction(1, 101, 104, request=number, committed=True)
            recording.sql(
                "UPDATE tasks SET title = ? WHERE user_id = ?",
                ("new", 1),
                at=102,
                request=number,
                transaction=1,
            )
            at = 104 + pause
        else:
            recording.request(listing, at, 5, user=1, values={"query.page": 1}, body=f"at {at}")
            recording.sql("SELECT title FROM tasks WHERE user_id = ?", (1,), at=at + 1, request=number)
            if reader is not None:
                return recording
            reader, at = worker, 100.0
    raise AssertionError


def test_a_lagging_bus_shows_as_stale_answers_with_their_writer():
    settings = ReplaySettings(workers=3, bus_ms=50)
    outcome = replay(
        read_after_a_write_of_another(20, 3).trace(), plan_of(PLAN.format(levels=BOTH)), settings
    )
    (answer,) = outcome.details
    assert (answer.kind, answer.last_write.tables) == ("stale", ("tasks",))
    late_read = read_after_a_write_of_another(60, 3).trace()
    assert replay(late_read, plan_of(PLAN.format(levels=BOTH)), settings).wrong_answers == 0


def test_bytes_that_move_are_told_from_those_in_memory():
    reads, writes = traffic(2, overlapping=False)
    trace = recorded(reads, writes).trace()
    plan = plan_of(PLAN.format(levels=BOTH))
    told = replay(trace, plan, ReplaySettings(workers=2)).to_json()["bytes"]
    assert 0 < told["from_shared"] < told["served"]
    assert told["to_shared"] == told["stored"] > 0
    one = replay(trace, plan).to_json()["bytes"]
    assert (one["from_shared"], one["to_shared"]) == (None, None)
    assert one["served"] == told["served"]


def test_an_outage_serves_nothing_and_costs_hits():
    reads, writes = traffic(3, overlapping=False)
    trace = recorded(reads, writes).trace()
    plan = plan_of(PLAN.format(levels=BOTH))
    fault = parse_fault("redis-down=5s")
    whole = replay(trace, plan, ReplaySettings(workers=2))
    hurt = replay(trace, plan, ReplaySettings(workers=2, outages=[fault.outage(trace)]))
    assert 0 < hurt.hits < whole.hits
    assert {"no_store"} <= {reason for route in hurt.routes for reason in route.misses}
    assert hurt.wrong_answers == 0


def test_faults_are_read_with_their_moment():
    assert parse_fault("redis-down=60s") == Fault(60.0)
    assert parse_fault("redis-down=1m@0") == Fault(60.0, 0.0)
    assert parse_fault(" redis-down = 2m @ 90s ") == Fault(120.0, 90.0)


@pytest.mark.parametrize("text", ["", "redis-down", "redis-down=soon", "disk-full=3s", "redis-down=3s@later"])
def test_what_is_no_fault_is_refused_with_an_example(text):
    with pytest.raises(RequirementError) as refused:
        parse_fault(text)
    assert "redis-down=60s" in str(refused.value.hint)
