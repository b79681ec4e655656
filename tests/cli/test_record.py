import sqlite3
from contextlib import closing

import pytest
import typer

from cachewright.cli.record import identities
from cachewright.evidence.tracefile import create_trace, read_trace


def test_a_recording_holds_the_traffic_and_says_what_it_holds(shell):
    with shell.serving("record", "shop:app", "--out", "a.trace", "--", "--log-level", "warning") as server:
        assert server.ask("/items/1?name=cup", "PUT")[0] == 200
        assert server.ask("/items/1")[0] == 200
        assert server.ask("/items/2")[0] == 404
        server.stop()
    assert server.code == 0
    assert server.stdout == ""
    assert "3 requests, 2 routes" in server.stderr
    assert "cachewright design a.trace" in server.stderr
    trace = read_trace(shell.directory / "a.trace")
    assert [(seen.method, seen.status) for seen in trace.requests] == [
        ("PUT", 200),
        ("GET", 200),
        ("GET", 404),
    ]
    assert {route.template for route in trace.routes} >= {"/items/{item_id}"}


def test_a_factory_and_a_declared_identity_are_recorded(shell):
    arguments = ("record", "shop:make", "--factory", "--identity", "user=claim:sub")
    with shell.serving(*arguments) as server:
        assert server.ask("/items/2")[0] == 404
        server.stop()
    assert server.code == 0
    assert '"GET /items/2 HTTP/1.1" 404' in server.stderr
    trace = read_trace(shell.directory / "traffic.trace")
    assert trace.declared_identity == {"user": "claim:sub"}


def test_an_existing_trace_is_kept_unless_told_otherwise(command, tmp_path):
    (tmp_path / "small_application_two.py").write_text("def app(scope, receive, send): ...\n")
    create_trace(tmp_path / "a.trace", {}).close()
    code, _, err = command("record", "small_application_two:app", "--out", "a.trace", "--port", "0")
    assert code == 2
    assert "a trace is there already" in err


def test_a_file_that_is_no_trace_is_never_overwritten(command, tmp_path):
    (tmp_path / "small_application_three.py").write_text("def app(scope, receive, send): ...\n")
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE precious (id integer)")
    before = other.read_bytes()
    arguments = ("--out", "other.db", "--overwrite", "--port", "0")
    code, _, err = command("record", "small_application_three:app", *arguments)
    assert code == 2
    assert "not a trace" in err
    assert other.read_bytes() == before


@pytest.mark.parametrize(
    "texts", [["user"], ["user=claim:sub", "user=claim:id"], ["user=guess"], ["owner=claim:sub"]]
)
def test_an_identity_that_no_specification_could_hold_is_a_usage_error(texts):
    with pytest.raises(typer.BadParameter):
        identities(texts)
