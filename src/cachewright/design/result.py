"""What a design is: the specification, and everything that has to be said beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cachewright.analysis.findings import Figure, Finding
from cachewright.spec.model import CachingSpecification


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice with its reason; `because` names the findings behind it."""

    subject: str
    choice: str
    reason: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotCached:
    """An endpoint that must not be cached: a stable `code`, and the reason in a sentence with its figures."""

    endpoint: str
    code: str
    reason: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Design:
    """The specification with its reasons.

    `hit_rates` are the forecast of each target, from 0 to 1; `shapes` its curves, as plain data.
    """

    spec: CachingSpecification
    decisions: tuple[Decision, ...] = ()
    assumptions: tuple[str, ...] = ()
    clarifications_needed: tuple[str, ...] = ()
    not_cached: tuple[NotCached, ...] = ()
    warnings: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    hit_rates: Mapping[str, float] = field(default_factory=dict)
    shapes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def invalidation_map(self) -> dict[str, list[dict[str, str]]]:
        """The targets that a write to each table ends, with the tags they hold."""
        found: dict[str, list[dict[str, str]]] = {}
        for target in self.spec.cache_targets:
            for tag in target.depends_on:
                found.setdefault(tag.partition("(")[0], []).append({"target": target.subject, "tag": tag})
        return dict(sorted(found.items()))

    def to_json(self) -> dict[str, Any]:
        """All that is said beside the specification, as plain data."""
        return {
            "decisions": [
                {"subject": d.subject, "choice": d.choice, "reason": d.reason, "because": list(d.because)}
                for d in self.decisions
            ],
            "assumptions": list(self.assumptions),
            "clarifications_needed": list(self.clarifications_needed),
            "not_cached": [
                {
                    "endpoint": n.endpoint,
                    "code": n.code,
                    "reason": n.reason,
                    "figures": dict(n.figures),
                    "because": list(n.because),
                }
                for n in self.not_cached
            ],
            "warnings": list(self.warnings),
            "sources": list(self.sources),
            "findings": [
                {
                    "id": f.id,
                    "code": f.code,
                    "subject": f.subject,
                    "text": f.text,
                    "figures": dict(f.figures),
                }
                for f in self.findings
            ],
            "hit_rates": dict(self.hit_rates),
            "shapes": dict(self.shapes),
            "invalidation_map": self.invalidation_map,
        }
