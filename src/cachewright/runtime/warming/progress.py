"""How far a warming has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "running", "done", "failed"]
_NAMED = 10


@dataclass(slots=True)
class Progress:
    """What a job had to load, has loaded and could not; begin and end in wall seconds.

    A job has failed when less than `threshold` of it was loaded (C49): the application goes on without.
    """

    job: str
    threshold: float
    total: int = 0
    done: int = 0
    failed: int = 0
    began: float | None = None
    ended: float | None = None
    problems: list[str] = field(default_factory=list)

    def loaded(self, problem: str | None) -> None:
        """One load is over; `problem` says why it was none."""
        if problem is None:
            self.done += 1
            return
        self.failed += 1
        if len(self.problems) < _NAMED and problem not in self.problems:
            self.problems.append(problem)

    @property
    def state(self) -> State:
        """Where it stands."""
        if self.began is None:
            return "waiting"
        if self.ended is None:
            return "running"
        return "done" if self.total == 0 or self.done / self.total >= self.threshold else "failed"

    def as_dict(self, now: float) -> dict[str, Any]:
        """A form that JSON can hold; `rate` is loads a second, `eta_seconds` what is left at that rate."""
        over = self.done + self.failed
        seconds = None if self.began is None else (self.ended or now) - self.began
        rate = over / seconds if seconds else None
        running = self.state == "running"
        return {
            "job": self.job,
            "state": self.state,
            "total": self.total,
            "done": self.done,
            "failed": self.failed,
            "began": self.began,
            "ended": self.ended,
            "rate": rate,
            "eta_seconds": (self.total - over) / rate if running and rate else None,
            "problems": list(self.problems),
        }
