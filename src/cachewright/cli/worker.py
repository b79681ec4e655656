"""One of several worker processes: `python -m cachewright.cli.worker SOCKET READY LIFELINE OPTIONS`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading

from cachewright.cli.main import fail
from cachewright.errors import CachewrightError


def work(listening: int, ready: int, lifeline: int, options: str) -> None:
    """Serve the application that the environment names on an inherited socket until told to end."""
    from cachewright.cli.serving import Listening, serve_here
    from cachewright.integrations.served import build_app

    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    bound = socket.socket(fileno=listening)
    serve_here(build_app(), Listening(bound, ""), json.loads(options), on_ready=lambda: _tell(ready))


def _tell(ready: int) -> None:
    os.write(ready, b"1")


def _end_with_parent(lifeline: int) -> None:
    """Nobody is left to stop this process once the parent's end of the pipe is closed."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    try:
        work(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    except CachewrightError as error:
        fail(error)
