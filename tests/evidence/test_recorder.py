"""The recorder alone, fed by hand: what it keeps, what it never writes, what it costs to import."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests.evidence.feeding import LIST, ask, jwt, jwt_of, make, scope_of, statement, trace_of, wait_for

from cachewright.capture.context import RequestContext
from cachewright.capture.events import UNKNOWN, RowImage, Statement, Transaction
from cachewright.evidence.recording import Recording
from cachewright.evidence.tracereader import read_trace


@pytest.fixture
def recorder(tmp_path):
    recorder = make(tmp_path / "t.trace")
    yield recorder
    recorder.close()


async def test_a_request_is_kept_whole(recorder, tmp_path):
    def run(context):
        transaction = Transaction(5, time.monotonic_ns())
        recorder.executed(statement(), transaction, context)
        recorder.ended(transaction, committed=False, started=10**18, ended=10**18 + 7, context=context)

    await ask(recorder, query=b"page=02&open=YES&other=x", reads={"header:x-zone", "query:other"}, during=run)
    trace = trace_of(recorder, tmp_path / "t.trace")

    [request] = trace.requests
    [route] = trace.routes
    assert (route.id, route.method, route.template) == (request.route, "GET", "/api/items/{item_id}")
    assert (request.status, request.size, request.method) == (200, 5, "GET")
    assert request.reads == {"header:x-zone", "query:other"}
    assert request.started <= request.entered <= request.answered <= request.returned
    assert set(request.values) == {
        "path.item_id",
        "query.sort",
        "query.page",
        "query.open",
        "query.tag",
        "query.other",
        "header.accept-language",
        "header.x-zone",
        "host",
    }
    assert {name: value.kind for name, value in request.values.items() if value.kind != "s"} == {
        "path.item_id": "i",
        "query.page": "i",
        "query.open": "b",
        "query.tag": "n",
        "header.x-zone": "n",
    }
    [ran] = trace.statements
    assert ran.request == request.id
    assert ran.binds["0"].loose == request.values["path.item_id"].loose
    assert trace.transactions[5].request == request.id
    assert not trace.transactions[5].committed
    assert (trace.application, trace.dropped) == ("shop:app", 0)
    assert trace.recorded_at.startswith("2023-11-14T22:13:20")


async def test_one_credential_one_hash_and_the_end_of_its_token(recorder, tmp_path):
    token = jwt(sub="7", role="admin", exp=1_700_000_060, deep={"a": [1]})
    before = time.monotonic_ns()
    for header in (token, token, jwt(sub="8")):
        await ask(recorder, headers=[(b"authorization", f"Bearer {header}".encode())])
    await ask(recorder)
    trace = trace_of(recorder, tmp_path / "t.trace")

    first, second, third, last = trace.requests
    assert first.credential == second.credential != third.credential is not None
    assert last.credential is None
    assert abs(first.credential_expires - before - 60e9) < 30e9
    assert third.credential_expires is None
    assert set(first.values) >= {"claim.sub", "claim.role", "claim.deep"}
    assert "claim.exp" not in first.values
    assert first.values["claim.sub"].loose == first.values["path.item_id"].loose


async def test_where_the_token_stood_is_kept_if_the_application_looks_there(recorder, tmp_path):
    token = jwt(sub="7")
    await ask(recorder, headers=[(b"authorization", f"Token {token}".encode())])
    await ask(recorder, headers=[(b"cookie", f"session={token}".encode())], reads={"cookie:session"})
    await ask(recorder, headers=[(b"cookie", f"mine={token}".encode())])
    await ask(recorder, headers=[(b"authorization", b"Basic abc"), (b"cookie", f"session={token}".encode())])
    trace = trace_of(recorder, tmp_path / "t.trace")
    carriers = [request.carrier for request in trace.requests]
    assert carriers == ["header:authorization", "cookie:session", None, None]


async def test_the_digest_is_of_status_type_and_body_at_the_route(recorder, tmp_path):
    body = {"type": "http.response.body", "body": b"hello"}
    halves = [
        {"type": "http.response.body", "body": b"hel", "more_body": True},
        {"type": "http.response.body", "body": b"lo"},
    ]
    await ask(recorder, answer=[body])
    await ask(recorder, answer=halves)
    await ask(recorder, answer=[body], status=201)
    await ask(recorder, answer=[{"type": "http.response.body", "body": b"other"}])
    await ask(recorder, route=None, status=404)
    await ask(recorder, route=None, status=401)
    trace = trace_of(recorder, tmp_path / "t.trace")

    one, streamed, created, other, *outer = trace.requests
    assert one.digest == streamed.digest
    assert len({request.digest for request in (one, created, other, *outer)}) == 5
    assert [request.streamed for request in trace.requests] == [False, True, False, False, False, False]
    assert [request.route for request in outer] == [None, None]


async def test_flags_and_directives_are_those_of_the_route(recorder, tmp_path):
    async def app(_scope, _receive, send):
        context.background = True
        recorder.escaped(context, "out")
        headers = [(b"Set-Cookie", b"sid=topsecret"), (b"cache-control", b"No-Store, max-age=0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async def send(message):
        pass

    context = RequestContext(started=1, scope=scope_of(), route=LIST, path_params={"item_id": 1}, entered=2)
    await recorder.enter(context, app, scope_of(), None, send)
    context.returned = 3
    recorder.finished(context)
    [request] = trace_of(recorder, tmp_path / "t.trace").requests

    assert (request.set_cookie, request.background, request.escaped) == (True, True, True)
    assert request.cache_control == {"no-store", "max-age=0"}
    assert request.answered == 3, (
        "a response that was cut off counts as answered when the application returned"
    )


async def test_a_route_that_raises_has_the_answer_that_left(recorder, tmp_path):
    async def app(_scope, _receive, _send):
        raise LookupError

    context = RequestContext(started=1, scope=scope_of(), route=LIST, path_params={"item_id": 1}, entered=2)
    with pytest.raises(LookupError):
        await recorder.enter(context, app, scope_of(), None, None)
    context.status, context.returned = 500, 3
    recorder.finished(context)
    [request] = trace_of(recorder, tmp_path / "t.trace").requests
    assert (request.status, request.route) == (500, 1)


async def test_sql_outside_of_requests_and_after_them_belongs_to_none(recorder, tmp_path):
    context = await ask(recorder)
    recorder.executed(statement(), Transaction(1, 0), None)
    recorder.executed(statement(), Transaction(2, 0), context)
    trace = trace_of(recorder, tmp_path / "t.trace")
    assert [ran.request for ran in trace.statements] == [None, None]
    assert len(trace.requests) == 1
    assert recorder._open == {}


async def test_sets_of_parameters_images_and_autocommit(recorder, tmp_path):
    recorder.executed(statement(parameters=[(n, "x") for n in range(30)], many=True), Transaction(1, 0), None)
    recorder.executed(statement(parameters=[(n, "x") for n in range(65)], many=True), Transaction(1, 0), None)
    recorder.executed(statement("DELETE FROM items", None), Transaction(0, 0), None)
    recorder.executed(statement(parameters={"b": 1, "a": 2}, paramstyle="named"), Transaction(1, 0), None)
    image = RowImage(
        table="items",
        action="update",
        old={
            "id": 7,
            "owner": 1,
            "note": None,
            "bio": "x" * 201,
            "price": 1.5,
            "due": "2024-01-05",
            "raw": b"x",
        },
        new={"id": 7, "owner": UNKNOWN, "note": "n", "bio": "y", "price": 2.0, "due": None, "raw": b"y"},
        changed=frozenset({"owner", "note", "bio"}),
    )
    recorder.flushed([image], Transaction(1, 0), None)
    recorder.flushed([image], Transaction(0, 0), None)
    recorder.ended(Transaction(0, 0), committed=True, started=1, ended=2, context=None)
    trace = trace_of(recorder, tmp_path / "t.trace")

    many, too_many, bare, named = trace.statements
    assert (many.many, set(many.binds), len(many.sets)) == (30, {"0", "1"}, 30)
    assert (too_many.many, len(too_many.binds), too_many.sets) == (65, 2, None)
    assert (bare.many, bare.binds, bare.transaction) == (1, {}, 0)
    assert set(named.binds) == {"a", "b"}
    [kept] = trace.images
    assert set(kept.old) == {"id", "owner", "note"}
    assert set(kept.new) == {"id", "note", "bio", "price", "due"}
    assert kept.old["note"].kind == "n"
    assert kept.old["note"].loose is not None
    assert kept.changed == {"owner", "note", "bio"}
    assert kept.old["id"].loose == many.sets[7]["0"].loose != kept.old["owner"].loose
    assert trace.transactions == {}


async def test_values_are_shown_only_where_many_people_used_them(recorder, tmp_path):
    for user in range(3):
        authorization = [(b"authorization", f"Bearer {jwt(sub=str(user))}".encode())]
        await ask(recorder, query=b"sort=old&open=1", headers=authorization)
        await ask(recorder, query=b"sort=mine%d" % user, headers=authorization)
    for _ in range(3):  # one person with three tokens
        again = [(b"authorization", f"Bearer {jwt(sub='9', jti=os.urandom(4).hex())}".encode())]
        await ask(recorder, query=b"sort=rare", headers=again)
        await ask(recorder, query=b"sort=bad", headers=again, status=422)
    trace = trace_of(recorder, tmp_path / "t.trace")
    shown = {name: set(values.values()) for name, values in trace.clear.items()}
    assert shown["query.sort"] == {"old"}
    assert shown["query.open"] == {"true"}
    assert trace.clear["query.sort"][trace.requests[0].values["query.sort"].exact] == "old"


async def test_headers_that_carry_a_declared_identity_are_kept_though_nobody_reads_them(tmp_path):
    recorder = make(tmp_path / "t", {"tenant": "header:X-Tenant", "user": "claim:sub"})
    await ask(recorder, headers=[(b"x-tenant", b"acme")])
    trace = trace_of(recorder, tmp_path / "t")
    assert trace.requests[0].values["header.x-tenant"].kind == "s"
    assert trace.declared_identity == {"tenant": "header:X-Tenant", "user": "claim:sub"}


async def test_routes_nobody_asks_for_are_known_too(recorder, tmp_path):
    recorder.add_routes([LIST])
    await ask(recorder)
    trace = trace_of(recorder, tmp_path / "t.trace")
    assert len(trace.routes) == 1
    assert trace.routes[0].credentials == ("header:authorization",)


async def test_hostile_requests_are_kept_too(recorder, tmp_path):
    await ask(recorder, method="X-SECRET-METHOD", query=b"%ff%00&page=" + b"9" * 4000)
    enormous = jwt_of('{"exp": 1' + "0" * 400 + ', "na\\u0000me": 1, "\\ud800": 1, "ok": "\\ud800"}')
    await ask(
        recorder, headers=[(b"authorization", f"Bearer {enormous}".encode()), (b"cookie", b"\xff=\xfe;;=")]
    )
    await ask(recorder, headers=[(b"authorization", b"Bearer a.b.c")], item="\ud800")
    trace = trace_of(recorder, tmp_path / "t.trace")
    assert trace.dropped == 0
    assert [request.method for request in trace.requests] == ["OTHER", "GET", "GET"]
    assert [name for name in trace.requests[1].values if name.startswith("claim.")] == ["claim.ok"]


async def test_a_flood_of_the_largest_headers_is_bounded_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("cachewright.evidence.tracewriter._BYTES_AT_MOST", 1_000_000)
    recorder = make(tmp_path / "t.trace", limit=100_000)
    monkeypatch.setattr(recorder._writer, "_prepare", lambda _event: time.sleep(0.05) or ())
    for number in range(200):
        filled = b"%d" % number + b"x" * 60_000
        await ask(recorder, headers=[(b"x-filler", filled)], query=b"q=" + filled[:2_000])
        recorder.executed(
            Statement(f"SELECT '{'y' * 60_000}'", (), False, "sqlite", "qmark", 0, 1, 0, False, False, False),
            Transaction(0, 0),
            None,
        )
    assert recorder._writer.waiting * 60_000 < 1_300_000
    assert recorder.dropped >= 300
    recorder.close()


SECRETS = {
    "password": "correct-horse-battery",
    "token": "tok_live_51Hq",
    "email": "ada@lovelace.example",
    "cookie": "c00kie-value-77",
    "diary": "Dear diary, today I " + "wrote a great deal " * 20,
    "literal": "inlined-literal-3",
    "claim": "Augusta Ada King",
    "body": "the-body-of-the-answer",
    "comment": "who-wrote-this",
    "path": "private-path-part",
    "iban": "4915112345678901",
}


async def test_secrets_never_reach_the_disk(tmp_path):
    path = tmp_path / "t.trace"
    recorder = make(path)
    authorization = f"Bearer {jwt(sub='7', name=SECRETS['claim'], email=SECRETS['email'])}"
    headers = [
        (b"authorization", authorization.encode()),
        (b"cookie", f"sid={SECRETS['cookie']}".encode()),
        (b"x-api-key", SECRETS["token"].encode()),
        (b"accept-language", SECRETS["email"].encode()),
    ]

    def run(context):
        transaction = Transaction(1, 0)
        sql = f"SELECT * FROM t WHERE a = '{SECRETS['literal']}' AND p = {SECRETS['iban']} -- {SECRETS['comment']}"
        recorder.executed(statement(sql, tuple(SECRETS.values())), transaction, context)
        recorder.executed(
            statement("UPDATE t SET a = :a", dict(SECRETS), paramstyle="named"), transaction, context
        )
        recorder.executed(statement(parameters=("x" * 9_000 + SECRETS["diary"],)), transaction, context)
        image = RowImage("t", "update", dict(SECRETS), dict(SECRETS), frozenset(SECRETS))
        recorder.flushed([image], transaction, context)

    query = f"sort={SECRETS['email']}&tag={SECRETS['password']}&token={SECRETS['token']}&q={SECRETS['email']}"
    reads = {
        "query:token",
        "query:q",
        "header:authorization",
        "cookie:sid",
        "header:x-api-key",
        "headers",
        "url",
    }
    for _ in range(5):
        await ask(
            recorder,
            item=SECRETS["path"],
            path=f"/api/items/{SECRETS['path']}",
            query=query.encode(),
            headers=headers,
            reads=reads,
            during=run,
            answer=[{"type": "http.response.body", "body": SECRETS["body"].encode()}],
        )
    wait_for(lambda: len(read_trace(path).requests) == 5)
    assert_clean(tmp_path, authorization)
    assert (tmp_path / "t.trace-wal").stat().st_size > 0, "the log was looked at while it held the trace"
    recorder.close()
    assert_clean(tmp_path, authorization)


def assert_clean(directory, authorization):
    for file in directory.iterdir():
        content = file.read_bytes()
        for secret in (*SECRETS.values(), authorization, authorization.split(".")[1], "x" * 50):
            assert secret.encode() not in content, (file.name, secret)


def test_a_recording_that_is_killed_loses_the_last_second_at_most(tmp_path):
    path = tmp_path / "t.trace"
    program = f"""
        import sys, time
        from cachewright.capture.events import Statement, Transaction
        from cachewright.evidence.recorder import Recorder
        recorder = Recorder({str(path)!r}, "a", {{}}, time.monotonic_ns)
        number = 0
        while True:
            now = time.monotonic_ns()
            recorder.executed(
                Statement("SELECT ?", (number,), False, "sqlite", "qmark", now, now, number, False, False, False),
                Transaction(1, now), None)
            number += 1
            print(now, flush=True)
            time.sleep(0.002)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    moments = []
    for line in child.stdout:
        moments.append(int(line))
        if moments[-1] - moments[0] > 1_500_000_000:
            child.send_signal(signal.SIGKILL)
            break
    moments += map(int, child.stdout.read().split())
    child.wait()
    child.stdout.close()
    child.stderr.close()

    kept = {seen.started for seen in read_trace(path).statements}
    lost = [moment for moment in moments if moment not in kept]
    assert all(moments[-1] - moment <= 1_000_000_000 for moment in lost)


def test_importing_the_recorder_brings_nothing_the_application_did_not_ask_for():
    program = (
        "import sys, cachewright.evidence.recorder; "
        "print([name for name in ('sqlglot', 'pydantic', 'numpy', 'redis', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_key_is_asked_for_once_and_never_written(tmp_path):
    asked = []

    def key(size):
        asked.append(size)
        return b"\xab" * size

    recording = Recording.begin(key)
    make(tmp_path / "t", recording=recording).close()
    assert asked == [8, 32]
    assert "ab" * 16 not in repr(recording)
    assert "\\xab" not in repr(recording)
    assert b"\xab" * 8 not in Path(tmp_path / "t").read_bytes()
