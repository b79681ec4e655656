"""What alarms do besides being heard: the actions that a specification names."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.alarms.rules import Change, Reading
from cachewright.runtime.engine import Engine
from cachewright.runtime.switches import Switches
from cachewright.spec.tags import NAMESPACE_TAG

#: How long (s) a target rests that did not pay, before it is tried again.
REST_SECONDS = 300.0
#: A target with fewer lookups says nothing about itself.
_ENOUGH = 20
#: `evict_oldest` ends a little under the threshold, so that the next entry does not raise the alarm again.
_UNDER = 0.95
_PROBES = 3
_RECORDS_KEPT = 20

_log = logging.getLogger("cachewright")
Announce = Callable[[], Awaitable[None]]


class Actions:
    """Carries actions out on one engine. Diagnostic records go to `directory`, or to the log where there is none."""

    def __init__(self, engine: Engine, switches: Switches, directory: Path | None) -> None:
        self._engine = engine
        self._switches = switches
        self._directory = directory

    async def act(self, action: str, change: Change, reading: Reading, announce: Announce) -> None:
        """Do what `action` says about an alarm that was raised; `announce` tells people."""
        match action:
            case "alert" | "alert_admin":
                await announce()
            case "disable_caching":
                self._disable(change.rule.threshold)
            case "evict_oldest":
                self._evict(change.rule.threshold)
            case "investigate":
                await self._investigate(change, reading)
            case "retry":
                await self._ask()
            case _:
                pass  # `warn` is the log, which hears of every alarm; falling back to the database needs no telling

    def _disable(self, threshold: float) -> None:
        """Let those targets rest that are under the threshold themselves."""
        for name, own in self._engine.stats.snapshot()["targets"].items():
            hits = sum(own["hits"].values())
            if own["lookups"] >= _ENOUGH and hits < threshold * own["lookups"]:
                self._switches.rest(name, REST_SECONDS)
                _log.warning("%s rests for %.0f s: too few of its lookups hit", name, REST_SECONDS)

    def _evict(self, threshold: float) -> None:
        """Bring the memory under the threshold, in the order of its own policy."""
        left = self._engine.memory.shrink(int(self._engine.settings.l1_bytes * threshold * _UNDER))
        _log.warning("%d entries left memory, so that it is under its threshold", left)

    async def _investigate(self, change: Change, reading: Reading) -> None:
        """Leave a record of what is slow: operations and targets with their times, and the server asked now."""
        counted = self._engine.stats.snapshot()
        record = {
            "alarm": change.rule.name,
            "value": change.value,
            "threshold": change.rule.threshold,
            "at": self._engine.now,
            "memory_share": reading.memory_share,
            "items": len(self._engine.memory),
            "bytes": self._engine.memory.size,
            "operations": {name: _times(own) for name, own in counted["operations"].items()},
            "targets": {
                name: {"hits": _times(own["hit_seconds"]), "loads": _times(own["load_seconds"])}
                for name, own in counted["targets"].items()
            },
            "errors": counted["errors"],
            "timeouts": counted["timeouts"],
            "round_trips_ms": [await self._ask() for _ in range(_PROBES)],
        }
        if self._directory is None:
            _log.warning("what is slow: %s", json.dumps(record))
            return
        try:
            _keep(self._directory, record)
        except OSError as error:
            _log.warning(
                "a diagnostic record could not be written (%s): %s", error.strerror, json.dumps(record)
            )

    async def _ask(self) -> float | None:
        """Ask the store something; the milliseconds until it answered, None where it did not."""
        store = self._engine.store
        if store is None:
            return None
        began = perf_counter()
        try:
            await store.read((), (NAMESPACE_TAG,))
        except StoreUnavailableError:
            return None
        return (perf_counter() - began) * 1000


def _times(own: Mapping[str, Any]) -> dict[str, Any]:
    count = own["count"]
    return {"count": count, "mean_ms": own["seconds"] * 1000 / count if count else None}


def _keep(directory: Path, record: Mapping[str, Any]) -> None:
    """Write a record; the oldest go where there are many."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"investigation-{record['at']:.3f}.json").write_text(json.dumps(record, indent=2))
    for old in sorted(directory.glob("investigation-*.json"))[:-_RECORDS_KEPT]:
        old.unlink(missing_ok=True)
