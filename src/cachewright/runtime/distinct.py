"""How many different keys one principal uses in a minute: the bound that holds when ids are made up."""

from __future__ import annotations

import threading
from collections.abc import Hashable

_TOTAL = 200_000


class DistinctKeys:
    """Counts distinct keys by principal in windows of one minute. Safe in any thread.

    Past `limit` keys of a principal, further ones are refused until the minute ends. At most 200 000 keys are
    remembered in all; past that the others are let through, since memory is bounded elsewhere too.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._minute = 0
        self._total = 0
        self._keys: dict[Hashable, set[int]] = {}

    def admits(self, who: Hashable, key: str, now: float) -> bool:
        """Whether `who` may use `key` at `now` (s)."""
        minute, mark = int(now // 60), hash(key)
        with self._lock:
            if minute != self._minute:
                self._minute, self._total = minute, 0
                self._keys.clear()
            own = self._keys.setdefault(who, set()) if self._total < _TOTAL else self._keys.get(who, set())
            if mark in own:
                return True
            if len(own) >= self._limit:
                return False
            if self._total < _TOTAL:
                own.add(mark)
                self._total += 1
            return True
