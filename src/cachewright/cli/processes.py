"""Child processes of a job: commands that end, and servers that say when they are ready."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cachewright.errors import SurroundingsError

READY_SECONDS = 180.0
STOP_SECONDS = 60.0
LINES_KEPT = 12

_READY = re.compile(r"^ready (\S+)$")


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str


def run_command(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    allowed: Sequence[int] = (0,),
) -> Finished:
    """Run a command to its end. Raises `SurroundingsError` with what it said for a code not `allowed`."""
    done = subprocess.run(  # noqa: S603 - the commands of a job are its own
        list(command),
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in allowed:
        what = f"ended with code {done.returncode}"
        raise _failed(command, what, (done.stderr or done.stdout).splitlines())
    return Finished(done.returncode, done.stdout, done.stderr)


@dataclass(slots=True)
class Server:
    """A server at `url`; once stopped, `code` is what it ended with."""

    url: str
    process: subprocess.Popen[str]
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))
    code: int | None = None


@contextmanager
def running(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], allowed: Sequence[int] = (0,)
) -> Iterator[Server]:
    """Run a server while the block runs; it is entered once the server said `ready URL` on stderr.

    Raises `SurroundingsError` with its last lines when it ends before, does not get ready within
    `READY_SECONDS`, or ends with a code that is not `allowed`.
    """
    process = subprocess.Popen(  # noqa: S603 - the commands of a job are its own
        list(command),
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = Server("", process)
    settled = threading.Event()
    reader = threading.Thread(target=_read, args=(server, settled), daemon=True)
    reader.start()
    try:
        in_time = settled.wait(READY_SECONDS)
        if server.url:
            yield server
    finally:
        server.code = _stop(process)
        reader.join(STOP_SECONDS)
    if not in_time:
        raise _failed(command, f"was not ready within {READY_SECONDS:.0f} s", server.lines)
    if not server.url or server.code not in allowed:
        raise _failed(command, f"ended with code {server.code}", server.lines)


def _read(server: Server, settled: threading.Event) -> None:
    """Keep the last lines of a server; its URL is the first news."""
    assert server.process.stderr is not None
    with server.process.stderr as lines:
        for line in lines:
            if not server.url and (found := _READY.match(line.strip())):
                server.url = found[1]
                settled.set()
            else:
                server.lines.append(line.rstrip())
    settled.set()


def _stop(process: subprocess.Popen[str]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _failed(command: Sequence[str], what: str, lines: Sequence[str] | deque[str]) -> SurroundingsError:
    shown = "\n  ".join([*lines][-LINES_KEPT:])
    return SurroundingsError(
        f"this {what}: {' '.join(command)}", hint=f"It said:\n  {shown}" if shown else None
    )
