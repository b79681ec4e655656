"""What a forecast must reach: `wrong_answers=0,hit_rate>0.6`, read and judged."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import typer

_TERM = re.compile(r"\s*([a-z_0-9.]+)\s*(<=|>=|!=|==|=|<|>)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*")
_JUDGES: Mapping[str, Callable[[float, float], bool]] = {
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
    """One term: a figure's name, a comparison, a number."""

    figure: str
    comparison: str
    number: float

    def __str__(self) -> str:
        return f"{self.figure}{self.comparison}{self.number:g}"

    def is_met(self, figures: Mapping[str, float | None]) -> bool:
        """Whether the figure compares as asked; an unknown figure never does."""
        value = figures[self.figure]
        return value is not None and _JUDGES[self.comparison](value, self.number)


def figures_of(document: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures that stand for the whole of a forecast: `hit_rate`, `database.queries_after` and so on."""
    found: dict[str, float | None] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            found.update({f"{name}.{inner}": number for inner, number in figures_of(value).items()})
        elif value is None or isinstance(value, int | float):
            found[name] = value
    return found


def requirements_of(text: str) -> list[Requirement]:
    """The terms of `text`, separated by commas. Raises `typer.BadParameter` for a term that is none."""
    return [_term(term) for term in text.split(",") if term.strip()]


def check_names(requirements: list[Requirement], figures: Mapping[str, float | None]) -> None:
    """Raises `typer.BadParameter` for a figure that a forecast does not have."""
    for requirement in requirements:
        if requirement.figure not in figures:
            raise typer.BadParameter(
                f"there is no figure {requirement.figure!r}; there are {', '.join(sorted(figures))}",
                param_hint="--require",
            )


def _term(text: str) -> Requirement:
    found = _TERM.fullmatch(text)
    if found is None:
        raise typer.BadParameter(
            f"{text.strip()!r} is no requirement; write them as in wrong_answers=0,hit_rate>0.6",
            param_hint="--require",
        )
    return Requirement(found[1], found[2], float(found[3]))
