"""Who leaves first: the four orders of eviction, each exact, each step in constant or logarithmic time.

`lru`   the least recently used. `fifo` the one that came first; reads do not matter.
`lfu`   the least frequently used, among equals the least recently used. It ages: whoever comes begins one above
        the rank of the last one that left, so what was popular once is overtaken after as many evictions as it
        had uses (after LFU with dynamic aging: Arlitt, Cherkasova, Dilley, Friedrich, Jin, 2000).
`ttl`   the soonest to expire (C68): what has expired already goes first, what never expires goes last, among
        equals the one that came first.

An order keeps its items in lists that run through the items themselves: no second table, and a walk over all of
them can stop after any item and go on later.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, assert_never

from cachewright.runtime.settings import Eviction


class Node:
    """What an order keeps. `before`, `after` and `place` are the order's own, and unset where they mean nothing.

    `place` is a bucket where uses are counted, an index where ends are.
    """

    __slots__ = ("after", "before", "place")

    before: Node
    after: Node
    place: Any


class Order(Protocol):
    """An order of eviction."""

    def add(self, node: Node, end: float | None) -> None:
        """Take in `node`, which expires at `end` (s), None for never."""

    def use(self, node: Node) -> None:
        """`node` was read."""

    def again(self, node: Node, end: float | None) -> None:
        """What `node` holds was replaced: a use where uses count, else as if it had just come."""

    def remove(self, node: Node) -> None:
        """`node` has left for another reason."""

    def pop(self) -> Node | None:
        """Let the next one leave; None where there is none."""

    def following(self, node: Node | None) -> Node | None:
        """The one after `node` on a walk over all, the first one after None; None at the end."""


def order_of(policy: Eviction) -> Order:
    """An empty order of this kind."""
    match policy:
        case "lru":
            return Queue(reads_matter=True)
        case "fifo":
            return Queue(reads_matter=False)
        case "lfu":
            return Frequency()
        case "ttl":
            return Soonest()
        case other:
            assert_never(other)


def _ring(node: Node) -> Node:
    """`node` as the beginning and the end of an empty list."""
    node.before = node.after = node
    return node


def _unlink(node: Node) -> None:
    before, after = node.before, node.after
    before.after, after.before = after, before
    del node.before, node.after  # what has left must not hold itself, nor others


def _insert(node: Node, before: Node) -> None:
    node.before, node.after = before, before.after
    before.after.before = node
    before.after = node


class Queue:
    """First in, first out; where reads matter, a read puts an item at the end again."""

    def __init__(self, *, reads_matter: bool) -> None:
        self._end = _ring(Node())
        self._reads_matter = reads_matter

    def add(self, node: Node, _end: float | None) -> None:
        """See `Order`."""
        _insert(node, self._end.before)

    def use(self, node: Node) -> None:
        """See `Order`."""
        if self._reads_matter:
            before, after, end = node.before, node.after, self._end
            before.after, after.before = after, before
            node.before, node.after = end.before, end
            end.before.after = node
            end.before = node

    def again(self, node: Node, _end: float | None) -> None:
        """See `Order`."""
        _unlink(node)
        _insert(node, self._end.before)

    def remove(self, node: Node) -> None:
        """See `Order`."""
        _unlink(node)

    def pop(self) -> Node | None:
        """See `Order`."""
        first = self._end.after
        if first is self._end:
            return None
        _unlink(first)
        return first

    def following(self, node: Node | None) -> Node | None:
        """See `Order`."""
        found = (self._end if node is None else node).after
        return None if found is self._end else found


class _Bucket(Node):
    """The items of one rank, least recently used first. A link in the list of buckets itself."""

    __slots__ = ("items", "rank")

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.items = _ring(Node())


class Frequency:
    """A list of buckets in ascending rank: every step touches neighbours only."""

    def __init__(self) -> None:
        self._buckets = _Bucket(0)
        _ring(self._buckets)
        self._age = 0

    def add(self, node: Node, _end: float | None) -> None:
        """See `Order`."""
        lowest = self._buckets.after
        at_age = isinstance(lowest, _Bucket) and lowest is not self._buckets and lowest.rank == self._age
        self._put(node, self._age + 1, lowest if at_age else self._buckets)

    def use(self, node: Node) -> None:
        """See `Order`."""
        bucket: _Bucket = node.place
        _unlink(node)
        self._put(node, bucket.rank + 1, bucket)
        if bucket.items.after is bucket.items:
            _unlink(bucket)

    def again(self, node: Node, _end: float | None) -> None:
        """See `Order`."""
        self.use(node)

    def remove(self, node: Node) -> None:
        """See `Order`."""
        bucket: _Bucket = node.place
        _unlink(node)
        del node.place
        if bucket.items.after is bucket.items:
            _unlink(bucket)

    def pop(self) -> Node | None:
        """See `Order`."""
        lowest = self._buckets.after
        if not isinstance(lowest, _Bucket) or lowest is self._buckets:
            return None
        self._age = lowest.rank
        first = lowest.items.after
        self.remove(first)
        return first

    def following(self, node: Node | None) -> Node | None:
        """See `Order`."""
        bucket: _Bucket = self._buckets if node is None else node.place
        found = bucket.items.after if node is None else node.after
        if found is not bucket.items:
            return found
        higher = bucket.after
        return higher.items.after if isinstance(higher, _Bucket) and higher is not self._buckets else None

    def _put(self, node: Node, rank: int, below: Node) -> None:
        """Into the bucket of this rank, which is the one after `below` or is made there."""
        bucket = below.after
        if not isinstance(bucket, _Bucket) or bucket is self._buckets or bucket.rank != rank:
            bucket = _Bucket(rank)
            _insert(bucket, below)
        _insert(node, bucket.items.before)
        node.place = bucket


class Soonest:
    """A binary heap by end and arrival; an item knows its index, so that any of them can leave."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._keys: list[tuple[float, int]] = []
        self._came = 0

    def add(self, node: Node, end: float | None) -> None:
        """See `Order`."""
        self._came += 1
        self._nodes.append(node)
        self._keys.append((math.inf if end is None else end, self._came))
        self._up(len(self._nodes) - 1)

    def use(self, node: Node) -> None:
        """See `Order`."""

    def again(self, node: Node, end: float | None) -> None:
        """See `Order`."""
        self.remove(node)
        self.add(node, end)

    def remove(self, node: Node) -> None:
        """See `Order`."""
        at: int = node.place
        last, key = self._nodes.pop(), self._keys.pop()
        del node.place
        if last is node:
            return
        self._set(at, last, key)
        self._down(at)
        self._up(at)

    def pop(self) -> Node | None:
        """See `Order`."""
        if not self._nodes:
            return None
        first = self._nodes[0]
        self.remove(first)
        return first

    def following(self, node: Node | None) -> Node | None:
        """See `Order`."""
        at = 0 if node is None else node.place + 1
        return self._nodes[at] if at < len(self._nodes) else None

    def _set(self, at: int, node: Node, key: tuple[float, int]) -> None:
        self._nodes[at], self._keys[at] = node, key
        node.place = at

    def _up(self, at: int) -> None:
        node, key = self._nodes[at], self._keys[at]
        while at:
            parent = (at - 1) >> 1
            if self._keys[parent] <= key:
                break
            self._set(at, self._nodes[parent], self._keys[parent])
            at = parent
        self._set(at, node, key)

    def _down(self, at: int) -> None:
        node, key = self._nodes[at], self._keys[at]
        while (child := 2 * at + 1) < len(self._nodes):
            if child + 1 < len(self._nodes) and self._keys[child + 1] < self._keys[child]:
                child += 1
            if key <= self._keys[child]:
                break
            self._set(at, self._nodes[child], self._keys[child])
            at = child
        self._set(at, node, key)
