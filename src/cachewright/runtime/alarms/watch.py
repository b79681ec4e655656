"""The watch of one process: measures, steps the rules, acts, and tells."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from cachewright.runtime.alarms.actions import Actions
from cachewright.runtime.alarms.rules import CALM, Change, Reading, Rule, State, step
from cachewright.runtime.alarms.sinks import Sink, to_log
from cachewright.runtime.alarms.window import Window
from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Clock
from cachewright.runtime.tasks import Tasks

INTERVAL = 1.0
#: Where it is written what each alarm means, and what to do.
RUNBOOK = "docs/how-to/runbooks.md#{}"

_log = logging.getLogger("cachewright")


class Watch:
    """Watches one engine by `rules`. `clock` never goes back (s); `forecast` is the hit rate that was predicted."""

    def __init__(
        self,
        engine: Engine,
        rules: Collection[Rule],
        actions: Actions,
        sinks: Collection[Sink],
        *,
        clock: Clock,
        forecast: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._states: dict[Rule, State] = dict.fromkeys(rules, CALM)
        self._actions = actions
        self._sinks = tuple(sinks)
        self._clock = clock
        self._forecast = forecast
        self._window = Window()
        self._born = clock()
        self._away_since: float | None = None
        self._telling = Tasks()
        self._raised: dict[str, Mapping[str, Any]] = {}

    @property
    def raised(self) -> list[Mapping[str, Any]]:
        """The alarms that are raised now, the newest last."""
        return list(self._raised.values())

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - a watch that fails must not end
                _log.exception("the cache could not be watched; it is tried again")

    async def look(self) -> None:
        """Measure once, and do what follows."""
        reading = self._read()
        for rule, state in self._states.items():
            self._states[rule], change = step(rule, state, reading, age=reading.at - self._born)
            if change is not None:
                await self._changed(change, reading)

    async def aclose(self, patience: float) -> None:
        """Give alarms that are being told so long (s)."""
        await self._telling.finish(patience)
        await self._telling.end(0.0)

    def _read(self) -> Reading:
        engine, settings = self._engine, self._engine.settings
        at = self._clock()
        now = Reading(
            at=at,
            memory_share=engine.memory.size / settings.l1_bytes if settings.l1_bytes else None,
            away=self._away(at),
            pending=engine.pending,
        )
        reading = self._window.read(engine.stats.snapshot(), now)
        predicted = self._forecast()
        if predicted is None or reading.hit_rate is None:
            return reading
        return replace(reading, hit_rate_off=max(0.0, predicted - reading.hit_rate))

    def _away(self, now: float) -> float:
        """For how long (s) the cache has been away."""
        engine = self._engine
        if engine.alone or (engine.store is not None and not engine.store.struggling and engine.hears):
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now
        return 0.0 if self._away_since is None else now - self._away_since

    async def _changed(self, change: Change, reading: Reading) -> None:
        alarm = self._told(change)
        if change.raised:
            self._raised[change.rule.name] = alarm
        else:
            self._raised.pop(change.rule.name, None)
        await self._tell(to_log, alarm)

        async def announce() -> None:
            for sink in self._sinks:
                self._telling.spawn(self._tell(sink, alarm))

        if not change.raised:
            if {"alert", "alert_admin"} & set(change.rule.actions):
                await announce()
            return
        for action in change.rule.actions:
            await self._actions.act(action, change, reading, announce)

    def _told(self, change: Change) -> dict[str, Any]:
        rule = change.rule
        return {
            "name": rule.name,
            "state": "raised" if change.raised else "ended",
            "severity": rule.severity,
            "value": change.value,
            "threshold": rule.threshold,
            "unit": rule.unit,
            "for_seconds": rule.for_seconds,
            "actions": list(rule.actions),
            "namespace": self._engine.namespace,
            "at": self._engine.now,
            "runbook": RUNBOOK.format(rule.name),
        }

    async def _tell(self, sink: Sink, alarm: Mapping[str, Any]) -> None:
        try:
            await sink(alarm)
        except Exception:  # noqa: BLE001 - somebody else's function
            _log.exception("an alarm could not be told")
