"""Writes that were accepted and are not yet in the database: a plain state machine, without clock or waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cachewright.runtime.strategies.records import Write

_BACKOFF = 2.0


@dataclass(slots=True)
class _Slot:
    """What is known of one name: the newest write, the one on its way to the database, and when to try."""

    newest: Write
    since: float
    due: float
    under_way: Write | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: how many keys, since when the oldest (s), how many of them failed, and what happened so far.

    `coalesced` writes gave way to a newer one before they were stored, `refused` ones to a newer one in the
    database. `damaged` bytes of journals could not be read at the start.
    """

    pending: int
    oldest: float | None
    failing: int
    stored: int
    coalesced: int
    refused: int
    failures: int
    damaged: int = 0
    last_error: str | None = None


class Pending:
    """The newest accepted write of each name, until it is stored.

    At most one write of a name is on its way at a time, and versions only rise: that is the order of a key.
    A write that fails is tried again after `first` seconds, twice as long after each further failure, `longest`
    at most, each delay shortened at random by `dice` (numbers in [0, 1)). Nothing is ever given up.
    """

    def __init__(self, *, first: float, longest: float, dice: Callable[[], float]) -> None:
        self._first = first
        self._longest = longest
        self._dice = dice
        self._slots: dict[str, _Slot] = {}
        self._stored = 0
        self._coalesced = 0
        self._refused = 0
        self._failures = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, name: str) -> bool:
        return name in self._slots

    def look(self, name: str) -> Write | None:
        """The newest accepted write of `name`, None where all of them are in the database."""
        slot = self._slots.get(name)
        return None if slot is None else slot.newest

    def accept(self, write: Write, now: float, *, due: float) -> None:
        """Take a write that is in the journal, to be stored at `due`. One older than the newest gives way."""
        slot = self._slots.get(write.name)
        if slot is None:
            self._slots[write.name] = _Slot(write, since=now, due=due)
        elif write.version > slot.newest.version:
            self._coalesced += slot.newest is not slot.under_way
            slot.newest = write
        elif write.version < slot.newest.version:
            self._coalesced += 1

    def take(self, now: float, count: int, *, all_due: bool = False) -> list[Write]:
        """Up to `count` writes to store now, the longest waiting first; each is on its way afterwards.

        With `all_due` whatever did not fail is due.
        """
        taken: list[Write] = []
        for slot in self._slots.values():
            if len(taken) == count:
                break
            due = slot.due <= now or (all_due and slot.failures == 0)
            if slot.under_way is None and due:
                slot.under_way = slot.newest
                taken.append(slot.newest)
        return taken

    def stored(self, write: Write, now: float, *, refused: bool = False) -> bool:
        """The database has this write, or something newer (`refused`); whether nothing of its name is left."""
        self._refused += refused
        self._stored += not refused
        slot = self._slots[write.name]
        slot.under_way, slot.failures = None, 0
        if slot.newest.version > write.version:
            slot.due = slot.since = now
            return False
        del self._slots[write.name]
        return True

    def failed(self, write: Write, now: float) -> float:
        """The database did not take this write; in how many seconds it, or a newer one, is tried again."""
        slot = self._slots[write.name]
        delay = min(self._longest, self._first * _BACKOFF**slot.failures) * (1 - self._dice() / 2)
        slot.under_way = None
        slot.failures = min(slot.failures + 1, 64)
        slot.due = now + delay
        self._failures += 1
        return delay

    def next_due(self) -> float | None:
        """When `take` has something again, None where everything is on its way or nothing waits."""
        return min((slot.due for slot in self._slots.values() if slot.under_way is None), default=None)

    def backlog(self, now: float) -> Backlog:
        """Figures."""
        oldest = min((slot.since for slot in self._slots.values()), default=None)
        return Backlog(
            pending=len(self._slots),
            oldest=None if oldest is None else max(0.0, now - oldest),
            failing=sum(slot.failures > 0 for slot in self._slots.values()),
            stored=self._stored,
            coalesced=self._coalesced,
            refused=self._refused,
            failures=self._failures,
        )
