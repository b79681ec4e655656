"""Whether loading ahead pays: a budget by the minute, and a rest where what is loaded is not asked for."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Protocol

from cachewright.spec.semantics import takes_part

#: How long (s) loading ahead rests that does not pay, before it is tried again.
REST_SECONDS = 600.0
#: With fewer loads nothing is decided; after so many the past is forgotten.
_LEAST_LOADS, _MOST_LOADS = 50, 1000
#: A load that nobody asked for in this time (s) was for nothing.
_PATIENCE = 60.0
_OPEN = 1024
_LEAST_LOOKUPS = 30
_MINUTE = 60.0
_log = logging.getLogger("cachewright")


class Evidence(Protocol):
    """What tells how many hits loads have brought."""

    def loaded(self, key: str, now: float) -> None:
        """A key was loaded ahead."""

    def asked(self, key: str, now: float, *, lookups: int, hits: int) -> None:
        """Users asked for a key so often, and so often it was there."""

    def gained(self, now: float) -> float | None:
        """The hits that loads brought, as well as is known; None where it is not."""

    def most_gained(self, now: float) -> float:
        """The most hits that they can have brought."""

    def clear(self) -> None:
        """Begin anew."""


@dataclass(slots=True)
class Uses:
    """Evidence where every load stands for a miss that would have come: the keys that were asked for again."""

    _open: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _used: int = 0

    def loaded(self, key: str, now: float) -> None:
        """See `Evidence`; the load before, if nobody asked for it, was for nothing."""
        self._open[key] = now
        self._open.move_to_end(key)
        if len(self._open) > _OPEN:
            self._open.popitem(last=False)

    def asked(self, key: str, now: float, *, lookups: int, hits: int) -> None:
        """See `Evidence`."""
        del lookups
        if hits and self._open.pop(key, -math.inf) > now - _PATIENCE:
            self._used += 1

    def gained(self, now: float) -> float | None:
        """See `Evidence`."""
        del now
        return self._used

    def most_gained(self, now: float) -> float:
        """See `Evidence`; what was loaded a moment ago may still be asked for."""
        return self._used + sum(at > now - _PATIENCE for at in self._open.values())

    def clear(self) -> None:
        """See `Evidence`."""
        self._used = 0


@dataclass(slots=True)
class _Group:
    lookups: int = 0
    hits: int = 0

    @property
    def rate(self) -> float:
        return self.hits / self.lookups

    @property
    def variance(self) -> float:
        """That of the rate; never quite nothing, since a group is small."""
        share = (self.hits + 1) / (self.lookups + 2)
        return share * (1 - share) / self.lookups


@dataclass(slots=True)
class Trial:
    """Evidence where a hit might have come anyway: some keys are left alone, and their hit rate is compared.

    Whichever process loads and whichever is asked, the two groups differ in nothing else.
    """

    _tried: _Group = field(default_factory=_Group)
    _left_alone: _Group = field(default_factory=_Group)

    def loaded(self, key: str, now: float) -> None:
        """See `Evidence`."""

    def asked(self, key: str, now: float, *, lookups: int, hits: int) -> None:
        """See `Evidence`."""
        del now
        group = self._tried if tried(key) else self._left_alone
        group.lookups += lookups
        group.hits += hits

    def gained(self, now: float) -> float | None:
        """See `Evidence`."""
        del now
        one, other = self._tried, self._left_alone
        if not one.lookups or other.lookups < _LEAST_LOOKUPS:
            return None
        return max(0.0, one.rate - other.rate) * one.lookups

    def most_gained(self, now: float) -> float:
        """See `Evidence`; two standard errors more than was measured, and no more than there were hits."""
        one, other, most = self._tried, self._left_alone, self.gained(now)
        if most is None:
            return one.hits
        return min(one.hits, most + 2 * math.sqrt(one.variance + other.variance) * one.lookups)

    def clear(self) -> None:
        """See `Evidence`."""
        self._tried, self._left_alone = _Group(), _Group()


#: Of five keys four are loaded ahead; the fifth is left alone, so that it shows what that is good for.
_TRIED_PERCENT = 80


def tried(key: str) -> bool:
    """Whether this key may be predicted: the same in every process."""
    return takes_part(f"ahead {key}", _TRIED_PERCENT)


class Account:
    """Allows at most `per_minute` loads, and none for a while where fewer than `least` hits come of each."""

    def __init__(self, name: str, evidence: Evidence, *, per_minute: int, least: float) -> None:
        self._name = name
        self._evidence = evidence
        self._per_minute = per_minute
        self._least = least
        self._left = float(per_minute)
        self._since: float | None = None
        self._loads = 0
        self._whole = 0
        self._refused = 0
        self._rests_until = -math.inf

    def may(self, now: float) -> bool:
        """Whether one more load is allowed now (s): it is taken from the budget. One that is not is counted."""
        since = now if self._since is None else self._since
        self._left = min(self._per_minute, self._left + (now - since) * self._per_minute / _MINUTE)
        self._since = now
        if now < self._rests_until or self._left < 1:
            self._refused += 1
            return False
        self._left -= 1
        return True

    def spared(self) -> None:
        """A load that was allowed was none: the key was there already, or nobody could ask for it."""
        self._left += 1

    def loaded(self, key: str, now: float) -> None:
        """A load that was allowed has been made."""
        self._loads += 1
        self._whole += 1
        self._evidence.loaded(key, now)
        if self._loads < _LEAST_LOADS:
            return
        if self._evidence.most_gained(now) < self._least * self._loads:
            self._rests_until = now + REST_SECONDS
            _log.info(
                "%s rests for %.0f s: of %d loads fewer than %.0f were worth it",
                self._name,
                REST_SECONDS,
                self._loads,
                self._least * self._loads,
            )
            self._begin_anew()
        elif self._loads >= _MOST_LOADS:
            self._begin_anew()

    def asked(self, key: str, now: float, *, lookups: int, hits: int) -> None:
        """Users asked for a key so often, and so often it was there."""
        self._evidence.asked(key, now, lookups=lookups, hits=hits)

    def as_dict(self, now: float) -> dict[str, Any]:
        """A form that JSON can hold: what it did, and of the `loads` that are judged how many hits they `gained`."""
        return {
            "name": self._name,
            "state": "resting" if now < self._rests_until else "running",
            "total": self._whole,
            "refused": self._refused,
            "loads": self._loads,
            "gained": self._evidence.gained(now),
        }

    def _begin_anew(self) -> None:
        self._loads = 0
        self._evidence.clear()
