"""`cachewright import`: make one trace of evidence that stands in several files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "cachewright import --merge a.trace b.trace --out all.trace"


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES", help="Traces.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The trace to write.", metavar="FILE")],
    merge: Annotated[bool, typer.Option("--merge", help="Make one trace of several.")] = False,
    align_wall: Annotated[
        bool,
        typer.Option("--align-wall", help="Line up traces of several hosts or boots by their wall clocks."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing trace.")] = False,
) -> None:
    """Make one trace of the files of one recording.

    Its processes must have hashed with one key, and have had one clock: those of one host do. Files that stand
    beside a trace because it was rotated, or its recording was killed, belong to it and need not be named.
    """
    from cachewright.cli.output import say
    from cachewright.cli.recording import summary
    from cachewright.evidence.tracemerge import merge_traces

    if not merge:
        raise typer.BadParameter(
            "traces are read as they are; several become one with --merge", param_hint="FILES"
        )
    merge_traces(files, out, align_wall=align_wall, overwrite=overwrite)
    say(*summary(out))
