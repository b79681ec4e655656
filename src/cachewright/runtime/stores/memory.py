"""The l1 tier: decoded entries of this process, bounded by items and bytes. Safe to call from any thread.

One plain dict, with the order of eviction running through the items (see `eviction`). There is no index by tag: an
invalidation notes its tags, which costs the same for one item as for a million; a read compares an item with what
was noted since it was last looked at, and the sweep, a few hundred items a step, gives the memory back. Equal
tokens are held once, so that an item costs little beside its payload.

Not cachebox: its caches have one bound each, sort where they count uses, and cannot be swept in steps.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar

from cachewright.runtime.codec import Entry
from cachewright.runtime.settings import Bounds
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.admission import Doorkeeper
from cachewright.runtime.stores.eviction import Node, order_of
from cachewright.runtime.stores.records import Name, Record, end_of, has_ended, held_name
from cachewright.runtime.stores.shared_tokens import SharedTokens
from cachewright.spec.tags import KEY_TAG

#: What one item costs beside its payload and its key, and what each tag of tokens that nothing shares adds.
_ITEM_BYTES = 430
_TAG_BYTES = 40
#: An item larger than this share of the whole would push out too many others.
_LARGEST_SHARE = 8
#: Invalidated tags that are remembered, at least; past them, and past the number of items that there is room for,
#: what was not looked at since the oldest counts as dropped.
_NOTED_TAGS = 10_000
#: Where there is no room, so many items are looked at for one that has expired before a live one must leave.
_LOOKED_AT = 16
#: Items that one step of the sweep looks at.
STEP = 128


class Item(Node):
    """A record, and until when (boot time, s) it may be served without asking for its tokens."""

    __slots__ = ("group", "lease", "record", "turn")

    demotes: ClassVar[bool] = False

    def __init__(self, record: Record, lease: float, turn: int, group: _Group) -> None:
        self.record = record
        self.lease = lease
        self.turn = turn
        self.group = group


class _Demotable(Item):
    """An item that goes to the files where it leaves for want of room. A class costs less than a field."""

    __slots__ = ()

    demotes: ClassVar[bool] = True


class _Group:
    """The items that share one order of eviction and its bounds."""

    __slots__ = ("bounds", "bytes", "count", "hand", "left", "order")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.order = order_of(bounds.policy)
        self.count = 0
        self.bytes = 0
        self.hand: Node | None = None  # the sweep looks at this one next; None: at the first one
        self.left = 0  # and at so many before it begins anew


def weight(record: Record) -> int:
    """How many bytes an item counts for: about what it takes, where few items share their tokens."""
    payload = len(record.payload) if isinstance(record, Entry) else len(record.credential)
    return _ITEM_BYTES + len(record.key) + payload + _TAG_BYTES * len(record.tokens)


class MemoryStore:
    """Records in memory. Where there is no room the next in the order of eviction leaves.

    `bounds` are those of the whole and of what has no bounds of its own; `groups` have an order of their own, and
    bounds within the whole. Where the whole is full, the group that holds the most bytes gives one up. Records
    that leave for want of room and were put with `demotes` are handed to `demote`, outside the lock.
    """

    def __init__(
        self,
        bounds: Bounds,
        *,
        groups: Mapping[str, Bounds] | None = None,
        doorkeeper: Doorkeeper | None = None,
        stats: Stats | None = None,
        demote: Callable[[list[Record]], object] | None = None,
    ) -> None:
        self._bounds = bounds
        self._common = _Group(bounds)
        self._groups = {name: _Group(own) for name, own in (groups or {}).items()}
        self._all = (self._common, *self._groups.values())
        self._doorkeeper = doorkeeper
        self._stats = stats if stats is not None else Stats()
        self._demote = demote
        self._lock = threading.Lock()
        self._items: dict[Name, Item] = {}
        self._grown: dict[Name, int] = {}
        self._bytes = 0
        self._grace = 0.0
        self._swept = 0
        self._turn = 0
        self._floor = 0
        self._noted = max(_NOTED_TAGS, bounds.items)
        self._dropped: OrderedDict[str, int] = OrderedDict()
        self._shared = SharedTokens()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size(self) -> int:
        """The weight of everything held, in bytes."""
        return self._bytes

    def get(self, name: Name) -> Item | None:
        """The item of this name; that is a use of it."""
        with self._lock:
            item = self._live(name)
            if item is not None:
                _step_aside(item.group, item)
                item.group.order.use(item)
            return item

    def peek(self, name: Name) -> Item | None:
        """The item of this name; that is no use of it. Without a lock, unless something was dropped since."""
        item = self._items.get(name)
        if item is None or item.turn == self._turn:
            return item
        with self._lock:
            return self._live(name)

    def put(
        self,
        record: Record,
        lease: float,
        *,
        now: float,
        target: str = "",
        open_ended: bool = False,
        demotes: bool = False,
    ) -> bool:
        """Hold `record` (at `now`, wall s); false where it is too large to be worth its room, or not let in.

        `open_ended` says that anybody can make up such keys: where there is no room they are let in at their
        second request (see `admission`).
        """
        name, size = held_name(record), weight(record)
        group = self._groups.get(target, self._common)
        evicted: list[Record] = []
        with self._lock:
            held = self._items.get(name)
            if held is not None and (held.group is not group or held.demotes is not demotes):
                self._remove(name, held)
                held = None
            if not self._fits(group, size) or (
                held is None and open_ended and not self._admitted(group, name, size, now)
            ):
                if held is not None:
                    self._remove(name, held)
                return False
            record = self._shared.record(record)
            if held is None:
                self._make_room(group, 1, size, now, evicted)
                self._add(name, (_Demotable if demotes else Item)(record, lease, self._turn, group), size)
            else:
                self._replace(name, held, record, lease)
                self._make_room(group, 0, 0, now, evicted)
            kept = name in self._items
        if evicted and self._demote is not None:
            self._demote(evicted)
        return kept

    def renew(self, record: Record, lease: float) -> None:
        """Extend the lease of this very record, if it is still held."""
        with self._lock:
            item = self._items.get(held_name(record))
            if item is not None and item.record is record:
                item.lease = lease

    def grew(self, record: Record, more: int) -> None:
        """Count `more` bytes for this very record, if it is still held."""
        evicted: list[Record] = []
        with self._lock:
            name = held_name(record)
            item = self._items.get(name)
            if item is None or item.record is not record:
                return
            self._grown[name] = self._grown.get(name, 0) + more
            self._weigh(item.group, more)
            self._make_room(item.group, 0, 0, None, evicted)
        if evicted and self._demote is not None:
            self._demote(evicted)

    def discard(self, name: Name) -> None:
        """Let go of the item of this name, if there is one."""
        with self._lock:
            item = self._items.get(name)
            if item is not None:
                self._remove(name, item)

    def drop(self, tags: Collection[str]) -> None:
        """Let go of whatever depends on one of `tags`: it is not found any more, and the sweep removes it.

        The tag of a single key means one entry, which leaves at once.
        """
        with self._lock:
            wide = [tag for tag in tags if not tag.startswith(KEY_TAG)]
            if len(wide) < len(tags):
                for tag in tags:
                    item = self._items.get(tag.removeprefix(KEY_TAG)) if tag.startswith(KEY_TAG) else None
                    if item is not None:
                        self._remove(held_name(item.record), item)
            if not wide:
                return
            self._turn += 1
            for tag in wide:
                self._dropped[tag] = self._turn
                self._dropped.move_to_end(tag)
            while len(self._dropped) > self._noted:
                self._floor = self._dropped.popitem(last=False)[1]

    def linger(self, seconds: float) -> None:
        """Do not sweep entries before so long after their end (s): they may answer for loads that fail."""
        self._grace = max(self._grace, seconds)

    def sweep(self, now: float, most: int = STEP) -> int:
        """Look at the next `most` items and remove what has expired (wall s) or was dropped; how many that were.

        Group by group, each to its end; items that nobody reads come before those that are read all the time.
        """
        with self._lock:
            removed = 0
            for _ in self._all:
                group = self._all[self._swept % len(self._all)]
                looked = min(most, group.left or group.count)
                removed += self._sweep(group, now, looked)
                most -= looked
                if group.left > 0:
                    break
                self._swept += 1
            return removed

    def shrink(self, limit: int) -> int:
        """Let items leave, in the order of eviction, until at most `limit` bytes are held; how many left."""
        evicted: list[Record] = []
        with self._lock:
            before = len(self._items)
            while self._bytes > limit and self._evict(max(self._all, key=_bytes), evicted):
                pass
            left = before - len(self._items)
        if evicted and self._demote is not None:
            self._demote(evicted)
        return left

    def _live(self, name: Name) -> Item | None:
        item = self._items.get(name)
        if item is not None and item.turn != self._turn and self._is_dropped(item):
            self._remove(name, item)
            return None
        return item

    def _is_dropped(self, item: Item) -> bool:
        turn, dropped, tokens = item.turn, self._dropped, item.record.tokens
        if turn < self._floor:
            return True
        if not dropped.keys().isdisjoint(tokens) and any(dropped.get(tag, 0) > turn for tag in tokens):
            return True
        item.turn = self._turn
        return False

    def _fits(self, group: _Group, size: int) -> bool:
        largest = min(self._bounds.bytes, group.bounds.bytes) // _LARGEST_SHARE
        return size <= largest and min(self._bounds.items, group.bounds.items) >= 1

    def _admitted(self, group: _Group, name: Name, size: int, now: float) -> bool:
        if self._doorkeeper is None or not isinstance(name, str) or not self._full(group, 1, size):
            return True
        self._sweep(group, now, _LOOKED_AT)
        if not self._full(group, 1, size) or self._doorkeeper.admits(name):
            return True
        self._stats.turned_away()
        return False

    def _full(self, group: _Group, items: int, size: int) -> bool:
        return self._over(items, size) or (group is not self._common and _over(group, items, size))

    def _over(self, items: int, size: int) -> bool:
        return len(self._items) + items > self._bounds.items or self._bytes + size > self._bounds.bytes

    def _make_room(
        self, group: _Group, items: int, size: int, now: float | None, evicted: list[Record]
    ) -> None:
        """Let items leave until so many more, of so many bytes, have room in the group and in the whole."""
        if now is not None and self._full(group, items, size):
            self._sweep(group, now, _LOOKED_AT)
        while group is not self._common and _over(group, items, size) and self._evict(group, evicted):
            pass
        while self._over(items, size) and self._evict(max(self._all, key=_bytes), evicted):
            pass

    def _evict(self, group: _Group, evicted: list[Record]) -> bool:
        item = group.order.following(None)
        if not isinstance(item, Item):
            return False
        _step_aside(group, item)
        group.order.pop()
        self._forget(held_name(item.record), item)
        self._stats.evicted()
        if item.demotes:
            evicted.append(item.record)
        return True

    def _sweep(self, group: _Group, now: float, looked: int) -> int:
        expired = dropped = 0
        following, before = group.order.following, now - self._grace
        for _ in range(looked):
            if group.hand is None or group.left <= 0:
                group.hand, group.left = following(None), group.count
            item = group.hand
            if not isinstance(item, Item):
                break
            group.hand = following(item)
            group.left -= 1
            if has_ended(item.record, before):
                self._remove(held_name(item.record), item)
                expired += 1
            elif item.turn != self._turn and self._is_dropped(item):
                self._remove(held_name(item.record), item)
                dropped += 1
        if expired:
            self._stats.expired(expired)
        return expired + dropped

    def _add(self, name: Name, item: Item, size: int) -> None:
        self._items[name] = item
        item.group.order.add(item, end_of(item.record))
        item.group.count += 1
        self._weigh(item.group, size)

    def _replace(self, name: Name, item: Item, record: Record, lease: float) -> None:
        _step_aside(item.group, item)
        more = weight(record) - weight(item.record) - self._grown.pop(name, 0)
        item.record = record  # before its lease: no reader may see an old record under a new lease
        item.lease = lease
        item.turn = self._turn
        item.group.order.again(item, end_of(record))
        self._weigh(item.group, more)

    def _weigh(self, group: _Group, more: int) -> None:
        group.bytes += more
        self._bytes += more

    def _remove(self, name: Name, item: Item) -> None:
        _step_aside(item.group, item)
        item.group.order.remove(item)
        self._forget(name, item)

    def _forget(self, name: Name, item: Item) -> None:
        del self._items[name]
        item.group.count -= 1
        self._weigh(item.group, -weight(item.record) - self._grown.pop(name, 0))


def _over(group: _Group, items: int, size: int) -> bool:
    return group.count + items > group.bounds.items or group.bytes + size > group.bounds.bytes


def _bytes(group: _Group) -> int:
    return group.bytes


def _step_aside(group: _Group, item: Item) -> None:
    """Where the sweep would go on with this very item, let it go on with the one after it."""
    if group.hand is item:
        group.hand = group.order.following(item)
