"""A sample keeps whole histories of some keys, and every write."""

import time
from dataclasses import replace

from tests.evidence.feeding import LIST, ask, jwt, make, statement

from cachewright.capture.events import RowImage, Transaction
from cachewright.evidence.tracereader import read_trace

READS = {"header:authorization"}


def bearer(user):
    return [(b"authorization", f"Bearer {jwt(sub=str(user), jti=str(time.monotonic_ns()))}".encode())]


def key_of(request):
    return request.values["path.item_id"].exact, request.values["claim.sub"].exact


async def test_keys_are_kept_whole_or_not_at_all(tmp_path):
    recorder = make(tmp_path / "t", sample=0.3)

    def read(context):
        recorder.executed(statement(), Transaction(0, 0), context)

    for _ in range(3):
        for item in range(40):
            for user in (1, 2):
                await ask(recorder, item=str(item), headers=bearer(user), reads=READS, during=read)
    recorder.close()
    trace = read_trace(tmp_path / "t")
    kept = {}
    for request in trace.requests:
        kept[key_of(request)] = kept.get(key_of(request), 0) + 1
    assert set(kept.values()) == {3}
    assert 8 <= len(kept) <= 40, "of 80 keys about three tenths"
    assert len({item for item, _ in kept}) < len(kept), "of one item the keys of two users may be kept"
    assert len(trace.requests) + trace.left_out == 240
    assert trace.sampled == 0.3
    assert {run.request for run in trace.statements} == {request.id for request in trace.requests}


async def test_where_no_credential_is_read_all_users_share_a_key(tmp_path):
    public = replace(LIST, credentials=())
    recorder = make(tmp_path / "t", sample=0.3)
    for item in range(40):
        for user in (1, 2, 3):
            await ask(recorder, route=public, item=str(item), headers=bearer(user))
    recorder.close()
    items = {}
    for request in read_trace(tmp_path / "t").requests:
        items.setdefault(request.values["path.item_id"].exact, set()).add(request.values["claim.sub"].exact)
    assert 0 < len(items) < 40
    assert {len(users) for users in items.values()} == {3}


async def test_every_write_is_kept(tmp_path):
    recorder = make(tmp_path / "t", sample=0.000001)
    now = time.monotonic_ns()

    def write(context):
        recorder.executed(statement("UPDATE items SET a = 1", ()), Transaction(1, now), context)

    def flush(context):
        recorder.flushed([RowImage("t", "insert", None, {"a": 1}, frozenset())], Transaction(2, now), context)

    def call(context):
        recorder.executed(statement("SELECT refresh_items()", ()), Transaction(3, now), context)

    def escape(context):
        recorder.escaped(context, "out")

    def many(context):
        for _ in range(1_100):
            recorder.executed(statement(), Transaction(4, now), context)

    def read(context):
        recorder.executed(statement(), Transaction(5, now), context)

    for during in (write, flush, call, escape, many, read):
        await ask(recorder, during=during)
    recorder.executed(statement("DELETE FROM items", ()), Transaction(6, now), None)
    recorder.close()
    trace = read_trace(tmp_path / "t")
    assert (len(trace.requests), trace.left_out) == (5, 1)
    assert len([run for run in trace.statements if run.transaction == 4]) == 1_100
    assert [run.transaction for run in trace.statements if run.request is None] == [6]


async def test_the_end_of_a_write_is_kept_whichever_request_it_comes_with(tmp_path):
    """A session that outlives its request commits during one that is left out."""
    recorder = make(tmp_path / "t", sample=0.000001)
    transaction = Transaction(1, time.monotonic_ns())
    await ask(
        recorder,
        during=lambda context: recorder.executed(statement("DELETE FROM items", ()), transaction, context),
    )
    await ask(
        recorder,
        during=lambda context: recorder.ended(
            transaction, committed=True, started=5, ended=6, context=context
        ),
    )
    recorder.close()
    trace = read_trace(tmp_path / "t")
    assert len(trace.requests) == 1
    assert trace.transactions[1].committed
