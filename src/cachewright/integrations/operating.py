"""What runs beside an installed cache for the people who operate it: switches, alarms, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cachewright.runtime.alarms.actions import Actions
from cachewright.runtime.alarms.named import rules_of
from cachewright.runtime.alarms.sinks import Alarm, Sink, Webhook, calling
from cachewright.runtime.alarms.watch import Watch
from cachewright.runtime.engine import Engine
from cachewright.runtime.figures import gauges_of
from cachewright.runtime.settings import boottime
from cachewright.runtime.switches import Switches
from cachewright.runtime.tasks import Tasks
from cachewright.spec.model import CachingSpecification
from cachewright.spec.target import Plan

_FINISH_SECONDS = 1.0
OnAlarm = Callable[[Alarm], Any]


class Operating:
    """Switches and watch of one process. Alarms go to `webhook` and `on_alarm`, diagnostics to `directory`."""

    def __init__(
        self,
        engine: Engine,
        spec: CachingSpecification,
        plan: Plan,
        *,
        webhook: Webhook | None = None,
        on_alarm: OnAlarm | None = None,
        directory: Path | None = None,
    ) -> None:
        self._engine = engine
        self._scopes = {target.name: target.scope.value for target in plan.targets.values()}
        self.switches = Switches(engine, [target.name for target in plan.targets.values()], boottime)
        self.redis = spec.configuration.redis
        self.forecast = spec.metrics.performance.hit_rate
        sinks: list[Sink] = [] if webhook is None else [webhook]
        if on_alarm is not None:
            sinks.append(calling(on_alarm))
        self.watch = Watch(
            engine,
            rules_of(spec.alerts),
            Actions(engine, self.switches, directory),
            sinks,
            clock=boottime,
            forecast=lambda: self.forecast,
        )
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._tasks.spawn(self.switches.follow())
        self._tasks.spawn(self.watch.run())

    async def aclose(self) -> None:
        """End; alarms that are being told have a second."""
        await self._tasks.end(_FINISH_SECONDS)
        await self.watch.aclose(_FINISH_SECONDS)

    def figures(self) -> Mapping[str, Any]:
        """What this process tells the others of itself, beside its counters."""
        return {
            "scopes": self._scopes,
            "gauges": asdict(gauges_of(self._engine)),
            "pending": self._engine.pending,
            "hears": self._engine.hears,
            "off": sorted(self.switches.off),
            "alarms": self.watch.raised,
        }
