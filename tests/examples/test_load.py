"""The load generator: its scripts are fixed beforehand and plausible, and it tells when something goes wrong."""

import json
import subprocess
import sys
from collections import Counter

import pytest
from tests.servers import free_port


@pytest.fixture(scope="module")
def data(todo_modules):
    return todo_modules["dataset"].describe()


def plan(todo_modules, data, **changes):
    arguments = {"users": 24, "requests": 3000, "seed": 7, **changes}
    return todo_modules["visitors"].scripts(data, **arguments)


def test_the_same_seed_gives_the_same_scripts_and_another_seed_others(todo_modules, data):
    assert plan(todo_modules, data) == plan(todo_modules, data)
    assert plan(todo_modules, data) != plan(todo_modules, data, seed=8)


@pytest.mark.parametrize("requests", [1, 24, 100, 3000])
def test_the_scripts_hold_exactly_the_requests_asked_for(todo_modules, data, requests):
    assert sum(len(steps) for _, steps in plan(todo_modules, data, requests=requests)) == requests


def test_the_mix_is_mostly_dashboards_with_a_few_writes(todo_modules, data):
    routes = Counter(step.route for _, steps in plan(todo_modules, data) for step in steps)
    least = {"GET /api/tasks": 0.35, "GET /api/stats/summary": 0.15, "GET /api/stats/team": 0.1}
    assert {route: share for route, share in least.items() if routes[route] < share * 3000} == {}
    writes = sum(n for route, n in routes.items() if not route.startswith(("GET", "POST /auth")))
    assert 0.04 <= writes / 3000 <= 0.06
    assert routes["POST /api/admin/tasks/bulk-complete"] == 1


def test_some_users_come_twice(todo_modules, data):
    accounts = Counter(visitor.account.id for visitor, _ in plan(todo_modules, data))
    assert sorted(accounts.values())[-4:] == [2, 2, 2, 2]


def test_nobody_asks_for_a_task_that_somebody_deletes(todo_modules, data):
    steps = [step for _, script in plan(todo_modules, data) for step in script]
    deleted = Counter(step.path for step in steps if step.method == "DELETE")
    others = {step.path.removesuffix("/complete") for step in steps if step.method != "DELETE"}
    assert set(deleted.values()) == {1}
    assert not deleted.keys() & others


@pytest.fixture
def load(todo_folder, todo_scale, tmp_path):
    """Run the load generator as a command, against a base URL."""

    def run(base_url, *more):
        argv = [sys.executable, "load.py", "--base-url", base_url, "--scale", str(todo_scale), *more]
        argv += ["--out", str(tmp_path / "results.json")]
        return subprocess.run(argv, cwd=todo_folder, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_a_run_writes_every_request_with_its_route(load, todo_server, tmp_path):
    finished = load(todo_server, "--requests", "200", "--users", "6")
    assert finished.returncode == 0, finished.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["errors"] == 0
    assert len(results["requests"]) == 200
    assert {"GET /api/tasks", "POST /auth/login"} <= {route for route, *_ in results["requests"]}
    assert all(
        method == route.split()[0] and milliseconds > 0
        for route, method, status, milliseconds in results["requests"]
    )


def test_an_unexpected_answer_is_told_and_fails_the_run(load, todo_server):
    """The scripts of another data set log in with addresses that this database does not have."""
    finished = load(todo_server, "--requests", "20", "--users", "2", "--data-seed", "1")
    assert finished.returncode == 1
    assert "401, expected 200" in finished.stderr


def test_an_absent_server_is_told_and_fails_the_run(load):
    nowhere = f"http://127.0.0.1:{free_port()}"
    finished = load(nowhere, "--requests", "4", "--users", "2")
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "ClientConnectorError" in finished.stderr
