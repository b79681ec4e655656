"""Members of JSON answers that differ each time: those that are declared, and those that show themselves.

A member shows itself where it had another value in every pair of identical requests a moment apart with no write
between, and looks like a moment or an identifier. A counter, or data that another program writes, does not.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cachewright.capture.routes import Route
from cachewright.evidence.showing import is_private

#: A route and a method of it.
Place = tuple[Route, str]
#: Bodies above this many bytes are not looked into.
LONGEST_BODY = 64 * 1024
#: Two requests with less than this (ns) between them are a moment apart.
MOMENT = 5_000_000_000
#: Pairs after which a member is believed to be volatile; and after which a route without one is left alone.
ENOUGH = 5
_SETTLED = 20
_MOST_MEMBERS = 4
_ANSWERS_HELD = 128
_MOST_VALUES = 5_000

_SHOWS_ITSELF = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*\s?(?:Z|[+-]\d\d:?\d\d)?\Z"  # a moment
    r"|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\Z"  # a UUID
    r"|[0-9a-fA-F]{16,64}\Z"  # a random number
    r"|[0-7][0-9A-HJKMNP-TV-Z]{25}\Z"  # a ULID
)
#: A place whose names are those of members, not data that somebody used as names.
_MEMBER = re.compile(r"\$(?:(?:\[\])*\.[A-Za-z_][A-Za-z0-9_-]{0,63}){1,4}\Z")
#: Seconds and milliseconds since the epoch, from 2001 to 2096.
_EPOCHS = ((1e9, 4e9), (1e12, 4e12))


def without(body: bytes, members: frozenset[str]) -> bytes | None:
    """A JSON body without these members; None where it is no JSON.

    `generated_at` is a member at any depth, `$.meta.generated_at` or `$.items[].seen_at` the one in that place.
    """
    try:
        document = json.loads(body)
        return json.dumps(_stripped(document, members, "$"), separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return None


def _stripped(value: Any, members: frozenset[str], place: str) -> Any:
    match value:
        case dict():
            return {
                name: _stripped(item, members, f"{place}.{name}")
                for name, item in value.items()
                if name not in members and f"{place}.{name}" not in members
            }
        case list():
            return [_stripped(item, members, f"{place}[]") for item in value]
    return value


def volatile_members(one: bytes, other: bytes) -> frozenset[str]:
    """The places of members that differ between two JSON bodies and show themselves wherever they do."""
    try:
        found = list(_differences(json.loads(one), json.loads(other)))
    except (ValueError, RecursionError, _UnlikeError):
        return frozenset()
    differing = {place for place, _ in found} - {place for place, volatile in found if not volatile}
    return frozenset(place for place in differing if _MEMBER.match(place) and not is_private(f"body.{place}"))


class _UnlikeError(Exception):
    """Two bodies of different shape, or too large to be compared."""


def _differences(one: Any, other: Any) -> Iterator[tuple[str, bool]]:
    """The place of each value that differs, and whether both values show themselves."""
    waiting = [("$", one, other)]
    seen = 0
    while waiting:
        place, before, after = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES:
            raise _UnlikeError
        match before, after:
            case dict(), dict():
                if before.keys() != after.keys():
                    raise _UnlikeError
                waiting += [(f"{place}.{name}", before[name], after[name]) for name in before]
            case list(), list():
                if len(before) != len(after):
                    raise _UnlikeError
                waiting += [(f"{place}[]", *items) for items in zip(before, after, strict=True)]
            case dict() | list(), _:
                raise _UnlikeError
            case _ if before != after:
                yield place, _shows_itself(before) and _shows_itself(after)


def _shows_itself(value: Any) -> bool:
    match value:
        case str():
            return _SHOWS_ITSELF.match(value) is not None
        case bool():
            return False
        case int() | float():
            return any(low <= value < high for low, high in _EPOCHS)
    return False


@dataclass(slots=True)
class Members:
    """What the pairs of one route have shown: in how many of them each member differed.

    `left_out` are the members that digests have left out at any time, `told` what was told of them in files that
    are full.
    """

    pairs: int = 0
    differed: dict[str, int] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    told: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def volatile(self) -> frozenset[str]:
        """The members to leave out: those that differed in all of enough pairs."""
        if self.pairs < ENOUGH:
            return frozenset()
        found = [name for name, times in self.differed.items() if times == self.pairs]
        return frozenset(found if len(found) <= _MOST_MEMBERS else ())

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be learned: nothing is volatile, or no longer."""
        return self.pairs >= _SETTLED and not self.volatile

    def saw(self, members: frozenset[str]) -> None:
        """Count one pair. Members that once did not differ never will be volatile."""
        if not self.pairs:
            self.differed = dict.fromkeys(members, 0)
        self.pairs += 1
        for name in members & self.differed.keys():
            self.differed[name] += 1
        self.left_out |= self.volatile

    def news(self) -> Iterator[tuple[str, int, int]]:
        """Members that are or were left out, with the pairs and differences that no full file tells."""
        for name in sorted(self.left_out):
            pairs, differed = self.told.get(name, (0, 0))
            yield name, self.pairs - pairs, self.differed[name] - differed

    def forget(self) -> None:
        """What was told stands in a file that is full; from here on only what comes is told."""
        for name in self.left_out:
            self.told[name] = (self.pairs, self.differed[name])


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to compare the next one with; times are monotonic ns."""

    started: int
    returned: int
    body: bytes


class Volatility:
    """Learns the volatile members of routes from consecutive answers, a bounded number of them in memory."""

    def __init__(self) -> None:
        self.routes: dict[Place, Members] = {}
        self._last: OrderedDict[Hashable, Answer] = OrderedDict()

    def wants(self, place: Place) -> bool:
        """Whether the bodies of this route's answers may tell something."""
        members = self.routes.get(place)
        return members is None or not members.settled

    def members(self, place: Place) -> frozenset[str]:
        """The members that digests of this route leave out."""
        members = self.routes.get(place)
        return frozenset() if members is None else members.volatile

    def saw(self, place: Place, key: Hashable, answer: Answer, *, written: int) -> None:
        """Compare with the answer before to the same `key`; `written` is when anything was written last (ns)."""
        before = self._last.pop(key, None)
        self._last[key] = answer
        if len(self._last) > _ANSWERS_HELD:
            self._last.popitem(last=False)
        if before is None or not written < before.started:
            return
        if before.returned <= answer.started <= before.returned + MOMENT:
            same = before.body == answer.body
            members = frozenset() if same else volatile_members(before.body, answer.body)
            self.routes.setdefault(place, Members()).saw(members)
