"""Targets that are switched off for now: by an operator in every process, by an alarm in this one."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Clock

#: How long it takes at most (s) until every process has heard of a switch, if the store answers.
INTERVAL = 2.0
#: How long (s) a switch lasts that nobody turns back.
LASTS = 30 * 86_400.0
_OFF = b"off"

_log = logging.getLogger("cachewright")


class Switches:
    """What is off. A target that is off is bypassed: its requests go to the application.

    `targets` are all there are. What an operator turned off is off in every process that shares the store, and
    stays so over restarts; without a store it is off in this process.
    """

    def __init__(self, engine: Engine, targets: Collection[str], clock: Clock) -> None:
        self._engine = engine
        self._names = {target: f"s:{target}" for target in targets}
        self._clock = clock
        self._until: dict[str, float] = {}
        self._everywhere: frozenset[str] = frozenset()
        self._complained = False

    def is_off(self, target: str) -> bool:
        """Whether `target` is bypassed now; in any thread."""
        if not self._until and not self._everywhere:
            return False
        return target in self._everywhere or self._until.get(target, -math.inf) > self._clock()

    @property
    def off(self) -> frozenset[str]:
        """The targets that are off now."""
        return frozenset(target for target in self._names if self.is_off(target))

    def rest(self, target: str, seconds: float) -> None:
        """Leave `target` alone in this process for so long; then it is tried again."""
        self._until[target] = self._clock() + seconds

    async def turn(self, target: str, *, on: bool) -> None:
        """Turn a target on or off, everywhere. Raises `StoreUnavailableError` where that could not be said."""
        if on:
            self._until.pop(target, None)
        store = self._engine.store
        if store is not None:
            await store.settle(self._names[target], None if on else _OFF, LASTS)
        elif self._engine.shared:
            raise StoreUnavailableError("the store was not started", hint="nothing was switched; try again")
        self._everywhere = self._everywhere - {target} if on else self._everywhere | {target}

    async def follow(self) -> None:
        """Hear what operators turn on and off elsewhere; until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(INTERVAL)

    async def _look(self) -> None:
        store = self._engine.store
        if store is None or not self._names:
            return
        try:
            found = (await store.read(tuple(self._names.values()), ())).values
        except StoreUnavailableError:
            return  # what was off stays off; what is on has no store to be served from
        except Exception:  # noqa: BLE001 - whatever it was, operators must be heard again
            if not self._complained:
                self._complained = True
                _log.exception("the switches could not be read; it is tried again")
            return
        self._everywhere = frozenset(
            target for target, name in self._names.items() if found.get(name) == _OFF
        )
