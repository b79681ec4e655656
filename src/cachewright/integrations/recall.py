"""What requests that look alike were bound to, remembered.

Two requests look alike where all that binding may read of them is the same, byte for byte. They are told apart by a
keyed digest: nothing that a request says of its sender is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from cachewright.spec.identity import is_carrier

T = TypeVar("T")

_DIGEST = 16
_MOST_NAMES = 512
#: Headers that decide whether and how a request is looked up, whatever the specification says.
_READ = frozenset(
    {
        "authorization", "cookie", "host", "range", "content-length", "transfer-encoding",
        "if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range",
    }
)  # fmt: skip

_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode


class Likeness:
    """Tells which requests look alike.

    `names` are the headers that the specification reads, in lower case; `carriers` gives what security schemes
    read (`header:x-key`). A header counts unless it is known to be read by nothing.
    """

    def __init__(
        self, secret: bytes, names: Collection[str], carriers: Callable[[], Collection[str]]
    ) -> None:
        self._keyed = hashlib.blake2b(key=secret[:64], digest_size=_DIGEST)
        self._names = _READ | frozenset(names)
        self._carriers = carriers
        self._unread: frozenset[bytes] = frozenset()

    def of(self, scope: Mapping[str, Any]) -> bytes | None:
        """The digest of a request (the scope as it came), None where it cannot be told."""
        headers = scope["headers"]
        if not isinstance(headers, (list, tuple)):
            return None
        unread = self._unread
        facts = (
            scope["method"],
            scope["path"],
            scope.get("query_string", b""),
            scope.get("root_path", ""),
            scope.get("scheme", "http"),
            [pair for pair in headers if pair[0] not in unread],
        )
        try:
            packed = _encode(facts)
        except (TypeError, ValueError):  # no text, or no Unicode
            return None
        digest = self._keyed.copy()
        digest.update(packed)
        return digest.digest()

    def learn(self, scope: Mapping[str, Any]) -> None:
        """Find out which headers of a request are read by nothing. So many names are remembered, no more."""
        names = {name for name, _ in scope["headers"] if isinstance(name, bytes)} - self._unread
        unread = frozenset(name for name in names if not self._counts(name))
        if len(self._unread) + len(unread) <= _MOST_NAMES:
            self._unread |= unread

    def forget(self) -> None:
        """The carriers may be others now."""
        self._unread = frozenset()

    def _counts(self, header: bytes) -> bool:
        name = header.decode("latin-1").lower()
        return name in self._names or is_carrier(name) or f"header:{name}" in self._carriers()


class Generations(Generic[T]):
    """A bounded mapping that forgets what was not asked for lately: half of it at a time.

    It holds at most `items` of at most `limit` bytes together. A hit is one look into a dictionary, without a lock
    and without moving anything; exact order of use would cost more than it saves. Safe to call from any thread: a
    race loses an item or counts one twice.
    """

    def __init__(self, *, items: int, limit: int) -> None:
        self._items = items // 2
        self._limit = limit // 2
        self._young: dict[bytes, tuple[T, int]] = {}
        self._old: dict[bytes, tuple[T, int]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: bytes) -> T | None:
        """What is held under `key`."""
        found = self._young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: bytes, value: T, size: int) -> None:
        """Hold `value`, which takes `size` bytes."""
        if size > self._limit:
            return
        if len(self._young) >= self._items or self._bytes + size > self._limit:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[key] = (value, size)
        self._bytes += size

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old, self._bytes = {}, {}, 0
