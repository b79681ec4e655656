"""Which keys are asked for most, lately: bounded, and forgetful on purpose."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cachewright.runtime.warming.warmer import WarmRequest

#: So many keys are counted; where there are more, those that were asked for most stay.
_MOST, _KEPT = 1024, 256
#: What was asked for so long ago (s) counts half.
_HALF_LIFE = 60.0
_LONGEST_KEY = 512


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """What requests that look alike ask for. `again` asks for it once more, None where only they themselves can."""

    target: str
    key: str
    tags: tuple[str, ...] = ()
    again: WarmRequest | None = None


@dataclass(frozen=True, slots=True)
class Hot:
    """A key, and which share of all lookups went to it lately."""

    visit: Visit
    share: float


class Heat:
    """Counts visits. A count halves once a minute, so that yesterday's favourites cool down."""

    def __init__(self) -> None:
        self._counts: dict[str, float] = {}
        self._visits: dict[str, Visit] = {}
        self._whole = 0.0
        self._cooled: float | None = None

    def asked(self, visit: Visit, now: float, times: int = 1) -> None:
        """So many visits, at `now` (s)."""
        self._cool(now)
        self._whole += times
        key = visit.key
        if len(key) > _LONGEST_KEY:
            return
        self._counts[key] = self._counts.get(key, 0.0) + times
        self._visits[key] = visit
        if len(self._counts) > _MOST:
            self._prune(_KEPT)

    @property
    def lookups(self) -> float:
        """All visits, those of a while ago for less."""
        return self._whole

    def hottest(self, most: int, now: float) -> list[Hot]:
        """The keys that were asked for most, and more than once; the hottest first, equal ones by their names."""
        self._cool(now)
        found = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:most]
        return [Hot(self._visits[key], count / self._whole) for key, count in found if count > 1]

    def _cool(self, now: float) -> None:
        if self._cooled is None:
            self._cooled = now
        halvings = int((now - self._cooled) / _HALF_LIFE)
        if halvings <= 0:
            return
        self._cooled += halvings * _HALF_LIFE
        left = 0.5**halvings
        self._whole *= left
        self._counts = {key: count * left for key, count in self._counts.items() if count * left >= 0.5}
        self._visits = {key: self._visits[key] for key in self._counts}

    def _prune(self, kept: int) -> None:
        hottest = sorted(self._counts, key=self._counts.__getitem__, reverse=True)[:kept]
        self._counts = {key: self._counts[key] for key in hottest}
        self._visits = {key: self._visits[key] for key in hottest}


def touched(hot: Collection[Hot], changed: Collection[str]) -> Iterator[Visit]:
    """The visits among `hot` whose entries may have ended with these tags, and that can be repeated."""
    tags = frozenset(changed)
    for one in hot:
        if one.visit.again is not None and not tags.isdisjoint(one.visit.tags):
            yield one.visit
