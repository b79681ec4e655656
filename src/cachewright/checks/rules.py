"""All rules in one place, and the function that applies them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from cachewright.checks.clock import clock_in_query, ttl_past_change
from cachewright.checks.findings import Finding, Problem, Severity
from cachewright.checks.fit import not_executed, unknown_endpoint, unknown_table
from cachewright.checks.freshness import (
    never_filled,
    time_dependent,
    too_many_tags,
    uncovered_read,
    unusual_ttl,
)
from cachewright.checks.ignoring import malformed_ignore, unused_ignore
from cachewright.checks.invalidating import cascade_cycle, dead_invalidation, write_without_invalidation
from cachewright.checks.keys import (
    colliding_keys,
    mixed_separators,
    parameter_missing_from_key,
    scope_without_its_id,
    unknown_field,
    unreadable_pattern,
)
from cachewright.checks.limits import (
    alert_never_fires,
    contradictory_eviction,
    contradictory_levels,
)
from cachewright.checks.safety import (
    object_decides,
    public_with_credentials,
    scope_without_identity,
    secret_in_the_file,
    sensitive_target,
)
from cachewright.checks.scopes import (
    edge_without_identity,
    id_missing_under_isolation,
    secret_in_answers,
    undeclared_scope,
)
from cachewright.checks.shapes import ambiguous_pattern, keys_across_slots, unbounded_keys
from cachewright.checks.subject import Known, Subject, subject_of
from cachewright.checks.warming import warming_without_loader
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
    Rule("CW017", "error", id_missing_under_isolation),
    Rule("CW018", "warning", undeclared_scope),
    Rule("CW019", "error", secret_in_answers),
    Rule("CW020", "warning", write_without_invalidation),
    Rule("CW021", "warning", dead_invalidation),
    Rule("CW022", "error", cascade_cycle),
    Rule("CW023", "error", ambiguous_pattern),
    Rule("CW024", "warning", clock_in_query),
    Rule("CW025", "warning", ttl_past_change),
    Rule("CW026", "warning", contradictory_eviction),
    Rule("CW027", "warning", keys_across_slots),
    Rule("CW028", "error", contradictory_levels),
    Rule("CW029", "warning", alert_never_fires),
    Rule("CW030", "warning", warming_without_loader),
    Rule("CW031", "error", unknown_table),
    Rule("CW032", "warning", unbounded_keys),
    Rule("CW033", "error", edge_without_identity),
    Rule("CW034", "warning", malformed_ignore),
    Rule("CW035", "warning", unused_ignore),
    Rule("CW036", "error", object_decides),
)


def check(document: Document, *, trace: Trace | None = None, known: Known | None = None) -> list[Finding]:
    """Apply every rule to `document`, in the order of the file, without what its comments silence.

    `trace` and what is `known` of the application let more rules look closer. Raises `NotEnoughEvidenceError`
    for a trace without requests.
    """
    subject = subject_of(document, trace=trace, known=known)
    found: list[Finding] = []
    for rule in RULES:
        looked_at = replace(subject, found=tuple(found))
        found += [_finding(document, rule, problem) for problem in rule.look(looked_at)]
    loud = [
        finding
        for finding in found
        if not any(i.silences(finding.code, finding.line) for i in subject.ignores)
    ]
    return sorted(
        loud, key=lambda finding: (finding.line or 0, finding.column or 0, finding.code, finding.message)
    )


def _finding(document: Document, rule: Rule, problem: Problem) -> Finding:
    line, column = problem.place or document.position(problem.path) or (None, None)
    severity = problem.severity or rule.severity
    return Finding(rule.code, severity, problem.path, line, column, problem.message, problem.fix)
