"""One thing that differs between two specifications, and how dangerous that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Risk = Literal["high", "medium", "low", "none"]
RISKS: tuple[Risk, ...] = ("high", "medium", "low", "none")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: how dangerous, of what, from what to what, and what users notice of it."""

    risk: Risk
    subject: str
    what: str
    before: Any
    after: Any
    effect: str

    def to_json(self) -> dict[str, Any]:
        """The change by its public names."""
        names = ("risk", "subject", "what", "before", "after", "effect")
        return {name: getattr(self, name) for name in names}
