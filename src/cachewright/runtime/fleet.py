"""Single flight among processes: a short lease in the store says who loads, a word on the bus that it is done.

Never a correctness device: an entry is valid by its tokens alone, whoever loaded it. What goes wrong here (a
lease that is lost, a word that never comes) costs a second load or a wait, and no more.

The lease is a key with a random value, bound to the logical key *and the tokens seen*, set only where there
is none. It is given back without a script, by the owner's own clock: until its time is over nobody else can
have taken it, so the owner may overwrite it with how the flight ended; afterwards it is left to expire. Where
the server lost it meanwhile, another's lease is overwritten: a second load. SET, UNLINK, PEXPIRE, PUBLISH.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import msgspec

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.core import Core
from cachewright.runtime.flight import Alone, FlightKey
from cachewright.runtime.stores.base import Store
from cachewright.runtime.tasks import Tasks

_RENEWALS = 3
_DEAF_SHARE = 3
_FILLED = b"filled"
_UNFILLED = b"unfilled"


class Landed(Enum):
    """Another process loaded and filled; look again."""

    LANDED = 1


@dataclass(slots=True, eq=False)
class Lease:
    """The right and duty to load for the fleet. `end` it, however the load went; the first word counts."""

    _fleet: Fleet
    _name: str
    _until: float
    _renewing: asyncio.Task[None] | None = None
    _ended: bool = False

    def end(self, *, filled: bool | None, lifetime: float | None = None) -> None:
        """Tell the fleet: filled (for `lifetime` s), or not to be shared; None: it failed, somebody else may try."""
        if self._ended:
            return
        self._ended = True
        if self._renewing is not None:
            self._renewing.cancel()
        word = None if filled is None else _FILLED if filled else _UNFILLED
        self._fleet.settle(self._name, word, self._until, lifetime)

    def renewed(self, until: float) -> None:
        """It holds until then (boot time, s)."""
        self._until = until

    def renew_with(self, task: asyncio.Task[None]) -> None:
        """What keeps it alive while the load takes its time."""
        self._renewing = task


class Fleet:
    """The flights of a fleet, as one process sees them. Leases are `fleet_lease` seconds, renewed in time."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tasks = Tasks()
        self._waiting: dict[str, set[asyncio.Future[bytes | None]]] = {}

    async def join(self, flight: FlightKey, *, wait: bool = True) -> Lease | Landed | Alone:
        """Lead the flight of the fleet, or wait (`flight_patience` s at most) until somebody has landed it.

        `Alone` where that brought nothing, where nobody can be asked, and without `wait` where another leads.
        """
        core, name = self._core, _name(flight)
        if core.store is None:
            return Alone()
        deadline = core.boottime() + core.settings.flight_patience
        try:
            while True:
                word = self._listen(name)
                try:
                    asked = core.boottime()
                    match await core.store.claim(name, os.urandom(16), core.settings.fleet_lease):
                        case None:
                            return self._lease(core.store, name, asked)
                        case standing if (ending := _ending(standing)) is not None:
                            return ending
                        case _ if not wait or asked >= deadline:
                            return Alone()
                        case _:
                            await asyncio.wait((word,), timeout=min(self._span(), deadline - asked))
                    ending = _ending(word.result()) if word.done() else None
                    if ending is not None:
                        return ending
                finally:
                    self._leave(name, word)
        except StoreUnavailableError:
            return Alone()

    def _span(self) -> float:
        """How long to wait for word before asking again (s): a lease, less where no word can come."""
        core = self._core
        return core.settings.fleet_lease / (1 if core.heard(core.boottime()) else _DEAF_SHARE)

    def _listen(self, name: str) -> asyncio.Future[bytes | None]:
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, set()).add(future)
        return future

    def _leave(self, name: str, future: asyncio.Future[bytes | None]) -> None:
        waiting = self._waiting.get(name, set())
        waiting.discard(future)
        if not waiting:
            self._waiting.pop(name, None)

    def ended(self, flights: Mapping[str, bytes | None]) -> None:
        """Word came of how these flights have ended."""
        for name, word in flights.items():
            for future in self._waiting.get(name, ()):
                if not future.done():
                    future.set_result(word)

    def _lease(self, store: Store, name: str, asked: float) -> Lease:
        lease = Lease(self, name, asked + self._core.settings.fleet_lease)
        lease.renew_with(self._tasks.spawn(self._renew(store, name, lease)))
        return lease

    async def _renew(self, store: Store, name: str, lease: Lease) -> None:
        seconds = self._core.settings.fleet_lease
        while True:
            await asyncio.sleep(seconds / _RENEWALS)
            asked = self._core.boottime()
            try:
                await store.prolong(name, seconds)
            except StoreUnavailableError:
                continue
            lease.renewed(asked + seconds)

    def settle(self, name: str, word: bytes | None, until: float, lifetime: float | None) -> None:
        """Give a lease back that was good until then (boot time, s). What it says now ends before the entry does."""
        core = self._core
        if core.store is None or core.boottime() >= until:
            return
        seconds = (
            core.settings.fleet_lease if lifetime is None else min(core.settings.fleet_lease, lifetime / 2)
        )
        self._tasks.spawn(self._settle(core.store, name, word, seconds))

    async def _settle(self, store: Store, name: str, word: bytes | None, seconds: float) -> None:
        try:
            await store.settle(name, word, seconds)
        except StoreUnavailableError:
            return  # the lease ends by itself

    async def aclose(self, patience: float) -> None:
        """Give back what is being given back, in bounded time."""
        await self._tasks.end(patience)


def _ending(word: bytes | None) -> Landed | Alone | None:
    """What it means for who waits; None where somebody else may lead now, or still does."""
    if word == _FILLED:
        return Landed.LANDED
    return Alone() if word == _UNFILLED else None


def _name(flight: FlightKey) -> str:
    return f"f:{hashlib.blake2b(msgspec.msgpack.encode(flight), digest_size=16).hexdigest()}"
