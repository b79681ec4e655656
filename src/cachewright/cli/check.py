"""`cachewright check`: what is wrong with a specification, before it runs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cachewright.cli.options import AsJson, Spec
from cachewright.errors import SpecError

if TYPE_CHECKING:
    from cachewright.checks import Finding, Known
    from cachewright.spec.document import Document

EXAMPLE = "cachewright check caching.yaml --app app.main:app --trace traffic.trace"

Format = Literal["text", "json", "sarif", "github"]


def check(
    spec: Spec,
    app: Annotated[
        str | None, typer.Option("--app", help="The application, to look at its routes.", metavar="APP")
    ] = None,
    factory: Annotated[bool, typer.Option("--factory", help="APP is a function that returns it.")] = False,
    openapi: Annotated[
        Path | None,
        typer.Option("--openapi", help="An OpenAPI document, JSON or YAML, instead.", metavar="FILE"),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="A recording, to look at what was seen.", metavar="FILE")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Write the fixes that are safe into SPEC; comments stay.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings too.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List what is for information only too.")] = False,
    output: Annotated[
        Format, typer.Option("--format", help="How to write findings: text, json, sarif (2.1.0), github.")
    ] = "text",
    as_json: AsJson = False,
) -> None:
    """Check SPEC: no leak between users, no write without an invalidation, no key with two meanings."""
    from cachewright.checks import check as look
    from cachewright.checks.fixing import fixed
    from cachewright.cli.output import count, say, working, write_text
    from cachewright.evidence.tracereader import read_trace
    from cachewright.spec.document import load_spec

    wanted: Format = "json" if as_json else output
    try:
        document = load_spec(spec)
    except SpecError as error:
        _write_unreadable(wanted, spec, error)
        raise
    known = known_of(app, factory=factory, openapi=openapi)
    with working("Checking …"):
        seen = None if trace is None else read_trace(trace)
        if fix:
            result = fixed(document, trace=seen, known=known)
            document = result.document
            if result.count:
                write_text(spec, document.text)
            say(f"{spec}: {count(result.count, 'change')} made")
        findings = look(document, trace=seen, known=known)
    _write(wanted, spec, [f for f in findings if everything or wanted == "json" or f.severity != "info"])
    _summarise(spec, document, findings, everything=everything)
    counts = Counter(finding.severity for finding in findings)
    if counts["error"] or (strict and counts["warning"]):
        raise typer.Exit(1)


def _write_unreadable(wanted: Format, spec: Path, error: SpecError) -> None:
    """A specification that cannot be read is a finding for programs that read findings."""
    from cachewright.checks import Finding

    if wanted != "text":
        _write(wanted, spec, [Finding(error.code, "error", (), error.line, error.column, error.detail)])


def _write(wanted: Format, spec: Path, findings: Sequence[Finding]) -> None:
    from cachewright.cli.output import show, write_json

    match wanted:
        case "text":
            show(*(line(spec, finding) for finding in findings))
        case "json":
            write_json({"findings": [finding.to_json(str(spec)) for finding in findings]})
        case "sarif":
            from importlib.metadata import version

            from cachewright.checks.formats import sarif

            write_json(sarif(findings, str(spec), version("cachewright")))
        case "github":
            from cachewright.checks.formats import github

            show(*(github(finding, str(spec)) for finding in findings))


def _summarise(spec: Path, document: Document, findings: Sequence[Finding], *, everything: bool) -> None:
    from cachewright.cli.output import count, say

    for note in document.normalised:
        say(f"{spec}: {note}")
    counts = Counter(finding.severity for finding in findings)
    found = [count(counts[severity], severity) for severity in ("error", "warning") if counts[severity]]
    notes = f"; {count(counts['info'], 'note')} with --all" if counts["info"] and not everything else ""
    say(f"{spec}: {', '.join(found) or 'no errors, no warnings'}{notes}")
    if any(finding.fix is not None for finding in findings):
        fixable = sum(finding.fix is not None for finding in findings)
        say(f"{spec}: --fix ends {fixable} of them")


def line(spec: Path | str, finding: Finding) -> str:
    """`file:line:column CODE message`, and the severity where it is not an error."""
    place = ":".join(str(part) for part in (spec, finding.line, finding.column) if part is not None)
    mild = "" if finding.severity == "error" else f"({finding.severity}) "
    return f"{place} {finding.code} {mild}{finding.message}"


def known_of(app: str | None, *, factory: bool, openapi: Path | None) -> Known:
    """What the application that is named, and an OpenAPI document, tell. Raises `ApplicationError`."""
    from cachewright.checks import Known
    from cachewright.checks.openapi import api_routes

    described = None if openapi is None else api_routes(_read_document(openapi))
    if app is None:
        return Known(api=described)
    from cachewright.capture.appimport import import_app, root_of
    from cachewright.capture.routes import walk

    root = root_of(import_app(app, factory=factory))
    if described is None and callable(describe := getattr(root, "openapi", None)):
        described = api_routes(_described(describe))
    return Known(routes=walk(root), api=described, tables=_declared_tables())


def _described(describe: Callable[[], Any]) -> dict[str, Any]:
    """The application's own OpenAPI document, with paths as its router has them; empty where it cannot be made."""
    try:
        return {**describe(), "servers": []}
    except Exception:  # noqa: BLE001 - a model that has no JSON Schema must not end the check
        return {"paths": {}}


def _declared_tables() -> dict[str, tuple[str, ...]] | None:
    """The tables of the application, where it maps any."""
    if "sqlalchemy.orm" not in sys.modules:
        return None
    from cachewright.capture.metadata import declared_tables

    return declared_tables().columns or None


def _read_document(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    from cachewright.errors import UsageError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{path}: not JSON or YAML: {first}", hint="give an OpenAPI document") from None
