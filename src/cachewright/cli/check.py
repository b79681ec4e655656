"""`cachewright check`: what is wrong with a specification, before it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cachewright.cli.options import AsJson
from cachewright.errors import SpecError

if TYPE_CHECKING:
    from cachewright.checks import Finding, Known
    from cachewright.evidence.trace import Trace
    from cachewright.spec.document import Document

EXAMPLE = "cachewright check caching.yaml --app app.main:app --trace traffic.trace"

Format = Literal["text", "json", "sarif", "github"]


def check(
    specs: Annotated[
        list[Path],
        typer.Argument(
            metavar="SPEC…", help="The specifications.", exists=True, dir_okay=False, show_default=False
        ),
    ],
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
    from cachewright.checks import Finding
    from cachewright.checks import check as look
    from cachewright.cli.output import working
    from cachewright.evidence.tracereader import read_trace
    from cachewright.jobs.knowing import known_of
    from cachewright.spec.document import load_spec

    wanted: Format = "json" if as_json else output
    unreadable: SpecError | None = None
    found: dict[Path, list[Finding]] = {}
    known = known_of(app, factory=factory, openapi=openapi)
    with working("Checking …"):
        seen = None if trace is None else read_trace(trace)
        for spec in specs:
            try:
                document = load_spec(spec)
            except SpecError as error:
                unreadable = unreadable or error
                found[spec] = [Finding(error.code, "error", (), error.line, error.column, error.detail)]
                continue
            if fix:
                document = _fixed(spec, document, seen, known)
            found[spec] = look(document, trace=seen, known=known)
            _summarise(spec, document, found[spec], everything=everything)
    _write(wanted, found, everything=everything)
    if unreadable is not None:
        raise unreadable
    counts = Counter(finding.severity for findings in found.values() for finding in findings)
    if counts["error"] or (strict and counts["warning"]):
        raise typer.Exit(1)


def _fixed(spec: Path, document: Document, trace: Trace | None, known: Known) -> Document:
    from cachewright.checks.fixing import fixed
    from cachewright.cli.output import say, write_text
    from cachewright.spec.words import count

    result = fixed(document, trace=trace, known=known)
    if result.count:
        write_text(spec, result.document.text)
    say(f"{spec}: {count(result.count, 'change')} made")
    return result.document


def _write(wanted: Format, found: Mapping[Path, Sequence[Finding]], *, everything: bool) -> None:
    """The findings on stdout; for people without those that are unreadable files, which they are told of anyway."""
    from cachewright.cli.output import show, write_json

    listed = [(str(spec), finding) for spec, findings in found.items() for finding in findings]
    shown = [(spec, finding) for spec, finding in listed if everything or finding.severity != "info"]
    match wanted:
        case "text":
            show(*(line(spec, finding) for spec, finding in shown if finding.code != SpecError.code))
        case "json":
            write_json({"findings": [finding.to_json(spec) for spec, finding in listed]})
        case "sarif":
            from importlib.metadata import version

            from cachewright.checks.formats import sarif

            write_json(sarif(shown, version("cachewright")))
        case "github":
            from cachewright.checks.formats import github

            show(*(github(finding, spec) for spec, finding in shown))


def _summarise(spec: Path, document: Document, findings: Sequence[Finding], *, everything: bool) -> None:
    from cachewright.cli.output import say
    from cachewright.spec.words import count

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
