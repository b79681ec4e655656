"""The whole job on the examples that know nothing of any cache, with generated tests of two identities beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest
from sqlalchemy import make_url
from tests.end_to_end import identities
from tests.servers import serve_process

from cachewright.cli.main import run as cachewright

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CACHEWRIGHT = (sys.executable, "-m", "cachewright")
#: Enough to design from, and to compare.
RECORDED, COMPARED = "400", "160"
#: Only a hang takes so long (s), even where the machine is busy: a whole job runs a dozen processes.
pytestmark = pytest.mark.timeout(400)


class Example:
    """One example on a database of its own, seeded anew for each server that stands on it."""

    targets: frozenset[str]
    samples: Mapping[str, list[str]]
    options: tuple[str, ...] = ()

    def __init__(self, directory, postgres_server):
        self.directory = directory
        self.name = type(self).__name__.lower()

    @contextmanager
    def seeded(self):
        """The environment that leads to a fresh database."""
        path = self.directory / "data.db"
        for old in self.directory.glob("data.db*"):
            old.unlink()
        environment = {f"{self.name.upper()}_DATABASE_URL": f"{self.dialect}:///{path}"}
        run(sys.executable, "-m", f"{self.name}.seed", environment=environment)
        yield environment

    @contextmanager
    def serving(self, environment, *arguments):
        app = f"{self.name}.main:app"
        argv = [*CACHEWRIGHT, arguments[0], app, *arguments[1:], "--port", "0"]
        with serve_process(argv, environment, r"ready (http://\S+)", cwd=EXAMPLES) as served:
            yield served

    def under_traffic(self, requests, *arguments):
        with self.seeded() as environment, self.serving(environment, *arguments) as served:
            run(sys.executable, "-m", f"{self.name}.traffic", served.ready[1], requests)
        assert "Traceback" not in served.output, served.output
        return served.process.returncode


class Notes(Example):
    dialect = "sqlite+aiosqlite"
    targets = frozenset({"GET /api/v1/me", "GET /api/v1/notes", "GET /api/v1/notes/{note_id}"})
    samples = MappingProxyType(
        {
            "GET /api/v1/notes": ["/api/v1/notes?skip=5&limit=5"],
            "GET /api/v1/notes/{note_id}": ["/api/v1/notes/6", "/api/v1/notes/7"],
        }
    )

    def identities(self, base_url):
        import httpx

        for user in (1, 2):
            form = {"username": f"user{user}@notes.example", "password": "correct horse"}
            answer = httpx.post(f"{base_url}/api/v1/login", data=form, trust_env=False)
            yield {"Authorization": f"Bearer {answer.json()['access_token']}"}


class Documents(Example):
    dialect = "sqlite"
    targets = frozenset({"GET /account", "GET /documents", "GET /documents/counts"})
    samples = MappingProxyType(
        {
            "GET /documents": ["/documents?page=2"],
            "GET /documents/{document_id}": ["/documents/1", "/documents/4"],
        }
    )

    def identities(self, base_url):
        return [{"X-API-Key": "key-1"}, {"X-API-Key": "key-4"}]


class Bookings(Example):
    targets = frozenset({"GET /bookings", "GET /rooms"})
    options = ("--identity", "tenant=host")
    samples = MappingProxyType(
        {"GET /rooms/{room_id}/bookings": ["/rooms/1/bookings", "/rooms/101/bookings?day=2030-01-02"]}
    )

    def __init__(self, directory, postgres_server):
        super().__init__(directory, postgres_server)
        self.postgres = postgres_server

    @contextmanager
    def seeded(self):
        with self.postgres.database() as name:
            url = make_url(self.postgres.url(name, "psycopg"))
            run(sys.executable, "-m", "bookings.seed", url.render_as_string())
            try:
                yield {"BOOKINGS_DATABASE_URL": url.set(username="bookings_app").render_as_string()}
            finally:
                self.postgres.run("DROP OWNED BY bookings_app", database=name)

    def identities(self, base_url):
        return [
            {"Host": f"{tenant}.bookings.example", "Authorization": f"Bearer {tenant}-1"}
            for tenant in ("acme", "bolt")
        ]


def run(*command, environment=None, expect=0):
    """One command to its end; its stdout."""
    done = subprocess.run(
        command,
        cwd=EXAMPLES,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def command(capsys):
    """Runs a command in this process; its stdout."""

    def run_command(*arguments):
        with pytest.raises(SystemExit) as ended:
            cachewright(arguments)
        written = capsys.readouterr()
        assert not ended.value.code, f"{arguments}: {ended.value.code}\n{written.out}\n{written.err}"
        return written.out

    return run_command


@pytest.mark.parametrize("kind", [Notes, Documents, Bookings])
def test_record_design_check_simulate_verify_and_two_identities(kind, tmp_path, valkey_url, request, command):
    postgres = request.getfixturevalue("postgres_server") if kind is Bookings else None
    example = kind(tmp_path, postgres)
    trace, spec, verdict = (str(tmp_path / name) for name in ("t.trace", "caching.yaml", "verify.json"))
    app, cached = f"{example.name}.main:app", ("--spec", spec, "--redis", valkey_url)

    assert example.under_traffic(RECORDED, "record", "--out", trace, *example.options) == 0
    seen = json.loads(command("coverage", trace, "--json"))
    assert seen["tables"]
    assert (seen["unseen"], seen["unknown_writes"]) == ([], 0)

    designed = json.loads(command("design", trace, "-o", spec, "--namespace", example.name, "--json"))
    targets = {target["endpoint"] for target in designed["caching_specification"]["cache_targets"]}
    assert targets >= kind.targets
    command("simulate", spec, "--trace", trace, "--json", "--require", "wrong_answers=0")

    assert example.under_traffic(COMPARED, "verify", *cached, "--twin", "--out", verdict) == 0
    found = json.loads(Path(verdict).read_text())
    assert (found["differences"], found["undecided"]) == (0, 0), found["details"]
    assert found["responses"] >= 100
    assert found["hits"] > 0

    with ExitStack() as stack:
        environment = stack.enter_context(example.seeded())
        run(*CACHEWRIGHT, "check", spec, "--strict", "--app", app, "--trace", trace, environment=environment)
        figures = tmp_path / "figures"
        figures.mkdir()
        live = {**environment, "CACHEWRIGHT_STATS_DIR": str(figures)}
        served = stack.enter_context(example.serving(live, "serve", *cached))
        plain = stack.enter_context(
            example.serving({**environment, "CACHEWRIGHT_MODE": "off"}, "serve", "--spec", spec)
        )
        passed = identities.check(
            tmp_path / "generated",
            spec,
            cached=served.ready[1],
            uncached=plain.ready[1],
            samples=dict(kind.samples),
            identities=list(example.identities(plain.ready[1])),
        )
        assert passed == len(targets)
        assert served.stop() == 0
        counted = [json.loads(path.read_text()) for path in figures.glob("*.json")]
        kept = {
            name for each in counted for name, own in each["targets"].items() if sum(own["hits"].values())
        }
        assert len(kept) == len(targets), "entries answered: the two identities met each other's"
