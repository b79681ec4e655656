"""Several worker processes on one socket: started, told ready, replaced when they die, ended together."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any

from cachewright.cli.output import say
from cachewright.cli.serving import Listening, announce, stop_signals
from cachewright.errors import ApplicationError

READY = b"ready"
MOST_NEWS = 10_000
POLL_SECONDS = 0.05
BACKOFF_SECONDS = 1.0
STOP_SECONDS = 15.0

#: What the process that is started as number so and so (from 1) is to do, as JSON; see `worker`.
Orders = Callable[[int], str]


@dataclass(slots=True)
class Worker:
    """A child process: it tells through `news` that it serves, or why not.

    Its orders come through `lifeline`, which nobody else can read; it ends when that closes.
    """

    process: subprocess.Popen[bytes]
    news: int
    lifeline: int
    heard: bytes = b""

    @property
    def is_ready(self) -> bool:
        """Whether it serves."""
        return self.heard == READY

    def listen(self) -> None:
        """Hear what it has told."""
        with contextlib.suppress(BlockingIOError):
            self.heard += os.read(self.news, MOST_NEWS)

    def failure(self) -> ApplicationError:
        """Why it ended before it was ready."""
        if self.heard:
            told = json.loads(self.heard)
            return ApplicationError(told["message"], hint=told["hint"])
        return ApplicationError(
            f"a worker process ended with code {self.process.returncode} before it was ready",
            hint="What it said stands above. Does the application start with --workers 1?",
        )

    def close(self) -> None:
        """Let go of the pipes."""
        os.close(self.news)
        os.close(self.lifeline)


def serve_workers(
    number: int,
    bound: Listening,
    environment: Mapping[str, str],
    options: Mapping[str, Any],
    orders: Orders = lambda _number: "{}",
) -> None:
    """Serve with `number` processes until SIGINT or SIGTERM, then return once they have ended.

    Raises `ApplicationError` when a worker ends before it was ever ready; one that dies later is replaced.
    """
    bound.socket.listen(int(options.get("backlog", 2048)))
    crew = _Crew(bound, environment, options, orders)
    with stop_signals() as stop:
        try:
            crew.hire(number)
            if crew.wait_until_ready(stop):
                announce(bound.url)
                crew.keep(stop)
        finally:
            crew.dismiss()


class _Crew:
    def __init__(
        self, bound: Listening, environment: Mapping[str, str], options: Mapping[str, Any], orders: Orders
    ) -> None:
        self._socket = bound.socket
        self._environment = {**os.environ, **environment}
        self._options = json.dumps(options)
        self._orders = orders
        self._started = 0
        self._workers: list[Worker] = []

    def hire(self, number: int) -> None:
        self._workers.extend(self._start() for _ in range(number))

    def wait_until_ready(self, stop: Event) -> bool:
        """Whether all are ready; False when asked to stop first."""
        while not stop.wait(POLL_SECONDS):
            for worker in self._workers:
                ended = worker.process.poll() is not None
                worker.listen()
                if ended and not worker.is_ready:
                    raise worker.failure()
            if all(worker.is_ready for worker in self._workers):
                return True
        return False

    def keep(self, stop: Event) -> None:
        """Replace workers that die, until asked to stop."""
        while not stop.wait(POLL_SECONDS):
            for position, worker in enumerate(self._workers):
                worker.listen()
                if worker.process.poll() is not None:
                    self._replace(position, worker, stop)

    def _replace(self, position: int, worker: Worker, stop: Event) -> None:
        say(f"a worker process ended with code {worker.process.returncode}; starting another")
        if not worker.is_ready:
            stop.wait(BACKOFF_SECONDS)
        worker.close()
        self._workers[position] = self._start()

    def dismiss(self) -> None:
        """End all: SIGTERM, and after a while SIGKILL."""
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        killed = 0
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
                killed += 1
            worker.close()
        if killed:
            say(f"{killed} workers did not end within {STOP_SECONDS:.0f} s and were killed")
        self._workers.clear()

    def _start(self) -> Worker:
        news, tells = os.pipe()
        holds, lifeline = os.pipe()
        os.set_blocking(news, False)
        files = (self._socket.fileno(), tells, holds)
        process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            [sys.executable, "-m", "cachewright.cli.worker", *map(str, files), self._options],
            env=self._environment,
            pass_fds=files,
        )
        os.close(tells)
        os.close(holds)
        self._started += 1
        with contextlib.suppress(BrokenPipeError):  # it is gone already; whoever waits for it will see
            os.write(lifeline, f"{self._orders(self._started)}\n".encode())
        return Worker(process, news, lifeline)
