"""Serving an application with uvicorn: a socket bound first, a ready line when it is true, a clean end."""

from __future__ import annotations

import errno
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn

from cachewright.errors import SurroundingsError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Listening:
    """A bound socket and the URL by which it is reached."""

    socket: socket.socket
    url: str


@contextmanager
def listening(host: str, port: int, *, scheme: str = "http") -> Iterator[Listening]:
    """Hold `host:port` (port 0: a free one) while the block runs.

    Raises `SurroundingsError` that names the port where it is taken, forbidden, or the host is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _refused(host, port, error) from None
    bound.set_inheritable(True)
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    with bound:
        yield Listening(bound, f"{scheme}://{shown}:{bound.getsockname()[1]}")


def _refused(host: str, port: int, error: OSError) -> SurroundingsError:
    if error.errno == errno.EADDRINUSE:
        return SurroundingsError(
            f"port {port} on {host} is in use",
            hint="Stop what listens there, or give another --port (0: a free one).",
        )
    if error.errno == errno.EACCES:
        return SurroundingsError(
            f"port {port} is not allowed for this user", hint="Give a --port above 1023."
        )
    return SurroundingsError(
        f"cannot listen on {host}:{port}: {error.strerror or error}", hint="Check --host."
    )


def announce(url: str) -> None:
    """Say on stderr that requests are welcome at `url`."""
    sys.stderr.write(f"ready {url}\n")
    sys.stderr.flush()


def serve_here(
    app: Any, bound: Listening, options: Mapping[str, Any], *, on_ready: Callable[[], None] | None = None
) -> None:
    """Serve `app` in this process until SIGINT or SIGTERM, then return.

    `app` is an ASGI application or an import string. Exits with 3 when its start-up fails, as uvicorn does.
    """
    server = _Announcing(uvicorn.Config(app, **options), on_ready or (lambda: announce(bound.url)))
    with stop_signals():
        server.run(sockets=[bound.socket])


class _Announcing(uvicorn.Server):
    """A uvicorn server that tells when it accepts requests."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and not self.should_exit:
            self._on_ready()


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM set the event instead of ending the process.

    uvicorn raises the signals it caught once more when it is done; they end here.
    """
    stop = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
