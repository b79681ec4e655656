"""`cachewright review`: a specification after it ran, beside its forecast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cachewright.cli.options import AsJson, Spec

EXAMPLE = "cachewright review caching.yaml --stats figures --trace traffic.trace --findings findings.jsonl"


def review(
    spec: Spec,
    stats: Annotated[
        Path | None,
        typer.Option("--stats", help="The directory of the workers' figures.", metavar="DIR"),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="A recording, for the forecast.", metavar="FILE")
    ] = None,
    findings: Annotated[
        Path | None,
        typer.Option("--findings", help="What shadow mode or the auditor wrote.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what differs from the forecast, why most likely, and what to change in SPEC, as a diff.

    Remarks go to stderr, the diff to stdout; comments and order of SPEC stay. A target that answered wrongly is
    proposed for shadow mode, one that does not pay to be switched off. Exits with 1 where answers were wrong.
    """
    from cachewright.cli.output import say, write_json
    from cachewright.design.review import review as reviewed
    from cachewright.errors import UsageError
    from cachewright.evidence.tracereader import read_trace
    from cachewright.simulator.replay import replay
    from cachewright.spec.document import load_spec
    from cachewright.spec.target import compile_plan

    if stats is None and findings is None:
        raise UsageError("nothing to review", hint="Give --stats DIR, --findings FILE, or both.")
    document = load_spec(spec)
    plan = compile_plan(document)
    found = reviewed(
        document,
        measured=None if stats is None else _measured(stats),
        forecast=None if trace is None else replay(read_trace(trace), plan).to_json(),
        findings=() if findings is None else _lines(findings),
    )
    if as_json:
        write_json(found.to_json(spec.name))
    else:
        for remark in found.remarks:
            say(f"{remark.kind}  {remark.target}: {remark.text}")
        if not found.remarks:
            say("nothing differs")
        typer.echo(found.diff(spec.name), nl=False)
    if any(remark.wrong for remark in found.remarks):
        raise typer.Exit(1)


def _measured(directory: Path) -> dict[str, Any]:
    """What all workers counted, by target."""
    from cachewright.errors import UsageError
    from cachewright.runtime.stats import merge

    snapshots: list[dict[str, Any]] = []
    for path in sorted(directory.glob("*.json")):
        try:
            figures = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if path.stem.isdigit() and isinstance(figures, dict) and {"targets", "cache"} <= figures.keys():
            snapshots.append({"targets": figures["targets"], **figures["cache"]})
    if not snapshots:
        raise UsageError(
            f"no figures in {directory}", hint="Serve with CACHEWRIGHT_STATS_DIR set to this directory."
        )
    targets: dict[str, Any] = merge(snapshots)["targets"]
    return targets


def _lines(path: Path) -> list[dict[str, Any]]:
    """The findings in a file; a last line that was cut short is left out."""
    from cachewright.errors import UsageError

    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="Serve with --shadow.") from None
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("writes"), list):
            found.append(value)
    return found
