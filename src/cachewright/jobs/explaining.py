"""What a code means, and why a target is as it is."""

from __future__ import annotations

import difflib
import inspect
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cachewright import errors
from cachewright.checks.rules import RULES
from cachewright.design.result import Design
from cachewright.errors import UsageError
from cachewright.evidence.tracereader import read_trace
from cachewright.jobs.designing import designed
from cachewright.spec.document import Document, load_spec
from cachewright.spec.target import compile_plan


def meaning(code: str) -> dict[str, Any]:
    """What a check or an error is. Raises `UsageError` for a code that there is not."""
    known = {**_errors(), **_checks()}
    if code not in known:
        near = difflib.get_close_matches(code, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"there is no {code}{hint}", hint="codes look like CW012 or CWE301")
    return known[code]


def _checks() -> dict[str, dict[str, Any]]:
    return {
        rule.code: {
            "code": rule.code,
            "name": rule.name,
            "severity": rule.severity,
            "text": inspect.getdoc(rule.look),
        }
        for rule in RULES
    }


def _errors() -> dict[str, dict[str, Any]]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {
        kind.code: {"code": kind.code, "name": kind.__name__, "text": inspect.getdoc(kind)}
        for kind in kinds
        if issubclass(kind, errors.CachewrightError)
    }


def reasons(subject: str, spec: Path | Document, trace: Path | None) -> dict[str, Any]:
    """How a target is cached, and with a trace the evidence; or why an endpoint is not a target.

    Raises `UsageError` for what is neither in the specification nor in the trace.
    """
    loaded = load_spec(spec) if isinstance(spec, Path) else spec
    found = (
        None if trace is None else designed(read_trace(trace), now=datetime.fromtimestamp(0, UTC))
    )  # a time that nothing shown depends on
    document = {"subject": subject, **_as_specified(loaded, subject), **_as_seen(found, subject)}
    if len(document) == 1:
        targets = ", ".join(target.subject for target in loaded.spec.cache_targets) or "none"
        more = "" if trace else "; --trace FILE tells why others were refused"
        raise UsageError(f"{subject!r} is no target; there are {targets}{more}")
    return document


def _as_specified(loaded: Document, subject: str) -> dict[str, Any]:
    for target in compile_plan(loaded).targets.values():
        if subject in (target.name, f"{target.method} {target.template}", target.template):
            return {
                "scope": target.scope.value,
                "key": target.key.source,
                "depends_on": [str(tag) for tag in target.depends_on],
                "ttl_seconds": target.policy.ttl,
                "levels": list(target.levels),
                "mode": target.policy.mode,
                "problem": target.problem,
            }
    return {}


def _as_seen(found: Design | None, subject: str) -> dict[str, Any]:
    if found is None:
        return {}
    seen: dict[str, Any] = {}
    if subject in found.hit_rates:
        seen["hit_rate"] = found.hit_rates[subject]
    decisions = [d for d in found.to_json()["decisions"] if d["subject"] == subject]
    refused = [n for n in found.to_json()["not_cached"] if n["endpoint"] == subject]
    findings = [f for f in found.to_json()["findings"] if f["subject"] == subject]
    groups = {"decisions": decisions, "not_cached": refused, "findings": findings}
    return seen | {name: items for name, items in groups.items() if items}
