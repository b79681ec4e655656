"""One bounded store of a replay: entries in the order in which they were used last."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from cachewright.simulator.lookups import Key, Lookup
from cachewright.spec.semantics import EntryMeta


@dataclass(frozen=True, slots=True)
class Entry:
    """What a store holds of one load, and the lookup whose load it was."""

    meta: EntryMeta
    filled_by: Lookup


@dataclass(slots=True)
class Store:
    """Entries within `max_entries` and `max_bytes`, the least recently used leaving first.

    An entry stands for as many of the recording as its lookup does; of a key that was thinned in time, for itself.
    """

    max_entries: int | None = None
    max_bytes: int | None = None
    peak_entries: int = 0
    peak_bytes: int = 0
    _entries: OrderedDict[Key, Entry] = field(default_factory=OrderedDict)
    _shares: dict[Key, float] = field(default_factory=dict)
    _count: float = 0.0
    _size: float = 0.0

    def get(self, key: Key) -> Entry | None:
        """What is held under `key`."""
        return self._entries.get(key)

    def used(self, key: Key, entry: Entry) -> None:
        """`entry` was served, and is what stands there from now on."""
        self._entries[key] = entry
        self._entries.move_to_end(key)

    def put(self, key: Key, entry: Entry) -> None:
        """Store `entry`; others leave until all is within bounds."""
        self.forget(key)
        share = min(self._shares.get(key, entry.filled_by.weight), entry.filled_by.weight)
        self._shares[key] = share
        self._entries[key] = entry
        self._hold(entry, share)
        if self.max_entries is not None and len(self._entries) > self.max_entries:
            self.forget(next(iter(self._entries)))
        while self.max_bytes is not None and self._entries and self._size > self.max_bytes:
            self.forget(next(iter(self._entries)))
        self.peak_entries = max(self.peak_entries, round(self._count))
        self.peak_bytes = max(self.peak_bytes, round(self._size))

    def forget(self, key: Key) -> None:
        """Drop what is held under `key`."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._hold(entry, -self._shares[key])

    def _hold(self, entry: Entry, share: float) -> None:
        self._count += share
        self._size += share * entry.filled_by.request.size
