"""Plain data from a file as one of the models, with the place of whatever is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from cachewright.errors import SpecError
from cachewright.spec.model import ROOT
from cachewright.spec.problems import Problem, choices_of, problems_of, spelt
from cachewright.spec.section import Path, Section
from cachewright.spec.source import Position

S = TypeVar("S", bound=Section)

_NAMES = {"CachingSpecification": ROOT}


def validated(root: type[S], data: Any, positions: Mapping[Path, Position], name: str) -> tuple[S, list[str]]:
    """`data` as a `root`, read from the file `name`, and notes on what was respelt. Raises `SpecError`."""
    respelt: list[str] = []
    called = _NAMES.get(root.__name__, root.__name__.lower())
    try:
        return _validated(root, data, positions, respelt), respelt
    except ValidationError as error:
        raise _spec_error(problems_of(error, root, called), positions, name) from None


def _validated(root: type[S], data: Any, positions: Mapping[Path, Position], respelt: list[str]) -> S:
    """Validate; respell an enum's value that is only written differently (`LRU`, `user-specific`)."""
    try:
        return root.model_validate(data)
    except ValidationError as error:
        changed = False
        for details in error.errors(include_url=False):
            path: Path = tuple(details["loc"])
            value = details["input"]
            if details["type"] != "literal_error" or not isinstance(value, str):
                continue
            lower = value.strip().lower()
            fitting = [word for word in (lower, lower.replace("-", "_")) if word in choices_of(details)]
            if fitting:
                _replace(data, path, fitting[0])
                line = (nearest(positions, path) or (0, 0))[0]
                respelt.append(f"line {line}: {spelt(path)} is {value!r}; read as {fitting[0]}")
                changed = True
        if not changed:
            raise
    return root.model_validate(data)


def _replace(data: Any, path: Path, value: str) -> None:
    """Set `value` at `path`; a text where a list is allowed stands at the index 0 of nothing."""
    for part in path[:-1]:
        if isinstance(data[part], str):
            data[part] = value
            return
        data = data[part]
    data[path[-1]] = value


def nearest(positions: Mapping[Path, Position], path: Path) -> Position | None:
    """The place of `path`, or of the nearest thing around it that has one."""
    for length in range(len(path), -1, -1):
        if (found := positions.get(path[:length])) is not None:
            return found
    return None


def _spec_error(problems: list[Problem], positions: Mapping[Path, Position], name: str) -> SpecError:
    """The first problem in the order of the document; the hint tells how many more there are."""
    placed = sorted(
        ((nearest(positions, problem.path) or (1, 1), problem) for problem in problems),
        key=lambda pair: pair[0],
    )
    (line, column), first = placed[0]
    others = len(placed) - 1
    more = f"({others} more problem{'s' if others > 1 else ''} in this file)" if others else None
    hint = " ".join(part for part in (first.hint, more) if part) or None
    return SpecError(first.message, path=name, line=line, column=column, hint=hint)
