"""What the analyses say, as numbered statements that a decision can point to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Figure = int | float | str


@dataclass(frozen=True, slots=True)
class Observation:
    """A finding without its number: what was seen (`code`), of what (`subject`, such as `GET /api/tasks`)."""

    code: str
    subject: str
    text: str
    figures: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of evidence; `id` is stable for one trace.

    `F001`, `F002`, … by subject and order of analysis.
    """

    id: str
    code: str
    subject: str
    text: str
    figures: Mapping[str, Figure] = field(default_factory=dict)


def numbered(observations: Iterable[Observation]) -> tuple[Finding, ...]:
    """The findings, numbered in the order given; equal ones once."""
    seen: dict[tuple[str, str, str], Observation] = {}
    for item in observations:
        seen.setdefault((item.subject, item.code, item.text), item)
    return tuple(
        Finding(f"F{number:03d}", item.code, item.subject, item.text, item.figures)
        for number, item in enumerate(seen.values(), start=1)
    )
