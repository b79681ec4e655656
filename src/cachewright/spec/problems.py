"""What is wrong with a specification, in words: where it stands, what was expected, what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cachewright.spec.model import ROOT, CachingSpecification
from cachewright.spec.section import EXTENSION_PREFIX, Path, Section

_EXPECTED = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text",
    "float_type": "a number",
    "finite_number": "a finite number",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "timezone_aware": "a time with a zone, such as 2026-01-31T12:00:00Z",
    "datetime_type": "a time in ISO 8601, such as 2026-01-31T12:00:00Z",
    "datetime_parsing": "a time in ISO 8601, such as 2026-01-31T12:00:00Z",
    "datetime_from_date_parsing": "a time in ISO 8601, such as 2026-01-31T12:00:00Z",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong at `path`."""

    path: Path
    message: str
    hint: str | None = None


def problems_of(
    error: ValidationError, root: type[Section] = CachingSpecification, name: str = ROOT
) -> list[Problem]:
    """All problems that pydantic found in a `root`, in words; `name` is what the whole is called."""
    words = _Words(root, name)
    found = error.errors(include_url=False)
    parents = {details["loc"][:-1] for details in found}
    return [
        words.problem(details)
        for details in found
        if not (details["type"] == "too_short" and details["loc"] in parents)  # its items are to blame
    ]


def spelt(path: Path, root: str = ROOT) -> str:
    """`path` as people write it: `cache_targets[0].scope`; the `root`'s name where it is empty."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or root


def did_you_mean(word: str, choices: Sequence[str]) -> str | None:
    """A question that offers the nearest of `choices`, where one is near."""
    near = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else None


def choices_of(details: ErrorDetails) -> list[str]:
    """The allowed values of a `literal_error`."""
    return re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))


_KEYS = "write lines such as `namespace: todo` below it, indented"


@dataclass(frozen=True, slots=True)
class _Words:
    """Says what is wrong with a `root`, which is called `name`."""

    root: type[Section]
    name: str

    def problem(self, details: ErrorDetails) -> Problem:  # noqa: PLR0911 - one line for each kind of error
        """One error of pydantic's, in words."""
        path: Path = tuple(details["loc"])
        context: Mapping[str, Any] = details.get("ctx", {})
        match details["type"]:
            case "extra_forbidden":
                return self._unknown_key(path)
            case "missing":
                return Problem(
                    path[:-1], f"`{path[-1]}` is missing in {self._spelt(path[:-1])}", self._description(path)
                )
            case "literal_error":
                return self._not_allowed(path, details)
            case "rejected":
                where = (*path, *context["at"])
                hint = context["hint"] or self._description(where)
                return Problem(where, f"{self._spelt(where)}: {context['message']}", hint)
            case "value_error":
                return Problem(path, f"{self._spelt(path)}: {context['error']}", self._description(path))
            case "too_short" | "string_too_short":
                return Problem(path, f"{self._spelt(path)} must not be empty", self._description(path))
            case kind if kind in _EXPECTED:
                found = _found(details["input"])
                return Problem(
                    path,
                    f"{self._spelt(path)}: expected {_EXPECTED[kind]}, found {found}",
                    self._description(path) or _KEYS,
                )
            case _:
                return self._out_of_range(path, details)

    def _unknown_key(self, path: Path) -> Problem:
        section = self._section_at(path[:-1])
        known = [] if section is None else list(section.model_fields)
        allowed = f"allowed: {', '.join(known)}; keys of your own begin with `{EXTENSION_PREFIX}`"
        meant = did_you_mean(str(path[-1]), known)
        hint = f"{meant} {allowed}" if meant else allowed
        return Problem(path, f"unknown key `{path[-1]}` in {self._spelt(path[:-1])}", hint)

    def _not_allowed(self, path: Path, details: ErrorDetails) -> Problem:
        choices = choices_of(details)
        value = details["input"]
        allowed = ", ".join(choices) or str(details.get("ctx", {}).get("expected"))
        shown = repr(value) if isinstance(value, (str, int, float, bool)) else _found(value)
        meant = did_you_mean(value, choices) if isinstance(value, str) else None
        example = f"for example `{path[-1]}: {choices[0]}`" if choices and isinstance(path[-1], str) else None
        return Problem(path, f"{self._spelt(path)} is {shown}; allowed: {allowed}", meant or example)

    def _out_of_range(self, path: Path, details: ErrorDetails) -> Problem:
        value = details["input"]
        shown = f", found {value}" if isinstance(value, (int, float)) else ""
        hint = self._description(path)
        if details.get("ctx", {}).get("le") == 1 and isinstance(value, (int, float)):
            hint = f"a share is written from 0 to 1: {value:g} % is {value / 100:g}"
        message = details["msg"].replace("Input should be", "must be")
        return Problem(path, f"{self._spelt(path)}: {message}{shown}", hint)

    def _section_at(self, path: Path) -> type[Section] | None:
        section: type[Section] | None = self.root
        for part in path:
            if isinstance(part, int):
                continue
            field = None if section is None else section.model_fields.get(part)
            section = None if field is None else _section_in(field.annotation)
        return section

    def _description(self, path: Path) -> str | None:
        name = next((part for part in reversed(path) if isinstance(part, str)), None)
        at = len(path) - 1 - path[::-1].index(name) if name is not None else 0
        section = self._section_at(path[:at])
        field = section.model_fields.get(name) if section is not None and name is not None else None
        return field.description if field is not None else None

    def _spelt(self, path: Path) -> str:
        return spelt(path, self.name)


def _found(value: object) -> str:
    """The kind of `value`; never the value, which may be anything."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return "a text"
        case Mapping():
            return "a mapping"
        case _:
            return "a list"


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part)) is not None), None)
