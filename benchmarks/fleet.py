"""What users of the example see while its cluster is in trouble: a table, and exit code 1 where one saw an error.

    python benchmarks/fleet.py [--requests 400] [--workers 4]

`examples/todo` is recorded, designed and served by several workers over a real cluster of three primaries and three
replicas. It goes on being used while a primary is killed, a slot moves and a replica is promoted.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests' servers

from tests.runtime.topologies import ClusterOfThree, Node, wait_until
from tests.servers import free_port, serve_process

from cachewright.jobs.asking import ask

TODO = Path(__file__).resolve().parents[1] / "examples" / "todo"
SCALE, USERS = "0.2", "8"
TOKEN = secrets.token_urlsafe(32)
CACHEWRIGHT = (sys.executable, "-m", "cachewright")
READY = r"ready (http://\S+)"


@dataclass
class Bench:
    """Where everything is, and what the application is told."""

    folder: Path
    requests: str

    @property
    def environment(self) -> dict[str, str]:
        """What every process of it is told."""
        return {
            "TODO_DATABASE_URL": f"sqlite:///{self.folder}/todo.db",
            "CACHEWRIGHT_ADMIN_TOKEN": TOKEN,
            "CACHEWRIGHT_SECRET": "s" * 32,
            "CACHEWRIGHT_JOURNAL_DIR": str(self.folder / "journal"),
        }

    def run(self, *words: str) -> None:
        """Run a command of the example or of cachewright to its end."""
        environment = {**os.environ, **self.environment}
        subprocess.run(words, cwd=TODO, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own

    def load(self, url: str, seed: int) -> subprocess.Popen[bytes]:
        """Users, who begin now."""
        words = [
            "load.py",
            "--base-url",
            url,
            "--requests",
            self.requests,
            "--users",
            USERS,
            "--scale",
            SCALE,
        ]
        return subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, *words, "--seed", str(seed), "--out", str(self.folder / f"{seed}.json")],
            cwd=TODO,
        )

    @contextmanager
    def serving(self, *words: str) -> Iterator[str]:
        """An application that is served; its URL."""
        line = [*CACHEWRIGHT, *words, "--port", str(free_port()), "--", "--no-access-log"]
        with serve_process(line, self.environment, READY, cwd=TODO) as served:
            assert served.ready is not None
            yield served.ready[1]

    def phase(self, name: str, url: str, seed: int, trouble: Callable[[], None]) -> int:
        """Let users work, make trouble while they do, and print what they saw; how many errors that was."""
        before = counted(url)
        users = self.load(url, seed)
        time.sleep(1.0)
        trouble()
        users.wait()
        found = json.loads((self.folder / f"{seed}.json").read_text())
        times = sorted(milliseconds for *_, milliseconds in found["requests"])
        hits, lookups = (now - then for now, then in zip(counted(url), before, strict=True))
        p50, p95 = statistics.median(times), times[int(len(times) * 0.95)]
        print(
            f"{name:24} {len(times):8} {found['errors']:7} {hits / max(lookups, 1):9.1%} {p50:8.1f} {p95:8.1f}"
            f" {times[-1]:9.1f}  {', '.join(alarms(url)) or '-'}",
            flush=True,
        )
        return int(found["errors"])


def counted(url: str) -> tuple[int, int]:
    """Hits and lookups so far; workers write theirs down once a second."""
    time.sleep(1.2)
    own = ask(url, TOKEN, "stats")["targets"].values()
    return sum(sum(one["hits"].values()) for one in own), sum(one["lookups"] for one in own)


def alarms(url: str) -> list[str]:
    """The alarms that are raised now."""
    return [alarm["name"] for alarm in ask(url, TOKEN, "stats")["alarms"]]


def move_a_slot(cluster: ClusterOfThree) -> None:
    """Move the fullest slot of one primary to another one, keys and all."""
    source, target = [node for node in cluster.live() if cluster.role(node) == "master"][:2]
    first, last = next(
        (first, last)
        for first, last, (_, port, *_), *_ in source.ask("CLUSTER", "SLOTS")
        if port == source.port
    )
    slot = max(range(first, last + 1), key=lambda slot: source.ask("CLUSTER", "COUNTKEYSINSLOT", slot))
    name = target.ask("CLUSTER", "MYID")
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", name)
    while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)


def promote(cluster: ClusterOfThree) -> None:
    """Make a replica the primary of its slots, as for maintenance."""
    replica: Node = next(node for node in cluster.live() if cluster.role(node) == "slave")
    replica.ask("CLUSTER", "FAILOVER")
    wait_until(lambda: cluster.role(replica) == "master")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", default="400")
    parser.add_argument("--workers", default="4")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), asked.requests)
        bench.run(sys.executable, "seed.py", "--scale", SCALE)
        trace, spec = f"{folder}/traffic.trace", f"{folder}/caching.yaml"
        with bench.serving("record", "app.main:app", "--out", trace) as url:
            bench.load(url, 1).wait()
            bench.load(url, 2).wait()
        bench.run(*CACHEWRIGHT, "design", trace, "-o", spec)
        cluster = ClusterOfThree(Path(folder) / "cluster")
        try:
            cluster.start()
            served = (
                "serve",
                "app.main:app",
                "--spec",
                spec,
                "--redis",
                cluster.url,
                "--workers",
                asked.workers,
            )
            with bench.serving(*served) as url:
                print(f"{'':24} requests  errors  hit rate   p50 ms   p95 ms    max ms  alarms", flush=True)
                errors = bench.phase("calm", url, 11, lambda: None)
                errors += bench.phase("a primary is killed", url, 12, cluster.nodes[0].kill)
                cluster.settle()
                errors += bench.phase("it is back, as a replica", url, 13, lambda: None)
                errors += bench.phase("a slot moves", url, 14, lambda: move_a_slot(cluster))
                errors += bench.phase("a replica is promoted", url, 15, lambda: promote(cluster))
        finally:
            for node in cluster.nodes:
                with suppress(Exception):
                    node.kill()
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
