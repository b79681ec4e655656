"""What the tools answer, as plain data."""

from __future__ import annotations

import inspect
from collections import Counter
from datetime import datetime
from typing import Any

from cachewright.checks import RULES
from cachewright.checks import check as look
from cachewright.errors import SpecError, UsageError
from cachewright.jobs.designing import designed, revised, scored_by
from cachewright.jobs.explaining import meaning, reasons
from cachewright.jobs.reviewing import review as looked_back
from cachewright.mcp.project import Project
from cachewright.simulator.requirements import parse_requirements, unmet
from cachewright.spec.document import dumps_spec

#: What a design says beyond its choices; asked for with `full`.
_AT_LENGTH = ("findings", "hit_rates")
_REQUEST = """\
skill: backend-caching
inputs:
  cache_targets:
  - {endpoint: GET /api/tasks, query_frequency: 100 req/min, avg_query_time_ms: 80}"""


def design(
    project: Project, *, trace: str | None, request: str | None, specs: str | None, namespace: str | None,
    now: datetime, full: bool,
) -> dict[str, Any]:  # fmt: skip
    """The specification as YAML, and all that has to be said beside it."""
    if trace is None and request is None and specs is None:
        raise UsageError(
            "there is nothing to design from",
            hint=f"give `trace`, `specs`, or `request`, such as\n{_REQUEST}",
        )
    wanted = None if request is None and specs is None else project.request(request, specs)
    found = designed(project.trace(trace), now=now, namespace=namespace, wanted=wanted)
    beside = {name: value for name, value in found.to_json().items() if full or name not in _AT_LENGTH}
    return {"specification": dumps_spec(found.spec), **beside}


def revise(
    project: Project,
    standing: str,
    *,
    trace: str | None,
    request: str | None,
    specs: str | None,
    now: datetime,
) -> dict[str, Any]:
    """The changed specification as YAML, what changes for users, and all that has to be said beside it."""
    if trace is not None or (request is None and specs is None):
        raise UsageError(
            "`standing` is changed by `request` or `specs`, not by a recording",
            hint=f"for example `request`:\n{_REQUEST}",
        )
    found = revised(project.spec(standing), project.request(request, specs), now=now)
    beside = {name: value for name, value in found.design.to_json().items() if name not in _AT_LENGTH}
    return {"specification": found.text, "comments_kept": found.kept, **found.difference.to_json(), **beside}


def check(project: Project, spec: str, *, trace: str | None, openapi: str | None) -> dict[str, Any]:
    """All findings; one that cannot be read is a finding too, so that it can be corrected."""
    try:
        document = project.spec(spec)
    except SpecError as error:
        unreadable = {
            "code": error.code,
            "severity": "error",
            "line": error.line,
            "column": error.column,
            "message": f"{error.detail} ({error.hint})" if error.hint else error.detail,
        }
        return {"errors": 1, "warnings": 0, "findings": [unreadable], "normalised": []}
    findings = look(document, trace=project.trace(trace), known=project.known(openapi))
    counts = Counter(finding.severity for finding in findings)
    return {
        "errors": counts["error"],
        "warnings": counts["warning"],
        "findings": [finding.to_json(document.path) for finding in findings],
        "normalised": list(document.normalised),
    }


def explain(project: Project, subject: str, *, spec: str | None, trace: str | None) -> dict[str, Any]:
    """What a code means, or why a target is as it is."""
    if subject.upper().startswith("CW") and " " not in subject and "/" not in subject:
        return meaning(subject.upper())
    if spec is None:
        raise UsageError("a target needs `spec`", hint="a code looks like CW012")
    return reasons(subject, project.spec(spec), None if trace is None else project.path(trace))


def simulate(project: Project, spec: str, *, trace: str, require: str | None) -> dict[str, Any]:
    """The forecast, and which requirements it does not reach."""
    wanted = parse_requirements(require) if require else ()
    document, seen = project.spec(spec), project.trace(trace)
    assert seen is not None
    outcome = scored_by(seen)(document.spec).to_json()
    return {**outcome, "not_reached": [str(term) for term in unmet(wanted, outcome)]}


def review(project: Project, spec: str, *, trace: str | None, live: bool, now: datetime) -> dict[str, Any]:
    """What was measured, what a newer recording forecasts, and what to change."""
    if trace is None and not live:
        raise UsageError("there is nothing to compare with", hint="give `trace`, or `live: true`, or both")
    stats = project.ask("stats") if live else None
    return looked_back(project.spec(spec), stats=stats, trace=project.trace(trace), now=now)


def checks_page() -> str:
    """Every check with its documentation (Markdown)."""
    parts = [f"# {rule.code}: {rule.name} ({rule.severity})\n\n{inspect.getdoc(rule.look)}" for rule in RULES]
    return "\n\n".join(parts) + "\n"
