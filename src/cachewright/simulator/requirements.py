"""What a forecast must reach: `wrong_answers=0,hit_rate>0.6`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachewright.errors import RequirementError

_TERM = re.compile(r"\s*([a-z][a-z_0-9.]*)\s*(<=|>=|!=|==|=|<|>)\s*(-?\d+(?:\.\d+)?)\s*\Z")
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: a figure of the whole forecast, a comparison, a number."""

    figure: str
    comparison: str
    number: float

    def __str__(self) -> str:
        return f"{self.figure}{self.comparison}{self.number:g}"


@dataclass(frozen=True, slots=True)
class Unmet:
    """A requirement that was missed, with what was found instead; None where the figure is unknown."""

    requirement: Requirement
    found: float | None

    def __str__(self) -> str:
        value = "unknown" if self.found is None else f"{self.found:g}"
        return f"{self.requirement} was required, {self.requirement.figure} is {value}"


def parse_requirements(text: str) -> tuple[Requirement, ...]:
    """Read terms that commas separate. Raises `RequirementError`."""
    found = []
    for term in text.split(","):
        match = _TERM.match(term)
        if match is None:
            raise RequirementError(
                f"{term.strip()!r} is no requirement",
                hint="write FIGURE, one of = != < <= > >=, and a number, as in wrong_answers=0,hit_rate>0.6",
            )
        found.append(Requirement(match[1], match[2], float(match[3])))
    return tuple(found)


def unmet(requirements: Sequence[Requirement], figures: Mapping[str, Any]) -> tuple[Unmet, ...]:
    """Those that `figures` (an outcome's `to_json()`) misses; an unknown figure meets nothing.

    Raises `RequirementError` for a figure that does not exist; `database.queries_after` reaches inside.
    """
    known = dict(_numbers(figures, ""))
    missed = []
    for requirement in requirements:
        if requirement.figure not in known:
            raise RequirementError(
                f"a forecast has no figure {requirement.figure!r}",
                hint=f"there are {', '.join(sorted(known))}",
            )
        value = known[requirement.figure]
        if value is None or not _COMPARISONS[requirement.comparison](value, requirement.number):
            missed.append(Unmet(requirement, value))
    return tuple(missed)


def _numbers(figures: Mapping[str, Any], prefix: str) -> list[tuple[str, float | None]]:
    found: list[tuple[str, float | None]] = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, (int, float)):
            found.append((f"{prefix}{name}", value))
    return found
