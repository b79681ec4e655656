"""`cachewright explain`: what a code means, and why a target is as it is."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cachewright.cli.options import AsJson

if TYPE_CHECKING:
    from cachewright.design.result import Design
    from cachewright.spec.document import Document

EXAMPLE = 'cachewright explain "GET /api/tasks" --spec caching.yaml --trace traffic.trace'

_CODE = re.compile(r"(?i)CWE?[0-9]{3}")


def explain(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SUBJECT", help="A code (CW012, CWE301), or a target of --spec.", show_default=False
        ),
    ],
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec", help="The specification of the target.", metavar="FILE", exists=True, dir_okay=False
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="The recording it was designed from, for the evidence.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a check or an error means, or why a target is cached as it is, or is not."""
    from cachewright.cli.output import show, write_json

    if _CODE.fullmatch(subject):
        document = meaning(subject.upper())
    elif spec is None:
        raise typer.BadParameter("a target needs --spec FILE; a code looks like CW012", param_hint="SUBJECT")
    else:
        document = reasons(subject, spec, trace)
    if as_json:
        write_json(document)
    else:
        show(*lines(document))


def meaning(code: str) -> dict[str, Any]:
    """What a check or an error is. Raises `typer.BadParameter` for a code that there is not."""
    known = {**_errors(), **_checks()}
    if code not in known:
        near = difflib.get_close_matches(code, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise typer.BadParameter(f"there is no {code}{hint}", param_hint="SUBJECT")
    return known[code]


def _checks() -> dict[str, dict[str, Any]]:
    from cachewright.checks.rules import RULES

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
    from cachewright import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {
        kind.code: {"code": kind.code, "name": kind.__name__, "text": inspect.getdoc(kind)}
        for kind in kinds
        if issubclass(kind, errors.CachewrightError)
    }


def reasons(subject: str, spec: Path, trace: Path | None) -> dict[str, Any]:
    """How a target is cached, and with a trace the evidence; or why an endpoint is not a target.

    Raises `typer.BadParameter` for what is neither in the specification nor in the trace.
    """
    from cachewright.cli.designing import designed
    from cachewright.evidence.tracereader import read_trace
    from cachewright.spec.document import load_spec

    loaded = load_spec(spec)
    found = (
        None if trace is None else designed(read_trace(trace), now=datetime.fromtimestamp(0, UTC))
    )  # a time that nothing shown depends on
    document = {"subject": subject, **_as_specified(loaded, subject), **_as_seen(found, subject)}
    if len(document) == 1:
        targets = ", ".join(target.subject for target in loaded.spec.cache_targets) or "none"
        more = "" if trace else "; --trace FILE tells why others were refused"
        raise typer.BadParameter(f"{subject!r} is no target; there are {targets}{more}", param_hint="SUBJECT")
    return document


def _as_specified(loaded: Document, subject: str) -> dict[str, Any]:
    from cachewright.spec.target import compile_plan

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


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The explanation as lines of text."""
    if "code" in document:
        severity = f" ({document['severity']})" if "severity" in document else ""
        yield f"{document['code']}: {document['name']}{severity}"
        yield ""
        yield document["text"]
        return
    yield document["subject"]
    for name, value in document.items():
        if name not in ("subject", "decisions", "not_cached", "findings") and value not in (None, []):
            yield f"  {name}: {', '.join(value) if isinstance(value, list) else value}"
    for refused in document.get("not_cached", ()):
        yield f"  not cached: {refused['code']}: {refused['reason']}"
    for decision in document.get("decisions", ()):
        yield f"  {decision['choice']}: {decision['reason']} ({', '.join(decision['because'])})"
    for finding in document.get("findings", ()):
        yield f"  {finding['id']} {finding['code']}: {finding['text']}"
