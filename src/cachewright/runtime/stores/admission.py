"""Who may come in where there is no room: keys that anybody can invent must have been asked for before.

A key with a free query parameter in it can be made up without end. Where letting such a key in would push
another out, it is let in at its second request; the first is only remembered, in two bitmaps of which the older
is forgotten whenever the newer has taken as many keys as the store has places. One in 128 is let in at once:
whatever fills the bitmaps, or guesses what collides in them, cannot shut the others out (as in Caffeine). The
hash is keyed by a secret of the process, so that collisions cannot be worked out beforehand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

#: The share of unknown keys that are let in all the same.
LUCK = 1 / 128
#: With two bits a key among sixteen, one unknown key in fifty at most is taken for a known one.
_BITS_A_KEY = 16
_FEWEST = 1024
_MOST = 1 << 20


class Doorkeeper:
    """Remembers who was turned away: the last `room` keys at least, twice as many at most.

    `seed` keys the hash; `dice` gives numbers in [0, 1).
    """

    def __init__(self, room: int, *, seed: bytes, dice: Callable[[], float]) -> None:
        self._room = min(max(room, _FEWEST), _MOST)
        self._bits = 1 << (self._room * _BITS_A_KEY - 1).bit_length()
        self._seed = seed
        self._dice = dice
        self._new = bytearray(self._bits // 8)
        self._old = bytearray(self._bits // 8)
        self._noted = 0

    def admits(self, name: str) -> bool:
        """Whether this key may push another out; if not, it may the next time."""
        digest = hashlib.blake2b(
            name.encode("utf-8", "surrogatepass"), key=self._seed, digest_size=8
        ).digest()
        number = int.from_bytes(digest, "big")
        places = (number % self._bits, (number >> 32) % self._bits)
        if _holds(self._new, places) or _holds(self._old, places):
            return True
        if self._noted >= self._room:
            self._old, self._new = self._new, bytearray(self._bits // 8)
            self._noted = 0
        self._noted += 1
        for place in places:
            self._new[place >> 3] |= 1 << (place & 7)
        return self._dice() < LUCK


def _holds(bitmap: bytearray, places: tuple[int, int]) -> bool:
    return all(bitmap[place >> 3] & (1 << (place & 7)) for place in places)
