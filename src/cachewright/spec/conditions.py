"""The small closed language of `bypass_when` and `skip_condition`: no eval, no calls, no surprises (C53).

`query.due == 'overdue'`, `query.due in ['overdue', 'today']`, `header.x-debug present`, joined by `and`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Operator = Literal["==", "!=", "in", "present", "absent"]

_CLAUSE = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w.\-]*)\s+(?:(?P<state>present|absent)|(?P<op>==|!=|in)\s+(?P<value>.+?))\s*\Z"
)
_STRING = re.compile(r"\s*(?:'([^']*)'|\"([^\"]*)\"|(-?\d+|true|false|null))\s*\Z")
ALLOWED = (
    "write NAME == 'value', NAME != 'value', NAME in ['a', 'b'], NAME present or NAME absent, joined by and"
)


class ConditionError(ValueError):
    """A condition outside the language; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison; values are compared as texts, an absent value is None."""

    name: str
    operator: Operator
    values: tuple[str | None, ...] = ()

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds for these values."""
        value = values.get(self.name)
        text = None if value is None else str(value)
        match self.operator:
            case "present":
                return text is not None
            case "absent":
                return text is None
            case "!=":
                return text not in self.values
        return text in self.values


@dataclass(frozen=True, slots=True)
class Condition:
    """All of its clauses must hold."""

    source: str
    clauses: tuple[Clause, ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse a condition. Raises `ConditionError`."""
        return cls(text, tuple(_clause(part) for part in re.split(r"\s+and\s+", text.strip())))

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds for these values, named as in key patterns (`query.due`, `header.x-debug`)."""
        return all(clause.holds(values) for clause in self.clauses)


def _clause(text: str) -> Clause:
    found = _CLAUSE.match(text)
    if not found:
        raise ConditionError(f"{text!r} is no condition: {ALLOWED}")
    if found["state"] == "present":
        return Clause(found["name"], "present")
    if found["state"] == "absent":
        return Clause(found["name"], "absent")
    value = found["value"]
    match found["op"]:
        case "in":
            if not (value.startswith("[") and value.endswith("]")):
                raise ConditionError(f"{text!r}: a list is written ['a', 'b']")
            return Clause(found["name"], "in", tuple(_literal(item) for item in value[1:-1].split(",")))
        case "==":
            return Clause(found["name"], "==", (_literal(value),))
    return Clause(found["name"], "!=", (_literal(value),))


def _literal(text: str) -> str | None:
    found = _STRING.match(text)
    if not found:
        raise ConditionError(f"{text.strip()!r} is no constant: quote it, as in 'overdue'")
    bare = found[3]
    if bare is not None:
        return None if bare == "null" else bare
    return found[1] if found[1] is not None else found[2]
