"""Files of one recording become one trace, whichever process wrote them and however often they were full."""

import os
import sqlite3
import time
from dataclasses import replace

import pytest
from tests.evidence.feeding import LIST, ask, jwt, make, statement

from cachewright.capture.events import RowImage, Transaction
from cachewright.errors import EvidenceError
from cachewright.evidence.outputs import claim
from cachewright.evidence.recorder import Recorder
from cachewright.evidence.recording import Recording, clock_of_this_boot
from cachewright.evidence.tracemerge import gather_parts, merge_traces
from cachewright.evidence.tracereader import read_trace

UNWRITABLE = b"SELECT 1"  # no text: the writer cannot take it in
INSERT = "INSERT INTO items (id, owner) VALUES (?, ?)"


@pytest.fixture
def recording():
    return Recording.begin()


async def one_request(recorder, number, user="7"):
    """A request that writes, with a transaction and an image of its row."""

    def run(context):
        transaction = Transaction(number, time.monotonic_ns())
        recorder.executed(statement(), transaction, context)
        recorder.executed(statement(INSERT, (number, user), unit_of_work=True), transaction, context)
        image = RowImage("items", "insert", None, {"id": number, "owner": user}, frozenset({"id", "owner"}))
        recorder.flushed([image], transaction, context)
        recorder.ended(
            transaction,
            committed=True,
            started=transaction.began,
            ended=transaction.began + 9,
            context=context,
        )

    headers = [(b"authorization", f"Bearer {jwt(sub=user)}".encode())]
    await ask(recorder, item=str(number), query=b"open=1", headers=headers, during=run)


async def two_workers(path, recording, **named):
    """Two workers whose requests alternate, both with numbers from 1; neither knows of the other."""
    claim(path, "shop:app", {}, recording, clock=time.monotonic_ns)
    workers = [make(path, recording=recording, worker=number, **named) for number in (1, 2)]
    for number in (1, 2, 3):
        for worker in workers:
            await one_request(worker, number)
    for worker in workers:
        worker.add_routes([LIST])
        worker.close()


def files(path):
    return sorted(file.name for file in path.parent.iterdir())


def check_two_workers(trace):
    assert [request.worker for request in trace.requests] == [1, 2] * 3
    assert len({request.id for request in trace.requests}) == 6
    assert len(trace.routes) == 1
    assert len(trace.texts) == 2
    assert len({request.values["claim.sub"] for request in trace.requests}) == 1
    assert len({request.credential for request in trace.requests}) == 1
    items = [request.values["path.item_id"].loose for request in trace.requests]
    assert items[0::2] == items[1::2]
    by_request = {request.id: request for request in trace.requests}
    for run in trace.statements:
        owner = by_request[run.request]
        assert owner.started <= run.started <= owner.returned
    for image in trace.images:
        owner = by_request[trace.transactions[image.transaction].request]
        assert image.new["id"].loose == owner.values["path.item_id"].loose
    assert len(trace.transactions) == 6
    assert trace.clear["query.open"] == {trace.requests[0].values["query.open"].exact: "true"}


async def test_workers_are_read_as_one_and_gathered_into_one_file(tmp_path, recording):
    path = tmp_path / "a.trace"
    await two_workers(path, recording)
    assert files(path) == ["a.trace", "a.trace.1", "a.trace.2"]
    before = read_trace(path)
    check_two_workers(before)
    gather_parts(path)
    assert files(path) == ["a.trace"]
    assert read_trace(path) == before
    assert path.stat().st_mode & 0o777 == 0o600
    gather_parts(path)
    assert read_trace(path) == before


async def test_named_files_are_merged(tmp_path, recording):
    path = tmp_path / "a.trace"
    await two_workers(path, recording)
    merge_traces([tmp_path / "a.trace.2", tmp_path / "a.trace.1"], tmp_path / "b.trace")
    check_two_workers(replace(trace := read_trace(tmp_path / "b.trace"), requests=trace.requests))
    with pytest.raises(EvidenceError, match="already"):
        merge_traces([tmp_path / "a.trace.1"], tmp_path / "b.trace")
    merge_traces([tmp_path / "a.trace.1"], tmp_path / "b.trace", overwrite=True)
    assert len(read_trace(tmp_path / "b.trace").requests) == 3


async def test_a_file_may_be_merged_into_itself(tmp_path, recording):
    path = tmp_path / "a.trace"
    await two_workers(path, recording)
    merge_traces([path, tmp_path / "a.trace.1"], path, overwrite=True)
    check_two_workers(read_trace(path))
    assert files(path) == ["a.trace"]


async def test_rows_are_never_merged_twice(tmp_path, recording):
    path = tmp_path / "a.trace"
    await two_workers(path, recording)
    merge_traces([path], tmp_path / "b.trace")
    with pytest.raises(EvidenceError, match="holds what"):
        merge_traces([tmp_path / "b.trace", tmp_path / "a.trace.2"], tmp_path / "c.trace")
    assert not list(tmp_path.glob("c.trace*"))


async def test_a_file_that_was_gathered_but_not_yet_removed_counts_once(tmp_path, recording):
    path = tmp_path / "a.trace"
    await two_workers(path, recording)
    left = (tmp_path / "a.trace.2").read_bytes()
    gather_parts(path)
    (tmp_path / "a.trace.2").write_bytes(left)
    check_two_workers(read_trace(path))


