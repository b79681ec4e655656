import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import typer

from cachewright.cli.record import identities, members, shared_key, size
from cachewright.evidence.tracefile import create_trace
from cachewright.evidence.tracereader import read_trace


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


def asked_of(server, wanted):
    """Ask until so many processes have answered; the path of each answer and the process it came from."""
    assert server.ask("/items/1?name=cup", "PUT")[0] == 200
    answered = []
    deadline = time.monotonic() + 20
    while len({pid for _, pid in answered}) < wanted:
        assert time.monotonic() < deadline
        answered.append(("/items/1", server.ask("/items/1")[1]["pid"]))
    return answered


def files_of(shell):
    return sorted(file.name for file in shell.directory.glob("*.trace*"))


def test_workers_write_one_trace_in_which_equal_values_are_equal(shell):
    arguments = ("record", "shop:app", "--workers", "2", "--out", "a.trace", "--", "--log-level", "warning")
    with shell.serving(*arguments) as server:
        answered = asked_of(server, 2)
        server.stop()
    assert server.code == 0
    assert f"{len(answered) + 1} requests, 2 routes" in server.stderr
    assert files_of(shell) == ["a.trace"]
    trace = read_trace(shell.directory / "a.trace")
    reads = [request for request in trace.requests if request.method == "GET"]
    assert len(reads) == len(answered)
    assert {request.worker for request in trace.requests} == {1, 2}
    assert len({request.route for request in reads}) == 1
    assert len({request.values["path.item_id"].exact for request in trace.requests}) == 1
    assert {statement.request for statement in trace.statements} <= {request.id for request in trace.requests}
    assert trace.dropped == 0


def test_what_a_killed_worker_recorded_is_in_the_trace(shell):
    arguments = ("record", "shop:app", "--workers", "2", "--out", "a.trace", "--", "--log-level", "warning")
    with shell.serving(*arguments) as server:
        answered = asked_of(server, 2)
        time.sleep(1)
        os.kill(answered[0][1], signal.SIGKILL)
        assert server.next_line("starting another")
        server.ask("/items/1")
        server.stop()
    assert server.code == 0
    trace = read_trace(shell.directory / "a.trace")
    assert len(trace.requests) == len(answered) + 2
    assert files_of(shell) == ["a.trace"]


def test_a_recording_that_is_killed_is_read_with_the_files_of_its_workers(shell):
    arguments = ("record", "shop:app", "--workers", "2", "--out", "a.trace", "--", "--log-level", "warning")
    with shell.serving(*arguments) as server:
        answered = asked_of(server, 2)
        server.process.kill()
        server.stop()
        deadline = time.monotonic() + 20
        while any(alive(pid) for _, pid in answered):
            assert time.monotonic() < deadline, "workers end with the process that started them"
            time.sleep(0.05)
    assert files_of(shell) == ["a.trace", "a.trace.1", "a.trace.2"]
    assert len(read_trace(shell.directory / "a.trace").requests) == len(answered) + 1
    done = shell.run("import", "--merge", "a.trace", "--out", "b.trace")
    assert done.returncode == 0
    assert f"{len(answered) + 1} requests, 2 routes" in done.stderr
    (shell.directory / "a.trace.1").unlink()
    (shell.directory / "a.trace.2").unlink()
    assert len(read_trace(shell.directory / "b.trace").requests) == len(answered) + 1


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_hashing_key_is_in_no_environment_and_no_argument(shell):
    arguments = ("record", "shop:app", "--workers", "2", "--", "--log-level", "warning")
    shell_key = "k" * 40
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHEWRIGHT_RECORD_KEY", shell_key)
        with shell.serving(*arguments) as server:
            (_, pid), *_ = asked_of(server, 1)
            for file in ("environ", "cmdline"):
                assert shell_key.encode() not in Path(f"/proc/{pid}/{file}").read_bytes()
            server.stop()
    assert server.code == 0


def test_workers_that_cannot_import_the_application_leave_no_trace(shell):
    (shell.directory / "broken.py").write_text("1 / 0\n")
    refused = shell.run("record", "broken:app", "--workers", "2", "--port", "0")
    assert refused.returncode == 3
    assert refused.stderr.count("ZeroDivisionError") == 1
    assert "Traceback" not in refused.stderr
    assert files_of(shell) == []


def test_traces_of_two_recordings_cannot_be_merged(shell):
    for name in ("a.trace", "b.trace"):
        with shell.serving("record", "shop:app", "--out", name) as server:
            server.ask("/items/1")
            server.stop()
    refused = shell.run("import", "--merge", "a.trace", "b.trace", "--out", "c.trace")
    assert refused.returncode == 2
    assert "different keys" in refused.stderr
    assert files_of(shell) == ["a.trace", "b.trace"]


def test_an_import_that_merges_nothing_is_a_usage_error(command, tmp_path):
    create_trace(tmp_path / "a.trace", {}).close()
    code, _, err = command("import", "a.trace", "--out", "b.trace")
    assert code == 2
    assert "--merge" in err


@pytest.mark.parametrize(("text", "found"), [("200MB", 200_000_000), ("1 gb", 10**9), ("5000000", 5_000_000)])
def test_sizes(text, found):
    assert size(text) == found


@pytest.mark.parametrize("text", ["many", "MB", "-1MB", "10", "5kB"])
def test_a_size_that_is_none_is_a_usage_error(text):
    with pytest.raises(typer.BadParameter):
        size(text)


def test_members_are_names_between_commas():
    assert members(" generated_at, request_id ,,") == ("generated_at", "request_id")


def test_a_key_of_the_operator_is_taken_out_of_the_environment(monkeypatch):
    monkeypatch.setenv("CACHEWRIGHT_RECORD_KEY", "k" * 40)
    assert len(shared_key()) == 32
    assert shared_key() is None
    monkeypatch.setenv("CACHEWRIGHT_RECORD_KEY", "short")
    with pytest.raises(typer.BadParameter):
        shared_key()


@pytest.mark.parametrize("share", ["0", "1.5", "-1"])
def test_a_share_that_is_none_is_a_usage_error(command, share):
    code, _, err = command("record", "shop:app", "--sample", share, "--port", "0")
    assert code == 2
    assert "at most 1" in err
