"""The l1 tier: decoded entries of this process, bounded by items and bytes. Safe to call from any thread.

A plain `OrderedDict`: an entry that leaves must also leave the index by tag, and two bounds hold at once.
cachebox has one bound and does not tell which items it evicts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace

from cachewright.runtime.codec import Accepted, Entry

Record = Entry | Accepted

#: What one item costs beside its payload: the objects that hold it, and its place in the index for each tag.
_ITEM_BYTES = 600
_TAG_BYTES = 200
#: An item larger than this share of the whole would push out too many others.
_LARGEST_SHARE = 8
#: Names dropped at once for one call; the rest cannot be served either (their tokens are gone) and ages out.
_DROPPED_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Item:
    """A record, until when (boot time, s) it may be served without asking for its tokens, and its weight."""

    record: Record
    lease: float
    size: int


def weight(name: str, record: Record) -> int:
    """How many bytes an item counts for."""
    payload = len(record.payload) if isinstance(record, Entry) else 0
    tags = sum(len(tag) + _TAG_BYTES for tag in record.tokens)
    return _ITEM_BYTES + len(name) + len(record.key) + payload + tags


class MemoryStore:
    """Least recently used items leave first, where there are more than `items` or over `limit` bytes."""

    def __init__(self, *, items: int, limit: int) -> None:
        self._most = items
        self._limit = limit
        self._lock = threading.Lock()
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._names: dict[str, set[str]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size(self) -> int:
        """The weight of everything held, in bytes."""
        return self._bytes

    def get(self, name: str) -> Item | None:
        """The item of this name, now the most recently used one."""
        with self._lock:
            item = self._items.get(name)
            if item is not None:
                self._items.move_to_end(name)
            return item

    def put(self, name: str, record: Record, lease: float) -> bool:
        """Hold `record`; false where it is too large to be worth its room."""
        size = weight(name, record)
        with self._lock:
            self._remove(name)
            if size > self._limit // _LARGEST_SHARE or self._most < 1:
                return False
            self._items[name] = Item(record, lease, size)
            self._bytes += size
            for tag in record.tokens:
                self._names.setdefault(tag, set()).add(name)
            while len(self._items) > self._most or self._bytes > self._limit:
                self._remove(next(iter(self._items)))
            return name in self._items

    def renew(self, name: str, record: Record, lease: float) -> None:
        """Extend the lease of the item of this name, if it still holds this very record."""
        with self._lock:
            item = self._items.get(name)
            if item is not None and item.record is record:
                self._items[name] = replace(item, lease=lease)

    def discard(self, name: str) -> None:
        """Let go of the item of this name, if there is one."""
        with self._lock:
            self._remove(name)

    def drop(self, tags: Collection[str]) -> None:
        """Let go of the items that depend on one of `tags`."""
        with self._lock:
            left = _DROPPED_AT_ONCE
            for tag in tags:
                names = self._names.get(tag)
                while names and left:
                    self._remove(next(iter(names)))
                    left -= 1

    def _remove(self, name: str) -> None:
        item = self._items.pop(name, None)
        if item is None:
            return
        self._bytes -= item.size
        for tag in item.record.tokens:
            names = self._names[tag]
            names.discard(name)
            if not names:
                del self._names[tag]
