"""Faults for a replay: `redis-down=60s` takes the shared store away for a minute in the middle of the recording."""

from __future__ import annotations

from dataclasses import dataclass

from cachewright.errors import RequirementError
from cachewright.evidence.trace import Trace
from cachewright.simulator.fleet import Outage
from cachewright.spec.rates import parse_interval

_SECOND = 1_000_000_000
_REDIS_DOWN = "redis-down"
_EXAMPLE = (
    f"write {_REDIS_DOWN}=60s, or {_REDIS_DOWN}=60s@5m for one that begins 5 minutes into the recording"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """The shared store is away for `lasts` seconds from `begins` after the first request; None: in the middle."""

    lasts: float
    begins: float | None = None

    def outage(self, trace: Trace) -> Outage:
        """When that is in this recording, as far as it lies within."""
        first = min((request.started for request in trace.requests), default=0)
        last = max((request.returned for request in trace.requests), default=0)
        begins = (last - first) / _SECOND / 2 - self.lasts / 2 if self.begins is None else self.begins
        begin = first + int(max(0.0, begins) * _SECOND)
        return Outage(begin, begin + int(self.lasts * _SECOND))


def parse_fault(text: str) -> Fault:
    """Read one fault. Raises `RequirementError`."""
    name, equals, value = (piece.strip() for piece in text.partition("="))
    lasts, at, begins = (piece.strip() for piece in value.partition("@"))
    if name != _REDIS_DOWN or not equals:
        raise RequirementError(f"{text.strip()!r} is no fault", hint=_EXAMPLE)
    try:
        return Fault(parse_interval(lasts), _offset(begins) if at else None)
    except ValueError as error:
        raise RequirementError(str(error), hint=_EXAMPLE) from None


def _offset(text: str) -> float:
    return 0.0 if text in ("0", "0s") else parse_interval(text)
