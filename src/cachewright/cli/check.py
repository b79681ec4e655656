"""`cachewright check`: what is wrong with a specification, before it runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cachewright.cli.options import AsJson, Spec

if TYPE_CHECKING:
    from cachewright.capture.routes import Route
    from cachewright.checks.findings import Finding

EXAMPLE = "cachewright check caching.yaml --app app.main:app --trace traffic.trace"


def check(
    spec: Spec,
    app: Annotated[
        str | None, typer.Option("--app", help="The application, to look at its routes.", metavar="APP")
    ] = None,
    factory: Annotated[bool, typer.Option("--factory", help="APP is a function that returns it.")] = False,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="A recording, to look at what was seen.", metavar="FILE")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings too.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List what is for information only too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check SPEC: no leak between users, no write without an invalidation, no key with two meanings."""
    from cachewright.checks.rules import check as look
    from cachewright.cli.output import count, say, show, working, write_json
    from cachewright.evidence.tracereader import read_trace
    from cachewright.spec.document import load_spec

    document = load_spec(spec)
    routes = None if app is None else routes_of(app, factory=factory)
    with working("Checking …"):
        seen = None if trace is None else read_trace(trace)
        findings = look(document, trace=seen, app_routes=routes)
    if as_json:
        write_json({"findings": [finding.to_json(str(spec)) for finding in findings]})
    else:
        show(*(line(spec, finding) for finding in findings if everything or finding.severity != "info"))
    for note in document.normalised:
        say(f"{spec}: {note}")
    counts = Counter(finding.severity for finding in findings)
    found = [count(counts[severity], severity) for severity in ("error", "warning") if counts[severity]]
    notes = f"; {count(counts['info'], 'note')} with --all" if counts["info"] and not everything else ""
    say(f"{spec}: {', '.join(found) or 'no errors, no warnings'}{notes}")
    if counts["error"] or (strict and counts["warning"]):
        raise typer.Exit(1)


def line(spec: Path, finding: Finding) -> str:
    """`file:line:column CODE message`, and the severity where it is not an error."""
    place = ":".join(str(part) for part in (spec, finding.line, finding.column) if part is not None)
    mild = "" if finding.severity == "error" else f"({finding.severity}) "
    return f"{place} {finding.code} {mild}{finding.message}"


def routes_of(app: str, *, factory: bool) -> list[Route]:
    """The routes of the application that is named. Raises `ApplicationError`."""
    from cachewright.capture.appimport import import_app, root_of
    from cachewright.capture.routes import walk

    return walk(root_of(import_app(app, factory=factory)))
