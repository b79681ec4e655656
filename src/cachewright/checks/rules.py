"""All rules in one place, and the function that applies them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cachewright.checks.findings import Finding, Problem, Severity
from cachewright.checks.fit import not_executed, unknown_endpoint
from cachewright.checks.freshness import (
    never_filled,
    time_dependent,
    too_many_tags,
    uncovered_read,
    unusual_ttl,
)
from cachewright.checks.keys import (
    colliding_keys,
    mixed_separators,
    parameter_missing_from_key,
    scope_without_its_id,
    unknown_field,
    unreadable_pattern,
)
from cachewright.checks.safety import (
    public_with_credentials,
    scope_without_identity,
    secret_in_the_file,
    sensitive_target,
)
from cachewright.checks.subject import AppRoute, Subject, subject_of
from cachewright.evidence.trace import Trace
from cachewright.spec.document import Document


@dataclass(frozen=True, slots=True)
class Rule:
    """A code with the function that looks for it; the function's docstring is the rule's documentation."""

    code: str
    severity: Severity
    look: Callable[[Subject], Iterator[Problem]]

    @property
    def name(self) -> str:
        """The rule's name in words."""
        return self.look.__name__.replace("_", " ")


RULES: tuple[Rule, ...] = (
    Rule("CW000", "error", unreadable_pattern),
    Rule("CW001", "error", scope_without_its_id),
    Rule("CW002", "error", public_with_credentials),
    Rule("CW003", "error", sensitive_target),
    Rule("CW004", "error", uncovered_read),
    Rule("CW005", "error", colliding_keys),
    Rule("CW006", "error", mixed_separators),
    Rule("CW007", "error", unknown_field),
    Rule("CW008", "error", parameter_missing_from_key),
    Rule("CW009", "info", unusual_ttl),
    Rule("CW010", "warning", too_many_tags),
    Rule("CW011", "error", unknown_endpoint),
    Rule("CW012", "error", time_dependent),
    Rule("CW013", "info", not_executed),
    Rule("CW014", "error", secret_in_the_file),
    Rule("CW015", "error", scope_without_identity),
    Rule("CW016", "warning", never_filled),
)


def check(
    document: Document, *, trace: Trace | None = None, app_routes: Iterable[AppRoute] | None = None
) -> list[Finding]:
    """Apply every rule to `document`, in the order of the file.

    `trace` and `app_routes` (see `capture.routes.walk`) let more rules look closer. Raises
    `NotEnoughEvidenceError` for a trace without requests.
    """
    subject = subject_of(document, trace=trace, app_routes=app_routes)
    found = [_finding(document, rule, problem) for rule in RULES for problem in rule.look(subject)]
    return sorted(
        found, key=lambda finding: (finding.line or 0, finding.column or 0, finding.code, finding.message)
    )


def _finding(document: Document, rule: Rule, problem: Problem) -> Finding:
    line, column = document.position(problem.path) or (None, None)
    return Finding(rule.code, problem.severity or rule.severity, problem.path, line, column, problem.message)
