"""Other choices for a plan: `ttl=60,size=64MB` is the same plan with that life for all entries and that room."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from cachewright.errors import RequirementError
from cachewright.spec.rates import parse_interval
from cachewright.spec.target import Plan

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg])?i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_EXAMPLE = "write ttl=SECONDS, size=BYTES or both, as in ttl=60,size=64MB"


@dataclass(frozen=True, slots=True)
class Option:
    """One option as it was written, with the life of entries in seconds and the room in bytes."""

    text: str
    life: float | None = None
    room: int | None = None

    def plan(self, plan: Plan) -> Plan:
        """`plan` with this life for every target, within what its staleness allows."""
        if self.life is None:
            return plan
        targets = {
            place: replace(
                target, policy=replace(target.policy, ttl=min(self.life, target.max_staleness or self.life))
            )
            for place, target in plan.targets.items()
        }
        return replace(plan, targets=targets)


def parse_option(text: str) -> Option:
    """Read one option. Raises `RequirementError`."""
    found = Option(text)
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        size = _SIZE.fullmatch(value)
        if name == "ttl" and equals:
            try:
                found = replace(found, life=parse_interval(value))
            except ValueError as error:
                raise RequirementError(str(error), hint=_EXAMPLE) from None
        elif name == "size" and size and float(size[1]) > 0:
            found = replace(found, room=int(float(size[1]) * _UNITS[(size[2] or "").lower()]))
        else:
            raise RequirementError(f"{part.strip()!r} is no option", hint=_EXAMPLE)
    return found
