"""Hits of the replay against a second simulator that knows nothing of tags, tokens, keys or SQL."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from tests.simulator.recording import MS, Recording, plan_of

from cachewright.simulator.judge import Judge
from cachewright.simulator.lookups import prepare
from cachewright.simulator.playing import Playing, late
from cachewright.simulator.replay import replay
from cachewright.simulator.settings import ReplaySettings

PLAN = """
identity: {{user: "claim:sub"}}
cache_targets:
- endpoint: GET /tasks
  scope: user
  cache_key_pattern: user:{{user_id}}:tasks:page={{page}}
  depends_on: ["tasks(user_id={{user_id}})"]
  strategy: {{ttl: {{duration_seconds: {ttl}}}}}
"""


@dataclass(frozen=True)
class Read:
    at: float
    took: float
    user: int
    page: int


@dataclass(frozen=True)
class Write:
    """A statement at `at`, a commit that returns at `until`; `user` None is a write to rows nobody could pin."""

    at: float
    until: float
    user: int | None
    committed: bool


def oracle_hits(reads: list[Read], writes: list[Write], ttl: float) -> set[int]:
    """Which reads are hits: one value for each (user, page), dropped by writes, dead `ttl` ms after its read
    began. What was read while a write began or ended, even one that is rolled back, is not kept.
    """
    moments: list[tuple[float, int, int, object]] = []
    for number, write in enumerate(writes):
        moments += [(write.at, 0, number, ("begin", write)), (write.until, 1, number, ("end", write))]
    for number, read in enumerate(reads):
        moments += [(read.at + read.took, 2, number, ("fill", read)), (read.at, 3, number, ("look", read))]
    filled: dict[tuple[int, int], float] = {}
    touched: dict[int | None, float] = {}
    open_writes: list[Write] = []
    loading: dict[int, bool] = {}
    hits: set[int] = set()

    def touches(write: Write, read: Read) -> bool:
        return write.user is None or write.user == read.user

    def overtaken(read: Read) -> bool:
        return max(touched.get(read.user, -1), touched.get(None, -1)) > read.at

    for now, _, number, (what, item) in sorted(moments, key=lambda moment: moment[:3]):
        match what, item:
            case "begin", Write():
                open_writes.append(item)
                touched[item.user] = now
            case "end", Write():
                open_writes.remove(item)
                if item.committed:
                    touched[item.user] = now
                    for user, page in [place for place in filled if item.user in (None, place[0])]:
                        del filled[user, page]
            case "look", Read():
                held = any(touches(write, item) for write in open_writes)
                if not held and filled.get((item.user, item.page), -1) > now:
                    hits.add(number)
                else:
                    loading[number] = not held
            case "fill", Read():
                if loading.pop(number, False) and not overtaken(item):
                    filled[item.user, item.page] = item.at + ttl
    return hits


def traffic(seed: int, *, overlapping: bool) -> tuple[list[Read], list[Write]]:
    dice = random.Random(seed)
    reads: list[Read] = []
    writes: list[Write] = []
    now = 0.0
    for _ in range(300):
        now += dice.randint(1, 30) if overlapping else dice.randint(60, 90)
        if dice.random() < 0.2:
            user = None if dice.random() < 0.15 else dice.randint(1, 3)
            writes.append(Write(now, now + dice.randint(3, 40) + 0.5, user, dice.random() < 0.8))
        else:
            reads.append(Read(now, dice.randint(2, 50) + 0.25, dice.randint(1, 3), dice.randint(1, 3)))
    return reads, writes


def recorded(reads: list[Read], writes: list[Write]) -> Recording:
    recording = Recording()
    listing = recording.route("GET", "/tasks", "query:page", credentials=("header:authorization",))
    saving = recording.route("POST", "/tasks")
    for read in reads:
        number = recording.request(
            listing, read.at, read.took, user=read.user, values={"query.page": read.page}
        )
        recording.sql(
            "SELECT title FROM tasks WHERE user_id = ? LIMIT 10 OFFSET ?",
            (read.user, read.page * 10),
            at=read.at + 0.1,
            request=number,
        )
    for place, write in enumerate(writes, start=1):
        number = recording.request(saving, write.at, write.until - write.at, user=9)
        recording.transaction(place, write.at, write.until, request=number, committed=write.committed)
        text, binds = (
            ("UPDATE tasks SET title = ? WHERE title = ?", ("new", "old"))
            if write.user is None
            else ("UPDATE tasks SET title = ? WHERE user_id = ? AND id = ?", ("new", write.user, 4))
        )
        recording.sql(text, binds, at=write.at, request=number, transaction=place)
    return recording


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_hits_equal_the_oracle(seed: int, overlapping: bool) -> None:
    reads, writes = traffic(seed, overlapping=overlapping)
    ttl = 2 if overlapping else 4
    trace = recorded(reads, writes).trace()
    plan = plan_of(PLAN.format(ttl=ttl))
    prepared = prepare(trace, plan)
    run = Playing(prepared, ReplaySettings(), Judge(trace, prepared), late).run()
    expected = oracle_hits(reads, writes, ttl * 1000)
    assert {number - 1 for number in run.hits} == expected
    assert len(expected) > 20


@pytest.mark.parametrize("seed", range(3))
def test_without_overlap_the_bracket_is_a_point(seed: int) -> None:
    reads, writes = traffic(seed, overlapping=False)
    outcome = replay(recorded(reads, writes).trace(), plan_of(PLAN.format(ttl=4000)))
    assert outcome.low == outcome.hit_rate == outcome.high
    assert outcome.wrong_answers == 0


def test_the_oracle_knows_time_in_the_same_unit() -> None:
    assert oracle_hits([Read(0, 2, 1, 1), Read(10, 2, 1, 1), Read(2010, 2, 1, 1)], [], 2000) == {1}
    assert MS == 1_000_000
