"""`cachewright import`: make one trace of evidence that stands in other files."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "cachewright import access.log access.log.1.gz --out traffic.trace"


class Format(StrEnum):
    """What is read; by default what a file looks like."""

    COMBINED = "combined"
    UVICORN = "uvicorn"
    NGINX_JSON = "nginx-json"
    CADDY_JSON = "caddy-json"
    EVENTLET = "eventlet"
    HAR = "har"
    OTLP = "otlp"


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES", help="Traces to merge, access logs, HAR files or OTLP spans.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The trace to write.", metavar="FILE")],
    merge: Annotated[bool, typer.Option("--merge", help="Make one trace of several.")] = False,
    align_wall: Annotated[
        bool,
        typer.Option("--align-wall", help="Line up traces of several hosts or boots by their wall clocks."),
    ] = False,
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="What the files hold; found by their first lines when not given."),
    ] = None,
    openapi: Annotated[
        Path | None,
        typer.Option(
            "--openapi",
            help="The application's OpenAPI document: its routes instead of inferred ones.",
            metavar="FILE",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing trace.")] = False,
) -> None:
    """Make one trace of access logs, HAR files or OpenTelemetry spans, or of the files of one recording (--merge).

    Logs are plain or packed with gzip or Zstandard, one or several. Lines that hold no request are skipped and
    counted. A log tells neither SQL nor answers: `design` says what that leaves open, and proposes nothing on it.

    The processes of a recording must have hashed with one key, and have had one clock: those of one host do. Files
    that stand beside a trace because it was rotated, or its recording was killed, belong to it and need not be named.
    """
    from cachewright.cli.output import say
    from cachewright.cli.recording import summary
    from cachewright.evidence.tracemerge import merge_traces

    if merge:
        merge_traces(files, out, align_wall=align_wall, overwrite=overwrite)
    elif (trace := next((file for file in files if _is_trace(file)), None)) is not None:
        raise typer.BadParameter(
            f"{trace}: traces are read as they are; several become one with --merge", param_hint="FILES"
        )
    else:
        say(*_read(files, out, format_, openapi, overwrite=overwrite))
    say(*summary(out))


def _is_trace(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def _read(
    files: list[Path], out: Path, format_: Format | None, openapi: Path | None, *, overwrite: bool
) -> list[str]:
    """Write the trace of some logs; gives what there is to say of the lines that were skipped."""
    from cachewright.cli.output import working
    from cachewright.errors import NotEnoughEvidenceError
    from cachewright.evidence.hashing import Hasher
    from cachewright.evidence.readers.imported import Source, trace_of
    from cachewright.evidence.readers.openapi import declared_routes
    from cachewright.evidence.readers.sources import visits_of
    from cachewright.evidence.readers.visits import Skipped
    from cachewright.evidence.recording import Recording
    from cachewright.evidence.tracerows import write_trace
    from cachewright.spec.words import count

    skipped = Skipped()
    routes = declared_routes(openapi) if openapi is not None else ()
    now = datetime.fromtimestamp(int(time.time()), UTC).isoformat()
    source = Source(", ".join(file.name for file in files), now, routes)
    with working("Reading …"):
        found = visits_of(files, format_.value if format_ else None, skipped)
        trace = trace_of(found, source, Hasher(Recording.begin().key))
    said = [f"skipped, for want of a request: {count(skipped.count, 'line')}"] if skipped.count else []
    said += [f"  {place}" for place in skipped.first]
    if not trace.requests:
        raise NotEnoughEvidenceError(
            f"{files[0]}: no request in it", hint="\n  ".join([*said, "Name the format with --format."])
        )
    write_trace(out, trace, overwrite=overwrite)
    return said
