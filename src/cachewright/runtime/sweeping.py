"""The sweep: what has expired leaves memory and disk in small steps, and the event loop goes on between them."""

from __future__ import annotations

import asyncio
import math

from cachewright.runtime.core import Core
from cachewright.runtime.stores.memory import STEP

_PAUSE = 1.0


async def keep_swept(core: Core) -> None:
    """Look at every item in memory once in `sweep_interval`, and at one part of the files each second; for ever."""
    while True:
        await asyncio.sleep(_PAUSE)
        share = min(1.0, _PAUSE / core.settings.sweep_interval)
        for _ in range(math.ceil(len(core.l1) * share / STEP)):
            core.l1.sweep(core.wall())
            await asyncio.sleep(0)
        if core.l3 is not None:
            await core.l3.sweep()
