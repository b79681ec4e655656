"""Static rules with codes: what is wrong with a specification, before it runs."""

from cachewright.checks.findings import Finding, Severity
from cachewright.checks.rules import RULES, Rule, check
from cachewright.checks.subject import Known

__all__ = ["RULES", "Finding", "Known", "Rule", "Severity", "check"]
