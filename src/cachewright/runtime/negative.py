"""How much of what is stored may say that there is nothing."""

from __future__ import annotations

from collections import deque


class NegativeShare:
    """Of the last `window` fills at most `share` may be negative; a few always may.

    Whoever asks for keys that do not exist would otherwise push out those that do.
    """

    def __init__(self, *, share: float = 0.25, window: int = 1000, few: int = 100) -> None:
        self._most = max(few, int(share * window))
        self._recent: deque[bool] = deque(maxlen=window)
        self._count = 0

    def admits(self, *, negative: bool) -> bool:
        """Whether a fill may be made; one that may is counted."""
        if negative and self._count >= self._most:
            return False
        if len(self._recent) == self._recent.maxlen:
            self._count -= self._recent[0]
        self._recent.append(negative)
        self._count += negative
        return True
