"""One of several worker processes: `python -m cachewright.cli.worker SOCKET NEWS LIFELINE OPTIONS`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading

from cachewright.cli.main import exit_code
from cachewright.errors import CachewrightError


def work(listening: int, news: int, lifeline: int, options: str) -> None:
    """Serve on an inherited socket until told to end.

    What is served is the application to record that the orders name, else the one that the environment does.
    """
    from cachewright.cli.serving import Listening, serve_here
    from cachewright.cli.workers import READY

    orders = json.loads(_line(lifeline))
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    bound = Listening(socket.socket(fileno=listening), "")
    if "record" in orders:
        from cachewright.cli.recording import Job, record_here

        record_here(Job.from_json(orders), bound, json.loads(options), on_ready=lambda: _tell(news, READY))
    else:
        from cachewright.integrations.served import build_app

        serve_here(build_app(), bound, json.loads(options), on_ready=lambda: _tell(news, READY))


def _line(pipe: int) -> bytes:
    """The first line; shorter where the other end closed."""
    line = b""
    while not line.endswith(b"\n") and (read := os.read(pipe, 65536)):
        line += read
    return line


def _tell(news: int, what: bytes) -> None:
    os.write(news, what)


def _end_with_parent(lifeline: int) -> None:
    """Nobody is left to stop this process once the parent's end of the pipe is closed."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    try:
        work(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    except CachewrightError as error:
        _tell(int(sys.argv[2]), json.dumps({"message": error.message, "hint": error.hint}).encode())
        sys.exit(exit_code(error))