async def test_files_of_another_recording_beside_it_are_not_read(tmp_path, recording):
    await two_workers(tmp_path / "a.trace", recording)
    (tmp_path / "a.trace.1").rename(tmp_path / "old")
    make(tmp_path / "other").close()
    (tmp_path / "other").rename(tmp_path / "a.trace.1")
    (tmp_path / "a.trace.7").write_text("notes")
    assert {request.worker for request in read_trace(tmp_path / "a.trace").requests} == {2}


async def test_other_keys_are_refused(tmp_path):
    for name in ("a", "b"):
        recorder = make(tmp_path / name)
        await one_request(recorder, 1)
        recorder.close()
    with pytest.raises(EvidenceError, match="different keys") as caught:
        merge_traces([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert "CACHEWRIGHT_RECORD_KEY" in caught.value.hint


async def test_other_applications_are_refused(tmp_path, recording):
    for name, application in (("a", "shop:app"), ("b", "blog:app")):
        other = Recording(name, recording.key, recording.clock)
        Recorder(tmp_path / name, application, {}, time.monotonic_ns, other).close()
    with pytest.raises(EvidenceError, match="different applications"):
        merge_traces([tmp_path / "a", tmp_path / "b"], tmp_path / "c")


async def test_other_hosts_are_refused_unless_their_wall_clocks_line_them_up(tmp_path, recording):
    here = Recording("one", recording.key, "clock of one host")
    there = Recording("two", recording.key, "clock of another")
    ahead = 5_000_000_000_000
    first = make(tmp_path / "a", recording=here)
    second = Recorder(
        tmp_path / "b",
        "shop:app",
        {},
        lambda: time.monotonic_ns() + ahead,
        there,
        wall=lambda: 1_700_000_000.0,
    )
    await one_request(first, 1)
    await one_request(second, 1)
    first.close()
    second.close()
    for statement_of in ("request", "statement"):  # as its clock would have had it
        with sqlite3.connect(tmp_path / "b") as connection:
            connection.execute(f"UPDATE {statement_of} SET started = started + {ahead}")
        connection.close()
    with pytest.raises(EvidenceError, match="different hosts") as caught:
        merge_traces([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert "--align-wall" in caught.value.hint
    merge_traces([tmp_path / "a", tmp_path / "b"], tmp_path / "c", align_wall=True)
    one, two = read_trace(tmp_path / "c").requests
    assert one.worker == two.worker == 0
    assert 0 < two.started - one.started < 60_000_000_000


def test_a_trace_that_was_not_recorded_is_refused(tmp_path, recording):
    from cachewright.evidence.tracefile import create_trace
    from cachewright.evidence.tracerows import meta_of

    create_trace(tmp_path / "a", meta_of("app", "now", {})).close()
    with pytest.raises(EvidenceError, match="which recording"):
        merge_traces([tmp_path / "a"], tmp_path / "b")


async def test_a_full_file_is_followed_by_another_and_all_are_read_as_one(tmp_path):
    path = tmp_path / "a.trace"
    recorder = make(path, rotate=150_000)
    for number in range(1, 1_001):
        await one_request(recorder, number)
        if number % 100 == 0:
            time.sleep(0.3)
    recorder.add_routes([LIST])
    recorder.close()
    parts = files(path)
    assert parts[:2] == ["a.trace", "a.trace.0.1"]
    assert len(parts) > 2
    assert all(file.stat().st_size < 400_000 for file in tmp_path.iterdir())
    trace = read_trace(path)
    assert [request.id for request in trace.requests] == list(range(1, 1_001))
    assert len(trace.statements) == 2_000
    assert {run.request for run in trace.statements} == {request.id for request in trace.requests}
    assert (len(trace.texts), len(trace.routes), len(trace.images), trace.dropped) == (2, 1, 1_000, 0)
    alone = read_trace(tmp_path / parts[1])
    assert 0 < len(alone.requests) < 1_000
    assert {run.text for run in alone.statements} <= set(alone.texts), "each file can be read by itself"
    make(path, overwrite=True).close()
    assert files(path) == ["a.trace"], "a new recording replaces all files of the old one"


async def test_a_full_file_that_nothing_follows_is_the_last(tmp_path):
    recorder = make(tmp_path / "a.trace", rotate=1)
    await one_request(recorder, 1)
    time.sleep(0.6)
    recorder.close()
    assert files(tmp_path / "a.trace") == ["a.trace"]


async def test_what_was_dropped_is_counted_once_over_all_files(tmp_path):
    recorder = make(tmp_path / "a.trace", rotate=1)
    await one_request(recorder, 1)
    recorder.executed(statement(sql=UNWRITABLE), Transaction(0, 0), None)
    time.sleep(0.6)
    await one_request(recorder, 2)
    recorder.executed(statement(sql=UNWRITABLE), Transaction(0, 0), None)
    recorder.close()
    assert len(files(tmp_path / "a.trace")) > 1
    assert read_trace(tmp_path / "a.trace").dropped == 2


def test_processes_of_this_boot_name_one_clock():
    assert clock_of_this_boot() == clock_of_this_boot() != ""


def test_hosts_without_such_a_name_have_a_clock_for_each_recording(monkeypatch, tmp_path):
    monkeypatch.setattr("cachewright.evidence.recording._BOOT", tmp_path / "none")
    one, other = Recording.begin(os.urandom), Recording.begin(os.urandom)
    assert one.clock != other.clock
    assert Recording.from_json(one.to_json()) == one
