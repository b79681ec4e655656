"""The whole job, by its commands, on backends of different shapes that know nothing of any cache:
record, design, check, simulate, verify, serve."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.servers import serve_process

ROOT = Path(__file__).resolve().parents[2]
CACHEWRIGHT = (sys.executable, "-m", "cachewright")
READY = r"ready (http://\S+)"

#: Backends, and routes of each one of which at least must have become a target.
BACKENDS = {
    "path_user": {"GET /users/{user_id}/summary"},
    "async_sqlmodel": {"GET /v1/items", "GET /v2/items"},
    "header_lang": {"GET /products/{product_id}"},
    "roles": {"GET /me"},
    "blog": {"GET /articles/{slug}", "GET /cart"},
    "traps": {"GET /my/items"},
}


class Backend:
    """One application on a database of its own."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.module = importlib.import_module(f"tests.apps.{name}")
        self.app = f"tests.apps.{name}:app"
        self.trace = directory / "traffic.trace"
        self.spec = directory / "caching.yaml"

    def run(self, *arguments, expect=0):
        """One command to its end; its stdout."""
        done = subprocess.run(
            [*CACHEWRIGHT, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def serve(self, *arguments):
        """One serving command under the backend's own traffic, until SIGTERM; what it printed."""
        url = f"sqlite:///{self.directory}/{arguments[0]}.db"
        self.module.seed(url)
        command = [*CACHEWRIGHT, arguments[0], self.app, *arguments[1:], "--port", "0"]
        with (
            serve_process(command, {"APP_DATABASE_URL": url}, READY, cwd=ROOT) as process,
            httpx.Client(base_url=process.ready[1], timeout=30) as client,
        ):
            self.module.exercise(client)
        return process

    def verify(self, redis_url):
        """The twin's result under the backend's own traffic, and the exit code."""
        result = self.directory / "verify.json"
        process = self.serve(
            "verify", "--spec", str(self.spec), "--twin", "--redis", redis_url, "--out", str(result)
        )
        return json.loads(result.read_text()), process.process.returncode


#: Only a hang takes so long (s), even where the machine is busy: a whole job runs some fifteen processes.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(params=BACKENDS)
def backend(request, tmp_path):
    return Backend(request.param, tmp_path)


@pytest.mark.requirement("#1", "#4", "#5", "#51", "#336", "#374")
def test_record_design_check_simulate_verify_and_serve(backend, valkey_url):
    recorded = backend.serve("record", "--out", str(backend.trace))
    assert recorded.process.returncode == 0

    answer = json.loads(backend.run("design", str(backend.trace), "-o", str(backend.spec), "--json"))
    targets = {target["endpoint"] for target in answer["caching_specification"]["cache_targets"]}
    assert BACKENDS[backend.name] & targets
    assert all(refusal["reason"] for refusal in answer["not_cached"])

    seen = ("--app", backend.app, "--trace", str(backend.trace))
    backend.run("check", str(backend.spec), "--strict", *seen)
    simulated = json.loads(
        backend.run(
            "simulate",
            str(backend.spec),
            "--trace",
            str(backend.trace),
            "--json",
            "--require",
            "wrong_answers=0",
        )
    )
    assert simulated["wrong_answers"] == 0

    verified, code = backend.verify(valkey_url)
    assert (verified["differences"], code) == (0, 0), verified["details"]
    assert verified["responses"] >= 100
    assert verified["hits"] > 0

    served = backend.serve("serve", "--spec", str(backend.spec), "--redis", valkey_url, "--workers", "2")
    assert served.process.returncode == 0


def _written_by_hand(depends_on: str, *, key: str, scope: str) -> str:
    return f"""
caching_specification:
  namespace: broken
  identity: {{user: "claim:sub"}}
  cache_targets:
  - endpoint: GET /users/{{user_id}}/notes
    scope: {scope}
    cache_key_pattern: "{key}"
    depends_on: {depends_on}
"""


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            "a write is left out of the invalidation",
            _written_by_hand(
                '["users(id={user_id})"]', key="user:{user_id}:notes:{path.user_id}:{pinned}", scope="user"
            ),
        ),
        (
            "the user is left out of the key",
            _written_by_hand("[notes, users]", key="notes:pinned={pinned}", scope="public"),
        ),
    ],
)
def test_a_broken_specification_is_shown(fault, text, tmp_path, valkey_url):
    backend = Backend("path_user", tmp_path)
    backend.spec.write_text(text)

    verified, code = backend.verify(valkey_url)

    assert code == 1, fault
    assert verified["differences"] > 0, fault
    detail = verified["details"][0]
    assert detail["route"] == "GET /users/{user_id}/notes"
    assert detail["uncached"] != detail["cached"]
    assert re.match(r"body at byte \d+|status", detail["where"])
