"""`cachewright design` from written requests and projects, as it is typed; nothing is connected to."""

import json
import socket
import subprocess
import sys

import pytest

from cachewright.cli.commands import app
from cachewright.spec.document import loads_spec

REQUEST = """\
skill: "backend-caching"
inputs:
  backend_spec: "specs/api/rest-endpoints.md"
  performance_spec: "specs/performance/cache-targets.md"
  cache_targets:
    - endpoint: GET /api/tasks
      avg_query_time_ms: 180
      query_frequency: 100 req/min
    - endpoint: GET /api/auth/token
  output_format: "caching_specification"
"""
ENDPOINTS = """\
# REST endpoints
### GET /api/tasks
Authentication: required
Query parameters:
- `status`: `all` | `pending` (default: `all`)
"""
SCHEMA = """\
## Table: tasks
- `id`: UUID (Primary Key)
- `user_id`: UUID (foreign key -> users.id)
## users
- `id`: UUID (primary key)
- `email`: text
"""


@pytest.fixture(autouse=True)
def _blocked(monkeypatch):
    """No socket is opened by whatever runs here."""

    def refuse(*_, **__):
        raise AssertionError("a design opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.yaml").write_text(REQUEST)
    return tmp_path


def run(*arguments):
    app(args=["design", *arguments], prog_name="cachewright", standalone_mode=False)


@pytest.mark.requirement("#346")
def test_a_request_becomes_a_file(place):
    run("--request", "request.yaml", "-o", "caching.yaml")
    spec = loads_spec((place / "caching.yaml").read_text()).spec
    assert [target.subject for target in spec.cache_targets] == ["GET /api/tasks"]


@pytest.mark.requirement("#346", "C13", "C10", "C11", "C74")
def test_no_client_of_a_cache_is_loaded(place):
    code = (
        "import sys; from cachewright.cli.commands import app;"
        "app(args=['design', '--request', 'request.yaml', '-o', 'caching.yaml'], standalone_mode=False);"
        "found = {'redis', 'valkey', 'sqlalchemy', 'fastapi', 'cachewright.runtime'} & sys.modules.keys();"
        "assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_a_file_the_specification_is_all_that_stdout_gets(place, capsys):
    run("--request", "request.yaml")
    out = capsys.readouterr().out
    assert loads_spec(out).spec.meta.backend_spec == "specs/api/rest-endpoints.md"


def test_a_request_may_come_through_a_pipe(place, capsys, monkeypatch):
    with (place / "request.yaml").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        run("--request", "-")
    assert loads_spec(capsys.readouterr().out).spec.cache_targets[0].endpoint == "GET /api/tasks"


@pytest.mark.requirement("#384", "C60")
def test_the_whole_answer_as_json(place, capsys):
    run("--request", "request.yaml", "--json")
    answer = json.loads(capsys.readouterr().out)
    for part in (
        "caching_specification",
        "decisions",
        "assumptions",
        "clarifications_needed",
        "not_cached",
        "warnings",
        "sources",
    ):
        assert answer[part], part
    assert all("because" in decision for decision in answer["decisions"])
    assert answer["not_cached"][0]["code"] == "sensitive"
    assert any("specs/performance/cache-targets.md" in warning for warning in answer["warnings"])


@pytest.mark.requirement("#183", "C47")
def test_the_same_request_gives_the_same_bytes(place, capsys):
    run("--request", "request.yaml", "--json")
    first = capsys.readouterr().out
    run("--request", "request.yaml", "--json")
    assert capsys.readouterr().out == first
    assert "2026-01-01T00:00:00" in first


@pytest.mark.requirement("#369", "#370", "C56", "#10")
def test_a_project_is_enough(place, capsys):
    for name, text in (("specs/api/rest-endpoints.md", ENDPOINTS), ("specs/database/schema.md", SCHEMA)):
        path = place / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    run("--project", str(place), "--json")
    answer = json.loads(capsys.readouterr().out)
    (target,) = answer["caching_specification"]["cache_targets"]
    assert target["cache_key_pattern"] == "cred:{cred}:tasks:status={status}"
    assert target["depends_on"] == ["tasks", "users"]
    assert answer["sources"][1:] == ["specs/api/rest-endpoints.md", "specs/database/schema.md"]


@pytest.mark.requirement("#8")
def test_a_specification_that_stands_is_changed_in_place(place, capsys):
    run("--request", "request.yaml", "-o", "caching.yaml")
    ours = "# reviewed in May\n" + (place / "caching.yaml").read_text()
    (place / "caching.yaml").write_text(ours)
    change = "inputs:\n  cache_targets:\n  - {endpoint: GET /api/tasks, ttl_seconds: 900}\n"
    (place / "change.yaml").write_text(change)
    capsys.readouterr()
    run("--request", "change.yaml", "--from", "caching.yaml", "-o", "caching.yaml", "--json")
    answer = json.loads(capsys.readouterr().out)
    (changed,) = answer["changes"]
    assert (changed["what"], changed["before"], changed["after"]) == ("ttl_seconds", 300, 900)
    new = (place / "caching.yaml").read_text()
    assert new == answer["specification"]
    assert set(ours.splitlines()) <= set(new.splitlines())
    assert "duration_seconds: 900" in new


@pytest.mark.parametrize("more", [[], ["--request", "request.yaml", "--namespace", "other"]])
def test_a_specification_is_changed_by_a_request_alone(place, more):
    import typer

    (place / "caching.yaml").write_text("caching_specification: {}\n")
    with pytest.raises(typer.BadParameter):
        run("--from", "caching.yaml", *more)


def test_a_design_without_any_evidence_is_a_usage_error(place):
    import typer

    with pytest.raises(typer.BadParameter):
        run()
