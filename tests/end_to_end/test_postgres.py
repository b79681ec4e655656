"""The whole job on PostgreSQL: the example backend by its flag."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text
from tests.end_to_end import identities
from tests.servers import serve_process

ROOT = Path(__file__).resolve().parents[2]
TODO = ROOT / "examples" / "todo"
CACHEWRIGHT = (sys.executable, "-m", "cachewright")
READY = r"ready (http://\S+)"
#: Only a hang takes so long (s), even where the machine is busy.
pytestmark = pytest.mark.timeout(400)
SCALE = "0.05"
REQUESTS = "300"


def run(*command, cwd, env=None):
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def seeded(postgres_server):
    with postgres_server.database() as name:
        url = postgres_server.url(name, "psycopg").render_as_string()
        run(sys.executable, "seed.py", "--scale", SCALE, "--url", url, cwd=TODO)
        yield name


@pytest.fixture
def under_load(postgres_server, seeded):
    """A serving command on a fresh copy of the data, under the example's own load; what it printed."""

    def command(*arguments):
        with postgres_server.database(seeded) as name:
            environment = {"TODO_DATABASE_URL": postgres_server.url(name, "psycopg").render_as_string()}
            argv = [*CACHEWRIGHT, arguments[0], "app.main:app", *arguments[1:], "--port", "0"]
            with serve_process(argv, environment, READY, cwd=TODO) as served:
                load = [sys.executable, "load.py", "--base-url", served.ready[1], "--scale", SCALE]
                run(*load, "--requests", REQUESTS, "--users", "8", "--out", "/dev/null", cwd=TODO)
            assert "Traceback" not in served.output, served.output
            return served

    return command


@pytest.fixture
def two_identities(postgres_server, seeded):
    """How many cached routes pass the generated tests of two identities: users of two tenants."""

    def passed(directory, spec, valkey_url):
        with ExitStack() as stack:
            name = stack.enter_context(postgres_server.database(seeded))
            environment = {"TODO_DATABASE_URL": postgres_server.url(name, "psycopg").render_as_string()}
            cached, uncached = (
                stack.enter_context(
                    serve_process(
                        [*CACHEWRIGHT, "serve", "app.main:app", "--spec", spec, *more, "--port", "0"],
                        {**environment, "CACHEWRIGHT_MODE": mode},
                        READY,
                        cwd=TODO,
                    )
                ).ready[1]
                for mode, more in (("live", ("--redis", valkey_url)), ("off", ()))
            )
            users = list(logged_in(uncached, postgres_server.url(name, "psycopg")))
            return identities.check(
                directory / "identities",
                spec,
                cached=cached,
                uncached=uncached,
                identities=users,
                samples={"GET /api/tasks/{task_id}": [newest_task(uncached, user) for user in users]},
            )

    return passed


def logged_in(base_url, database):
    """The headers of a user of each of two tenants."""
    engine = create_engine(database)
    with engine.connect() as connection:
        emails = connection.scalars(text("SELECT min(email) FROM users GROUP BY tenant_id LIMIT 2")).all()
    engine.dispose()
    for email in emails:
        form = {"username": email, "password": "correct horse battery staple"}
        answer = httpx.post(f"{base_url}/auth/login", data=form, trust_env=False, timeout=30)
        yield {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}


def newest_task(base_url, headers):
    """The path of the user's newest task."""
    page = httpx.get(f"{base_url}/api/tasks?limit=1", headers=headers, trust_env=False, timeout=30).json()
    return f"/api/tasks/{page['items'][0]['id']}"


def test_record_design_check_simulate_serve_and_verify(under_load, two_identities, tmp_path, valkey_url):
    trace, spec, result = (str(tmp_path / name) for name in ("t.trace", "caching.yaml", "verify.json"))
    assert under_load("record", "--out", trace, "--identity", "tenant=claim:tid").process.returncode == 0

    designed = json.loads(run(*CACHEWRIGHT, "design", trace, "-o", spec, "--json", cwd=TODO))
    targets = {target["endpoint"]: target for target in designed["caching_specification"]["cache_targets"]}
    assert "GET /api/stats/summary" in targets
    assert any("tasks(owner_id" in tag for tag in targets["GET /api/stats/summary"]["depends_on"])

    run(*CACHEWRIGHT, "check", spec, "--trace", trace, cwd=TODO)
    required = ("--require", "wrong_answers=0", "--json")
    assert json.loads(run(*CACHEWRIGHT, "simulate", spec, "--trace", trace, *required, cwd=TODO))

    cached = ("--spec", spec, "--redis", valkey_url)
    served = under_load("serve", *cached, "--workers", "2")
    assert served.process.returncode == 0

    verified = under_load("verify", *cached, "--twin", "--out", result)
    found = json.loads(Path(result).read_text())
    assert (found["differences"], verified.process.returncode) == (0, 0), found["details"]
    assert found["hits"] > 0
    assert two_identities(tmp_path, spec, valkey_url) == len(targets)
