"""Members that differ each time are left out of digests where they are declared or show themselves; no others."""

import json
import time
import uuid

import pytest
from tests.evidence.feeding import ask, jwt, make, statement

from cachewright.capture.events import Transaction
from cachewright.evidence.tracereader import read_trace
from cachewright.evidence.volatile import ENOUGH, Members, volatile_members, without

JSON = b"application/json"


def moment():
    return f"2024-01-05T10:00:00.{time.monotonic_ns() % 1_000_000:06}"


async def answer(recorder, body, **named):
    content = json.dumps(body).encode()
    return await ask(recorder, answer=[{"type": "http.response.body", "body": content}], kind=JSON, **named)


async def digests(path, bodies, **named):
    recorder = make(path, **named)
    for body in bodies:
        await answer(recorder, body)
    recorder.close()
    return read_trace(path)


async def test_declared_members_do_not_count(tmp_path):
    bodies = [{"a": 1, "meta": {"took": took, "b": [{"took": -took}]}} for took in range(3)]
    trace = await digests(
        tmp_path / "t", [*bodies, {"a": 2, "meta": {"took": 0, "b": [{"took": 0}]}}], volatile=["took"]
    )
    one, two, three, other = trace.requests
    assert one.digest == two.digest == three.digest != other.digest
    assert one.ignored == {"took"}
    assert all(map(trace.comparable(), trace.requests))


async def test_a_declared_member_is_not_looked_for_in_what_is_no_json(tmp_path):
    recorder = make(tmp_path / "t", volatile=["took"])
    await ask(recorder, answer=[{"type": "http.response.body", "body": b"{broken"}], kind=JSON)
    await ask(recorder)
    await answer(recorder, {"took": 1, "long": "x" * 70_000})
    await answer(recorder, {"took": 2, "long": "x" * 70_000})
    recorder.close()
    *_, one, two = read_trace(tmp_path / "t").requests
    assert one.digest != two.digest
    assert one.ignored == frozenset()


async def test_members_that_differ_in_every_quiet_pair_are_found(tmp_path):
    bodies = [{"a": 1, "at": moment(), "items": [{"request_id": str(uuid.uuid4())}]} for _ in range(20)]
    trace = await digests(tmp_path / "t", bodies)
    first, *_, last = trace.requests
    assert first.ignored == frozenset()
    assert last.ignored == {"$.at", "$.items[].request_id"}
    assert len({request.digest for request in trace.requests if request.ignored}) == 1
    assert {seen.member for seen in trace.volatile} == last.ignored
    assert all(seen.trusted and seen.pairs == 19 for seen in trace.volatile)
    assert all(map(trace.comparable(), trace.requests))


@pytest.mark.parametrize(
    "change",
    [
        lambda at: {"count": at},
        lambda at: {"token": str(uuid.uuid4())},
        lambda at: {"upload_url": uuid.uuid4().hex},
        lambda at: {"text": f"answer {at}"},
        lambda at: {"items": [moment()] * at},
        lambda at: {f"user{at}": moment()},
        lambda at: {"at": f"2024-01-05T10:00:0{at // 2}"},
        lambda at: moment(),
        lambda at: {"ada@lovelace.example": moment()},
    ],
    ids=[
        "counter",
        "secret",
        "address",
        "text",
        "length",
        "names",
        "sometimes",
        "no member",
        "data as a name",
    ],
)
async def test_other_differences_stay_in_the_digest(tmp_path, change):
    """Even where every single answer differs: what is no moment and no identifier may be data."""
    trace = await digests(tmp_path / "t", [change(at) for at in range(15)])
    assert all(not request.ignored for request in trace.requests)


async def test_a_member_that_once_stayed_the_same_is_no_longer_ignored_nor_trusted(tmp_path):
    moments = [moment() for _ in range(10)]
    bodies = [{"at": at} for at in (*moments, moments[-1], moment(), moment())]
    trace = await digests(tmp_path / "t", bodies)
    ignoring = [request for request in trace.requests if request.ignored]
    assert ignoring
    assert trace.requests[-1].ignored == frozenset()
    [seen] = trace.volatile
    assert seen.differed < seen.pairs
    comparable = trace.comparable()
    assert not any(map(comparable, ignoring))
    assert comparable(trace.requests[0])


async def test_pairs_with_a_write_between_teach_nothing(tmp_path):
    recorder = make(tmp_path / "t")
    for number in range(15):
        await answer(recorder, {"at": moment()})
        recorder.executed(statement("UPDATE t SET a = 1", ()), Transaction(number + 1, 0), None)
    recorder.close()
    assert all(not request.ignored for request in read_trace(tmp_path / "t").requests)


async def test_answers_to_others_teach_nothing(tmp_path):
    recorder = make(tmp_path / "t")
    for user in range(15):
        headers = [(b"authorization", f"Bearer {jwt(sub=str(user))}".encode())]
        await answer(recorder, {"at": moment()}, headers=headers)
    recorder.close()
    assert all(not request.ignored for request in read_trace(tmp_path / "t").requests)


async def test_a_route_without_volatile_members_is_left_alone(tmp_path):
    recorder = make(tmp_path / "t")
    for _ in range(40):
        await answer(recorder, {"a": 1})
        time.sleep(0.001)
    deadline = time.monotonic() + 10
    from tests.evidence.feeding import LIST

    while recorder._anonymiser.wants_body(LIST, "GET"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    recorder.close()


def test_members_are_left_out_by_name_anywhere_and_by_place_only_there():
    body = b'{"at": 1, "items": [{"at": 2, "b": 3}]}'
    assert without(body, frozenset({"at"})) == b'{"items":[{"b":3}]}'
    assert without(body, frozenset({"$.at"})) == b'{"items":[{"at":2,"b":3}]}'
    assert without(body, frozenset({"$.items[].at"})) == b'{"at":1,"items":[{"b":3}]}'
    assert without(b"{", frozenset({"at"})) is None


def test_deep_and_large_bodies_are_not_compared():
    deep = b"[" * 60_000 + b"]" * 60_000
    assert volatile_members(deep, deep) == frozenset()
    assert without(deep, frozenset({"a"})) is None
    many = json.dumps([{"at": moment()} for _ in range(6_000)]).encode()
    assert volatile_members(many, json.dumps([{"at": "x"} for _ in range(6_000)]).encode()) == frozenset()


def test_too_many_volatile_members_are_none():
    members = Members()
    for _ in range(ENOUGH):
        members.saw(frozenset(f"$.at{number}" for number in range(5)))
    assert members.volatile == frozenset()
