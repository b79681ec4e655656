"""Callers who go on asking and writing whatever happens to the servers, and what they saw."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cachewright import Cache, InvalidationPendingError


@dataclass
class Truth:
    """What the 'database' holds for each key, and what a read that begins now must show at least."""

    now: dict[str, int]
    due: dict[str, int]

    @classmethod
    def of(cls, keys: Sequence[str]) -> "Truth":
        """Ones."""
        return cls(dict.fromkeys(keys, 1), dict.fromkeys(keys, 1))


@dataclass
class Asked:
    """The requests for the keys of one part: when each began, how long it took. Over `late` (s) it is late."""

    late: float
    took: list[tuple[float, float]] = field(default_factory=list)
    failed: int = 0
    wrong: int = 0

    @property
    def longest(self) -> float:
        """The longest of them, s."""
        return max(seconds for _, seconds in self.took)

    def gap(self) -> float:
        """From the first late request to the end of the last, s."""
        late = [(began, seconds) for began, seconds in self.took if seconds > self.late]
        return max((began + seconds for began, seconds in late), default=0.0) - min(
            (began for began, _ in late), default=0.0
        )


async def ask_on(cache: Cache, keys: Sequence[str], truth: Truth, seen: Asked, end: asyncio.Event) -> None:
    """Read `keys` over and over until the end."""
    while not end.is_set():
        for key in keys:
            least, began = truth.due[key], time.monotonic()

            async def load(key: str = key) -> int:
                return truth.now[key]

            try:
                value = await cache.get_or_load(key, load, ttl=60, tags=(f"tag:{key}",))
            except Exception:  # noqa: BLE001 - what is counted
                seen.failed += 1
            else:
                seen.wrong += value < least
            seen.took.append((began, time.monotonic() - began))
        await asyncio.sleep(0.002)


async def write_on(
    cache: Cache, keys: Sequence[str], truth: Truth, gaps: list[float], end: asyncio.Event
) -> None:
    """Write to `keys` over and over; how long (s) it took from a refusal until a write was taken again."""
    since: float | None = None
    while not end.is_set():
        for key in keys:
            truth.now[key] += 1
            number, began = truth.now[key], time.monotonic()
            try:
                await cache.invalidate(f"tag:{key}")
            except InvalidationPendingError:
                since = began if since is None else since
            else:
                truth.due[key] = number
                if since is not None:
                    gaps.append(time.monotonic() - since)
                    since = None
            await asyncio.sleep(0.01)
