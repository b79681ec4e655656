"""Whether all processes of a namespace write the same row tags.

A writer changes the row tags of the column sets its specification knows. While another specification is in use
elsewhere (a rolling deployment), its column sets are unknown here, so every write also changes `#bulk`.

Each process keeps the digest of its column sets in one of a few places on the server, for as long as it lives, and
looks at all of them every `PERIOD`. What it has seen counts for `GOOD_FOR`; a process that finds others waits for
`GRACE`, longer than that, before it serves or fills anything. The last digest stays behind: a process that comes
with another one starts with nothing of what was stored under its own before. When the others have gone, nothing of
what they stored is left either: no lookup asks for tags that their loads have learned, and no write changes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Mapping

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.core import Core
from cachewright.runtime.settings import Clock
from cachewright.spec.tags import NAMESPACE_TAG

PERIOD = 2.0
GOOD_FOR = 5.0
GRACE = 6.0
_LIVES = 15.0
_LOOK = 0.05
_REMEMBERED = 30 * 86_400.0
_PLACES = tuple(f"cols:{number}" for number in range(8))
_LAST = "cols:last"


def digest_of(
    column_sets: Mapping[str, Collection[tuple[str, ...]]],
    ignored: Collection[tuple[str, str]],
    hashed: Collection[tuple[str, str]],
) -> bytes:
    """What two processes must have in common to know each other's row tags."""
    sets = sorted((table, *map(list, sorted(found))) for table, found in column_sets.items())
    said = [sets, sorted(ignored), sorted(hashed)]
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=8).hexdigest().encode()


class Agreement:
    """The part of one process in it. Without a store, there are no others."""

    def __init__(self, core: Core, digest: bytes, *, clock: Clock, flush: Callable[[], object]) -> None:
        self._core = core
        self._digest = digest
        self._clock = clock
        self._flush = flush
        self._seen = float("-inf")
        self._others = False
        self._held = False
        self._free_at = float("inf")
        self._place: str | None = None

    @property
    def stands(self) -> bool:
        """Whether every other process is known to write the same tags."""
        if not self._core.shared:
            return True
        return not self._others and self._clock() - self._seen < GOOD_FOR

    def hold(self) -> None:
        """Serve and fill nothing before it is known who else is there."""
        if self._core.shared and not self._held:
            self._held = True
            self._core.tokens.hold((NAMESPACE_TAG,))

    def release(self) -> None:
        """The end of `hold`."""
        if self._held:
            self._held = False
            self._core.tokens.release((NAMESPACE_TAG,))

    async def settled(self) -> None:
        """Return once it holds nothing any more, or could not find out who else is there in good time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE + 2 * PERIOD):
                while self._held:  # noqa: ASYNC110 - what it waits for is time, mostly
                    await asyncio.sleep(_LOOK)

    async def run(self) -> None:
        """Look, again and again; ends with its task."""
        while True:
            with contextlib.suppress(StoreUnavailableError):
                await self.look()
            if self._clock() >= self._free_at:
                self.release()
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Take or keep a place, and see who has the others. Raises `StoreUnavailableError`."""
        store = self._core.store
        if store is None:
            return
        asked = self._clock()
        values = dict((await store.read((*_PLACES, _LAST), ())).values)
        unseen = self._place is not None and values.get(self._place) != self._digest
        if unseen:  # nobody could know of it meanwhile: as at the start
            self._place = None
            self.hold()
        if self._place is None and values.get(_LAST) not in (None, self._digest):
            await self._begin_anew()
        if values.get(_LAST) != self._digest:
            await store.fill({_LAST: (self._digest, _REMEMBERED)}, ())
        mine = self._place if self._place and values.get(self._place) == self._digest else None
        mine = mine or next((place for place in _PLACES if values.get(place) == self._digest), None)
        if mine is not None:
            await store.prolong(mine, _LIVES)
        else:
            mine = await self._claimed(values)
        others = mine is None or any(place in values and values[place] != self._digest for place in _PLACES)
        if others if unseen else self._others and not others:
            await self._begin_anew()
        self._others = others
        self._seen = asked
        if self._place is None and mine is not None:
            self._free_at = self._clock() + GRACE if self._others else asked
            if not self._others:
                self.release()
        self._place = mine

    async def _claimed(self, values: dict[str, bytes]) -> str | None:
        """A place that nobody had; `values` are given who came before."""
        assert self._core.store is not None
        for place in _PLACES:
            if place not in values:
                there = await self._core.store.claim(place, self._digest, _LIVES)
                if there in (None, self._digest):
                    return place
                values[place] = there
        return None

    async def _begin_anew(self) -> None:
        """Entries under these column sets may have missed writes of another specification, or the other way round."""
        result = self._flush()
        if asyncio.iscoroutine(result):
            await result
