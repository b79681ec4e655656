"""`cachewright explain`: what a code means, and why a target is as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cachewright.cli.options import AsJson

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
    from cachewright.jobs.explaining import meaning, reasons

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
        because = f" ({', '.join(decision['because'])})" if decision["because"] else ""
        yield f"  {decision['choice']}: {decision['reason']}{because}"
    for finding in document.get("findings", ()):
        yield f"  {finding['id']} {finding['code']}: {finding['text']}"
