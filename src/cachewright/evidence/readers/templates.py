"""Routes of raw paths: matched against what an OpenAPI document declares, else inferred from the paths themselves.

Inferred, a segment is a parameter if it looks like a value (a number, an id, a date, a token, an address), or if
so many others stand in its place that it cannot be a name. Everything else is a name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: In one place at most so many names stand beside each other.
MOST_NAMES = 20
#: Where more stand, one that takes this share of all requests there is a name still (`/users/me`); what
#: comes first in a path more easily than what comes later.
_NAMES_SHARE, _FIRST_SHARE = 0.2, 0.01
_LONGEST_NAME = 40
_VALUE = re.compile(
    r"[+-]?\d[\d.,:_-]*"  # numbers, dates, versions
    r"|[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"  # UUIDs
    r"|[0-9a-f]{16,}"
    r"|(?=[^\d]*\d)(?=.*[A-Za-z])[A-Za-z0-9_=-]{16,}"  # tokens: letters and digits
    r"|[^@\s]+@[^@\s]+"
    r"|[A-Za-z]{1,4}[-_]?\d{2,}",  # ord-1234
    re.IGNORECASE,
)

Match = tuple[str, Mapping[str, str]]
"""A template, and the values of its parameters."""


@dataclass(slots=True)
class _Place:
    """What stood at one depth below one prefix."""

    seen: Counter[str] = field(default_factory=Counter)
    below: dict[str, _Place] = field(default_factory=dict)


class Inferred:
    """The templates of paths, learned from all of them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._root = _Place()
        for path, count in Counter(paths).items():
            place = self._root
            for segment in segments(path):
                name = _PARAMETER if is_value(segment) else segment
                place.seen[name] += count
                place = place.below.setdefault(name, _Place())
        _settle(self._root, _FIRST_SHARE)

    def match(self, path: str) -> Match:
        """The template of a path that was among those learned."""
        place = self._root
        parts: list[str] = []
        values: dict[str, str] = {}
        for segment in segments(path):
            known = segment in place.below and not is_value(segment)
            if known:
                parts.append(segment)
            else:
                name = f"id{len(values) + 1}" if values else "id"
                values[name] = segment
                parts.append(f"{{{name}}}")
            place = place.below.get(segment if known else _PARAMETER, _Place())
        return f"/{'/'.join(parts)}{'/' if path.endswith('/') and parts else ''}", values


_PARAMETER = "{}"


def segments(path: str) -> list[str]:
    """The parts of a path between its slashes."""
    return [segment for segment in path.split("/") if segment]


def is_value(segment: str) -> bool:
    """Whether a text looks like a value, and not like a name that somebody gave."""
    return len(segment) > _LONGEST_NAME or _VALUE.fullmatch(segment) is not None


def _settle(place: _Place, share: float) -> None:
    """Turn names into values where too many stand in one place, from the root downwards."""
    names = [name for name in place.below if name != _PARAMETER]
    if len(names) > MOST_NAMES:
        total = place.seen.total()
        merged = place.below.setdefault(_PARAMETER, _Place())
        for name in names:
            if place.seen[name] < share * total:
                _merge(merged, place.below.pop(name))
                place.seen[_PARAMETER] += place.seen.pop(name)
    for below in place.below.values():
        _settle(below, _NAMES_SHARE)


def _merge(into: _Place, other: _Place) -> None:
    into.seen.update(other.seen)
    for name, below in other.below.items():
        _merge(into.below.setdefault(name, _Place()), below)


class Declared:
    """The templates that an application declares; where several match, the one with a name furthest to the left."""

    def __init__(self, templates: Sequence[str]) -> None:
        self._by_length: dict[int, list[str]] = {}
        for template in sorted(templates, key=lambda each: ["{" in part for part in segments(each)]):
            self._by_length.setdefault(len(segments(template)), []).append(template)

    def match(self, path: str) -> Match | None:
        """The declared template of a path, None where there is none."""
        given = segments(path)
        for template in self._by_length.get(len(given), ()):
            values: dict[str, str] = {}
            for part, segment in zip(segments(template), given, strict=True):
                if part.startswith("{") and part.endswith("}"):
                    values[part[1:-1]] = segment
                elif part != segment:
                    break
            else:
                return template, values
        return None
