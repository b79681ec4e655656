"""Following a database that other programs write to: poll, invalidate, go on; and say how far behind it is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Engine, text

from cachewright.integrations.decoding import Batch
from cachewright.spec.tags import NAMESPACE_TAG

_LEARN_AGAIN = 60.0
_REMEMBERED = 1000


class Changes(Protocol):
    """Where changes come from."""

    def open(self) -> None:
        """See that it is there."""

    def learn(self) -> None:
        """Look at definitions again."""

    def poll(self) -> Batch:
        """What has changed since the last `confirm`."""

    def confirm(self, batch: Batch) -> None:
        """It was invalidated."""


class FileVersion:
    """A SQLite file: that somebody has written is all it says, so each change is one of everything."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None
        self._seen: int | None = None

    def open(self) -> None:
        """Keep one connection: it is told of the writes of all others."""
        self._connection = self._engine.connect()
        self._seen = self._version()

    def learn(self) -> None:
        """There is nothing to learn."""

    def poll(self) -> Batch:
        """All entries, if another connection has written."""
        version = self._version()
        if version == self._seen:
            return Batch()
        self._seen = version
        return Batch(frozenset({NAMESPACE_TAG}), 1)

    def confirm(self, batch: Batch) -> None:
        """A version that was seen is not seen again."""

    def _version(self) -> int:
        version: int = self._connection.execute(text("PRAGMA data_version")).scalar_one()
        self._connection.rollback()
        return version


class Following:
    """The loop and its figures. `every` is the pause between polls (s), and with their duration the bound on lag."""

    def __init__(
        self, changes: Changes, invalidate: Callable[[frozenset[str]], object], *, every: float
    ) -> None:
        self._changes = changes
        self._invalidate = invalidate
        self._every = every
        self._polls: deque[float] = deque(maxlen=_REMEMBERED)
        self._lags: deque[float] = deque(maxlen=_REMEMBERED)
        self._transactions = 0
        self._tags = 0

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop`; what a database says that is away is raised."""
        learned = float("-inf")
        while True:
            began = time.monotonic()
            if began - learned >= _LEARN_AGAIN:
                self._changes.learn()
                learned = began
            batch = self._changes.poll()
            if batch.tags:
                self._invalidate(batch.tags)
            self._changes.confirm(batch)
            took = time.monotonic() - began
            self._polls.append(took)
            if batch.transactions:
                self._lags.append(batch.lag + took)
                self._transactions += batch.transactions
                self._tags += len(batch.tags)
            if not batch.transactions and stop.wait(self._every):
                return
            if stop.is_set():
                return

    def figures(self) -> dict[str, Any]:
        """What was followed; `lag_ms` is from a commit until its invalidation was delivered, null before the first."""
        lags = sorted(self._lags)
        return {
            "transactions": self._transactions,
            "tags": self._tags,
            "lag_ms": None
            if not lags
            else {
                "p50": _ms(lags[len(lags) // 2]),
                "p99": _ms(lags[len(lags) * 99 // 100]),
                "max": _ms(lags[-1]),
            },
            "bound_ms": _ms(self._every + max(self._polls, default=0.0)),
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
