"""Whether a server forgot what it had taken: a number that this process counts up there, and gets back.

A primary that was promoted while it lagged, or a server that came back with an old file, knows old tokens, and
entries that were invalidated would be valid again. Every beat is one `SET GET`; what it gives back must be what the
one before put there. If it is not, it tells how far back the server's memory ends.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from redis.exceptions import ResponseError

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.settings import Clock
from cachewright.runtime.stores.line import Command, Reply

_LIFETIME_MS = 3_600_000
_REMEMBERED = 120


@dataclass(slots=True)
class Pulse:
    """The numbers sent to one place, and when (boot time, s); `clock` tells it."""

    place: str
    clock: Clock
    _number: int = 0
    _sent: OrderedDict[int, float] = field(default_factory=OrderedDict)
    _taken: int = 0

    def command(self) -> Command:
        """The next beat."""
        self._number += 1
        self._sent[self._number] = self.clock()
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        return ("SET", self.place, str(self._number), "GET", "PX", _LIFETIME_MS)

    def forgotten(self, reply: Reply) -> float | None:
        """How far back (s) the memory of the server ends that gave `reply` to the last beat; None where it does not.

        Infinite where it knows no number, or one from before anything this process remembers.
        """
        taken, self._taken = self._taken, self._number
        if not taken:
            return None
        known = int(reply) if isinstance(reply, bytes) and reply.isdigit() else 0
        if known >= taken:
            return None
        at = self._sent.get(known)
        return math.inf if at is None else self.clock() - at


class Beats:
    """The pulses of several servers, each known by a place there; `send` sends one command."""

    def __init__(self, send: Callable[[Command], Awaitable[list[Reply]]], clock: Clock) -> None:
        self._send = send
        self._clock = clock
        self._pulses: dict[str, Pulse] = {}

    async def felt(self, places: Sequence[str]) -> list[float]:
        """How far back (s) the memories end of those servers that forgot something, after one beat of each."""
        before = self._pulses
        self._pulses = {place: before.get(place) or Pulse(place, self._clock) for place in places}
        found = await asyncio.gather(*[self._forgotten(pulse) for pulse in self._pulses.values()])
        return [gone for gone in found if gone is not None]

    async def _forgotten(self, pulse: Pulse) -> float | None:
        try:
            (reply,) = await self._send(pulse.command())
        except StoreUnavailableError:
            return None
        return None if isinstance(reply, ResponseError) else pulse.forgotten(reply)
