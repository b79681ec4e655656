"""Strict mode: which processes hold copies in memory, and whether all of them have heard of an invalidation.

A process that serves copies without asking has its name in one of `PLACES` records of the store, which it renews
well before they end, and by its own clock stops to trust before they can have ended. Whoever invalidates reads these
records after the tokens were changed, and waits until each of the processes named there said that it has dropped
its copies; or for as long as a lease, after which nobody serves one any more, whether it heard or not. A process that
died is waited for until its record ends. Where all places are taken, further processes ask for tokens each time.

SET NX, PEXPIRE, MGET and PUBLISH; the words go to a channel of each process, beside that of the bus.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.settings import Clock
from cachewright.runtime.stores.base import Store, member_name

PLACES = 64
_SHORTEST_RECORD = 2.0
_LEASES_A_RECORD = 4
_RENEWALS = 4
#: The share of its record's life for which a process trusts it: clocks of two machines do not run alike.
_TRUSTED = 0.9

_NAMES = tuple(member_name(place) for place in range(PLACES))


class Told:
    """One invalidation: the words that went out for it, and who said that it has heard each of them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard: dict[bytes, set[bytes]] = {}
        self._news = asyncio.Event()

    def stamp(self) -> bytes:
        """The mark of one more word."""
        made = os.urandom(8)
        self._heard[made] = set()
        return made

    def heard(self, stamp: bytes, process: bytes) -> None:
        """`process` has heard this word. In any thread."""
        found = self._heard.get(stamp)
        if found is not None:
            found.add(process)
            self._loop.call_soon_threadsafe(self._news.set)

    async def by_all(self, processes: Collection[bytes], patience: float) -> bool:
        """Wait until all of `processes` have heard all of it, `patience` seconds at most; whether they have."""
        try:
            async with asyncio.timeout(patience):
                while any(not heard.issuperset(processes) for heard in self._heard.values()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True


class Members:
    """The processes of one namespace, as one of them sees them. `lease` (s) is that of copies in memory."""

    def __init__(self, origin: bytes, lease: float, clock: Clock) -> None:
        self._origin = origin
        self._lease = lease
        self._clock = clock
        self._seconds = max(_SHORTEST_RECORD, _LEASES_A_RECORD * lease)
        self._place: str | None = None
        self._until: float | None = None
        self._telling: set[Told] = set()

    def known(self, now: float) -> bool:
        """Whether the others know of this process (`now` in boot time, s)."""
        return self._until is not None and now < self._until

    async def stay(self, store: Store, joined: Callable[[], object]) -> None:
        """Be one of them until cancelled. `joined` is called whenever word may have been missed until now."""
        while True:
            asked = self._clock()
            try:
                if not await self._renewed(store):
                    self._place = self._until = None
                    self._place = await self._found_place(store)
                    if self._place is not None:
                        joined()
                if self._place is not None:
                    self._until = asked + self._seconds * _TRUSTED
            except StoreUnavailableError:
                pass  # what was renewed last still holds, and ends by itself
            await asyncio.sleep(self._seconds / _RENEWALS)

    async def _renewed(self, store: Store) -> bool:
        if self._place is None:
            return False
        await store.prolong(self._place, self._seconds)
        return (await store.read((self._place,), ())).values.get(self._place) == self._origin

    async def _found_place(self, store: Store) -> str | None:
        taken = (await store.read(_NAMES, ())).values
        for name in _NAMES:
            if taken.get(name, self._origin) == self._origin:
                standing = await store.claim(name, self._origin, self._seconds)
                if standing is None and await self._extended(store, name):
                    return name
        return None

    async def _extended(self, store: Store, name: str) -> bool:
        """Whether a claimed place is ours: also one that this process had already, which the claim did not prolong."""
        await store.prolong(name, self._seconds)
        return (await store.read((name,), ())).values.get(name) == self._origin

    async def leave(self, store: Store) -> None:
        """Let nobody wait for this process any more."""
        place, self._place, until, self._until = self._place, None, self._until, None
        if place is not None and until is not None and self._clock() < until:
            try:
                await store.remove((place,))
            except StoreUnavailableError:
                return  # the record ends by itself

    def tell(self) -> Told:
        """A new invalidation; to be given to `ended`."""
        told = Told()
        self._telling.add(told)
        return told

    def ended(self, told: Told) -> None:
        """Nobody waits for it any more."""
        self._telling.discard(told)

    def heard(self, stamp: bytes, process: bytes) -> None:
        """`process` has dropped what the word of this stamp named. In any thread."""
        for told in tuple(self._telling):
            told.heard(stamp, process)

    async def heard_by_all(self, told: Told, store: Store) -> bool:
        """Wait until nobody serves a copy from before; whether all have said so, rather than a lease has passed."""
        deadline = self._clock() + self._lease
        try:
            named = (await store.read(_NAMES, ())).values.values()
        except StoreUnavailableError:
            await asyncio.sleep(max(0.0, deadline - self._clock()))
            return False
        others = set(named) - {self._origin}
        return await told.by_all(others, max(0.0, deadline - self._clock()))
