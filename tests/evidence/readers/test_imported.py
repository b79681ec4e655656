"""From logs, HAR files and OpenAPI documents to traces, and what is made of these."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cachewright.cli import main
from cachewright.errors import EvidenceError
from cachewright.evidence.readers.openapi import declared_routes
from cachewright.evidence.tracereader import read_trace

SECRETS = ("S3cr3tToken4711abc", "ann@example.org", "hunter2", "203.0.113.9", "sessionid=zzz9")

OPENAPI = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://api.example.org/v1"}],
    "security": [{"bearer": []}],
    "paths": {
        "/items/{item_id}": {
            "parameters": [{"$ref": "#/components/parameters/Item"}],
            "get": {"parameters": [{"name": "lang", "in": "query", "schema": {"enum": ["de", "en"]}}]},
        },
        "/items/top": {"get": {"security": [{"key": []}]}},
    },
    "components": {
        "parameters": {"Item": {"name": "item_id", "in": "path", "required": True, "schema": {"type": "integer"}}},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
        },
    },
}  # fmt: skip


@dataclass
class Said:
    out: str
    err: str


@pytest.fixture
def run(capsys) -> Callable[..., Said]:
    """Run a command in this process; it has to end with `code`."""

    def run(*arguments: object, code: int = 0) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.run([str(argument) for argument in arguments])
        said = Said(*capsys.readouterr())
        assert (ended.value.code or 0) == code, said
        return said

    return run


def line(
    second: int, target: str, *, address: str = "203.0.113.9", status: int = 200, user: str = "-"
) -> str:
    at = datetime(2026, 1, 31, 12, second // 60, second % 60, tzinfo=UTC).strftime("%d/%b/%Y:%H:%M:%S %z")
    return f'{address} - {user} [{at}] "GET {target} HTTP/1.1" {status} 100 "-" "agent"'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    lines = [
        line(second, f"/v1/items/{second % 4}?lang=de", address=f"10.0.0.{second % 2}")
        for second in range(200)
    ]
    lines += [
        line(201, f"/v1/items/1?access_token={SECRETS[0]}&email={SECRETS[1]}"),
        line(202, f"/v1/items/2?{SECRETS[0]}"),
        line(202, f"/reset/{SECRETS[0]}", user="hunter2"),
        line(203, "/wp-login.php", status=404),
    ]
    path.write_text("\n".join(lines))
    return path


def test_a_log_becomes_a_trace_that_says_what_it_does_not_know(run, log, tmp_path):
    trace_file = tmp_path / "t.trace"
    run("import", log, "--out", trace_file)
    trace = read_trace(trace_file)
    assert trace.unknown == {"sql", "reads", "digests", "identity", "durations"}
    assert trace.source == "access.log"
    assert {route.template for route in trace.routes} == {"/v1/items/{id}", "/reset/{id}"}
    assert [request.route for request in trace.requests][-1] is None, "nobody answers there"
    assert (trace.requests[0].started, trace.requests[199].started) == (1, 199_000_000_001)


def test_no_value_of_a_log_stands_in_the_trace(run, log, tmp_path):
    trace_file = tmp_path / "t.trace"
    run("import", log, "--out", trace_file)
    written = trace_file.read_bytes()
    for secret in SECRETS:
        assert secret.encode() not in written


def test_several_files_are_put_in_order(run, log, tmp_path):
    lines = log.read_text().splitlines()
    (tmp_path / "access.log").write_text("\n".join(lines[100:]))
    (tmp_path / "access.log.1").write_text("\n".join(lines[:100]))
    run("import", tmp_path / "access.log", tmp_path / "access.log.1", "--out", tmp_path / "t.trace")
    starts = [request.started for request in read_trace(tmp_path / "t.trace").requests]
    assert starts == sorted(starts)
    assert len(starts) == 204


def test_a_design_of_a_log_caches_nothing_and_says_how_often_it_could_hit(run, log, tmp_path):
    run("import", log, "--out", tmp_path / "t.trace")
    found = json.loads(run("design", tmp_path / "t.trace", "--json").out)
    assert found["caching_specification"]["cache_targets"] == []
    items = next(no for no in found["not_cached"] if no["endpoint"] == "GET /v1/items/{id}")
    assert items["code"] == "insufficient_evidence"
    # 202 requests, one each second, for 4 items and two with another query; two clients, each asking for two
    assert items["figures"]["hit_rate_300s_shared"] == round(196 / 202, 4)
    assert items["figures"]["hit_rate_60s_shared"] == round((202 - 4 * 4 - 2) / 202, 4)
    assert items["figures"]["hit_rate_300s_each_client"] == round(196 / 202, 4)
    assert len(found["assumptions"]) == 5
    assert "Record the application" in found["clarifications_needed"][0]


SPEC = """
caching_specification:
  namespace: items
  cache_targets:
    - {endpoint: "GET /v1/items/{id}", scope: public, levels: [l2], cache_key_pattern: "items:id={path.id}",
       depends_on: ["items"], strategy: {ttl: {duration_seconds: 60}}}
