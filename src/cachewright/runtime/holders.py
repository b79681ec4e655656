"""Crash-safe writes: what is about to be committed is held in the store, for every process, until it was invalidated.

A process that dies between its commit and its invalidation leaves behind that tags are held, and that they have
tokens which no entry carries; what was loaded meanwhile is stored nowhere. When the hold has ended by itself, loads
see what was committed. The order of steps is what makes it safe:

| writer | holder, new token, *commit*, new token, release |
| reader | token, holder, *load*, fill |

Who reads a token from before the hold fills in vain; who reads it later sees the holder, or what was committed. Of a
tag `PLACES` transactions can be told apart, so that each takes back its own hold; those beyond share one that ends by
itself. SET NX, SET, MGET and UNLINK; a hold is taken back by the owner's clock while nobody else can have its place.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass

from cachewright.runtime.core import Core
from cachewright.runtime.stores.base import Store, holder_name

PLACES = 4
_SHARED = PLACES
#: The share of a hold's life in which its owner may take it back.
_OWN = 0.9


@dataclass(frozen=True, slots=True)
class Announced:
    """The holds of one transaction: its own until then (boot time, s)."""

    names: tuple[str, ...]
    until: float


def holders_of(tags: Collection[str]) -> list[str]:
    """Where holds of these tags may stand."""
    return [holder_name(place, tag) for tag in tags for place in range(PLACES + 1)]


async def announce(core: Core, store: Store, tags: Collection[str]) -> Announced:
    """Hold `tags` everywhere and change their tokens: before the commit. Raises `StoreUnavailableError`."""
    began, who = core.boottime(), os.urandom(8)
    first = int(core.dice() * PLACES)
    held = await asyncio.gather(*(_hold(core, store, tag, who, first) for tag in tags))
    await store.change(tags)
    own = tuple(name for name in held if name is not None)
    return Announced(own, began + core.settings.commit_hold * _OWN)


async def _hold(core: Core, store: Store, tag: str, who: bytes, first: int) -> str | None:
    """Where `tag` is held now, None where that is nobody's own."""
    seconds = core.settings.commit_hold
    for step in range(PLACES):
        name = holder_name((first + step) % PLACES, tag)
        if await store.claim(name, who, seconds) is None:
            return name
    await store.fill({holder_name(_SHARED, tag): (who, seconds)}, ())
    return None


async def lift(core: Core, store: Store, announced: Announced) -> None:
    """Take the holds back: after the invalidation. Raises `StoreUnavailableError`."""
    if announced.names and core.boottime() < announced.until:
        await store.remove(announced.names)


async def held(store: Store, tags: Collection[str]) -> bool:
    """Whether one of `tags` is held; to be asked after their tokens were. Raises `StoreUnavailableError`."""
    return bool((await store.read(holders_of(tags), ())).values)