"""


def test_a_simulation_on_a_log_tells_hits_and_leaves_the_rest_unknown(run, log, tmp_path):
    run("import", log, "--out", tmp_path / "t.trace")
    (tmp_path / "s.yaml").write_text(SPEC)
    found = json.loads(run("simulate", tmp_path / "s.yaml", "--trace", tmp_path / "t.trace", "--json").out)
    route = next(each for each in found["routes"] if each["cached"])
    assert route["hit_rate_predicted"] > 0.8
    for name in ("wrong_answers", "undecided", "queries_before", "p95_before_ms", "p95_after_ms"):
        assert route[name] is None, name
    assert found["wrong_answers"] is None
    assert found["database"]["time_before_ms"] is None
    assert "digests" in found["unknown"]
    run(
        "simulate",
        tmp_path / "s.yaml",
        "--trace",
        tmp_path / "t.trace",
        "--require",
        "wrong_answers=0",
        code=1,
    )
    run("simulate", tmp_path / "s.yaml", "--trace", tmp_path / "t.trace")


def test_a_log_without_times_tells_no_hit_rate(run, tmp_path):
    log = tmp_path / "uvicorn.log"
    log.write_text("\n".join(['INFO:     10.0.0.1:5 - "GET /a HTTP/1.1" 200 OK'] * 40))
    run("import", log, "--out", tmp_path / "t.trace")
    assert "times" in read_trace(tmp_path / "t.trace").unknown
    found = json.loads(run("design", tmp_path / "t.trace", "--json").out)
    assert found["not_cached"][0]["figures"] == {"requests": 40, "keys": 1, "repeats": 0.975}


def test_an_openapi_document_gives_the_routes(run, log, tmp_path):
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(OPENAPI))
    routes = {route.template: route for route in declared_routes(document)}
    assert [(param.name, param.type) for param in routes["/v1/items/{item_id}"].params] == [
        ("item_id", "integer"),
        ("lang", "enum"),
    ]
    assert routes["/v1/items/{item_id}"].credentials == ("header:authorization",)
    assert routes["/v1/items/top"].credentials == ("header:x-key",)
    run("import", log, "--openapi", document, "--out", tmp_path / "t.trace")
    trace = read_trace(tmp_path / "t.trace")
    assert "path.item_id" in trace.requests[0].values
    assert {request.route for request in trace.requests[-2:]} == {None}


@pytest.mark.parametrize("text", ["[1, 2]", "{}", "paths: 3", "a: [", "\x00"])
def test_what_is_no_openapi_document_is_refused(tmp_path, text):
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(EvidenceError):
        declared_routes(tmp_path / "d.yaml")


def har(*entries: dict) -> str:
    return json.dumps({"log": {"version": "1.2", "entries": list(entries)}})


def entry(second: int, body: str | None = "{}", **request: object) -> dict:
    return {
        "startedDateTime": f"2026-01-31T12:00:{second:02}.000Z", "time": 25.5,
        "request": {"method": "GET", "url": "https://x.org/me?b=2&a=1", "headers": [{"name": "Cookie", "value": SECRETS[4]}], **request},
        "response": {"status": 200, "headers": [], "content": {"size": 2} | ({} if body is None else {"text": body})},
    }  # fmt: skip


def test_a_har_file_tells_answers_clients_and_durations(run, tmp_path):
    path = tmp_path / "x.har"
    path.write_text(har(entry(0), entry(1), entry(2, "[]"), {"request": {}}, entry(3, headers=[])))
    result = run("import", path, "--out", tmp_path / "t.trace")
    assert "entry 4" in result.err
    trace = read_trace(tmp_path / "t.trace")
    assert trace.unknown == {"sql", "reads"}
    one, again, other, nobody = trace.requests
    assert one.digest == again.digest != other.digest
    assert one.credential == again.credential is not None
    assert nobody.credential is None
    assert one.answered - one.started == 25_500_000
    assert set(one.values) == {"query.a", "query.b"}
    assert SECRETS[4].encode() not in (tmp_path / "t.trace").read_bytes()


def test_a_har_file_without_bodies_knows_no_answers(run, tmp_path):
    (tmp_path / "x.har").write_text(har(entry(0, None)))
    run("import", tmp_path / "x.har", "--out", tmp_path / "t.trace")
    assert "digests" in read_trace(tmp_path / "t.trace").unknown


def test_a_file_without_requests_is_told(run, tmp_path):
    (tmp_path / "x.har").write_text(har())
    result = run("import", tmp_path / "x.har", "--out", tmp_path / "t.trace", code=2)
    assert "no request in it" in result.err
    assert not (tmp_path / "t.trace").exists()


def attributes(**found: object) -> list:
    return [
        {"key": name.replace("__", "."), "value": {"stringValue": str(value)}}
        for name, value in found.items()
    ]


OLD = {
    "http__method": "GET",
    "http__target": "/items/7?lang=de",
    "http__status_code": 200,
    "http__route": "/items/{item_id}",
}
NEW = {"http__request__method": "GET", "url__path": "/items/7", "url__query": "lang=de", "http__response__status_code": 200,
       "http__route": "/items/{item_id}"}  # fmt: skip


@pytest.mark.parametrize("http", [OLD, NEW])
@pytest.mark.parametrize(
    "db",
    [
        {"db__statement": f"SELECT * FROM items WHERE name = '{SECRETS[2]}'"},
        {"db__query__text": f"SELECT * FROM items WHERE name = '{SECRETS[2]}'"},
    ],
)
def test_spans_tell_routes_durations_and_sql(run, tmp_path, http, db):
    server = {
        "traceId": "t",
        "spanId": "s",
        "kind": 2,
        "startTimeUnixNano": "1000000000",
        "endTimeUnixNano": "1500000000",
        "attributes": attributes(**http),
    }
    client = {
        "traceId": "t",
        "kind": 3,
        "startTimeUnixNano": "1100000000",
        "endTimeUnixNano": "1200000000",
        "attributes": attributes(db__system="postgresql", **db),
    }
    broken = {"traceId": "u", "kind": 2, "attributes": attributes(**http)}
    document = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [client, server, broken]}]}]})
    path = tmp_path / "spans.json"
    again = document.replace('"t"', '"v"').replace('"u"', '"w"')
    path.write_text(f"{document}\n{again}\n")
    assert "2 lines" in run("import", path, "--out", tmp_path / "t.trace").err
    trace = read_trace(tmp_path / "t.trace")
    assert trace.unknown == {"binds", "reads", "digests", "identity"}
    assert [route.template for route in trace.routes] == ["/items/{item_id}"]
    assert set(trace.requests[0].values) == {"path.item_id", "query.lang"}
    first, _ = trace.requests
    assert first.answered - first.started == 500_000_000
    assert [
        (run.request, run.started - first.started, run.ended - run.started) for run in trace.statements[:1]
    ] == [(1, 100_000_000, 100_000_000)]
    assert SECRETS[2].encode() not in (tmp_path / "t.trace").read_bytes()
    assert (
        json.loads(run("design", tmp_path / "t.trace", "--json").out)["caching_specification"][
            "cache_targets"
        ]
        == []
    )


@pytest.mark.parametrize(
    ("start", "filler"),
    [
        (b'{"log": {"entries": [', b'{"request": {}},'),
        (b'{"resourceSpans": [', b'{"scopeSpans": []},'),
    ],
    ids=["har", "otlp"],
)
def test_a_document_that_unpacks_without_end_is_refused(run, tmp_path, monkeypatch, start, filler):
    monkeypatch.setattr("cachewright.evidence.readers.files.MOST_AT_ONCE", 1_000_000)
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(start + filler * 200_000))
    assert path.stat().st_size < 50_000
    assert "more than" in run("import", path, "--out", tmp_path / "t.trace", code=2).err


@pytest.mark.parametrize("start", ['{"log": {"entries": ', '{"resourceSpans": '])
def test_a_document_that_is_nested_without_end_is_refused(run, tmp_path, start):
    path = tmp_path / "deep.json"
    path.write_text(start + "[" * 100_000)
    run("import", path, "--out", tmp_path / "t.trace", code=2)


def test_spans_on_lines_and_laid_out_are_the_same(run, tmp_path):
    span = {
        "traceId": "1", "spanId": "2", "kind": 2, "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000005000000",
        "attributes": [
            {"key": "http.request.method", "value": {"stringValue": "GET"}},
            {"key": "url.path", "value": {"stringValue": "/a"}},
            {"key": "http.response.status_code", "value": {"intValue": "200"}},
        ],
    }  # fmt: skip
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    for name, text in (
        ("lines", "\n".join([json.dumps(document)] * 2)),
        ("laid_out", json.dumps({"resourceSpans": document["resourceSpans"] * 2}, indent=2)),
    ):
        (tmp_path / f"{name}.json").write_text(text)
        run("import", tmp_path / f"{name}.json", "--out", tmp_path / f"{name}.trace")
        assert len(read_trace(tmp_path / f"{name}.trace").requests) == 2
