"""`cachewright coverage`: which writes of a recorded run no hook has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cachewright.cli.options import AsJson

EXAMPLE = "cachewright coverage traffic.trace"


def coverage(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="What `record` wrote.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Say how the writes of a recording were seen, table by table, and which of them no hook has seen.

    A write that nobody saw shows itself: an answer changes, and no write that was seen explains it. Exits with 1 where
    that happened, or where the recording has gaps.
    """
    from cachewright.analysis.coverage import coverage as covered
    from cachewright.cli.output import say, show, working, write_json
    from cachewright.cli.tables import written
    from cachewright.evidence.tracereader import read_trace

    with working(f"reading {trace} …"):
        found = covered(read_trace(trace))
    document = found.to_json()
    if as_json:
        write_json(document)
    else:
        show(written(document["tables"]))
    say(*lines(document))
    if not found.complete:
        raise typer.Exit(1)


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """What was not seen, as lines of text."""
    for missed in document["unseen"]:
        suspects = ", ".join(missed["suspects"])
        why = (
            f"as writes to {suspects} lie beside all of them, a trigger there may be it" if suspects else _WHY
        )
        yield (
            f"not seen: {missed['changes']} changes of {missed['route']}, "
            f"which reads {', '.join(missed['tables'])}: {why}"
        )
    if number := document["unknown_writes"]:
        yield f"not understood: {number} transactions, which count as writes to everything"
    if number := document["raw_connections"]:
        yield f"raw connections: {number} requests used one; what it wrote counts as everything"
    if number := document["dropped_events"]:
        yield f"gaps: {number} events were dropped while recording"
    if not document["unseen"]:
        yield "every change of an answer is explained by a write that was seen"


_WHY = "look for another program, a trigger, or a cache of the application's own (docs/how-to/writes.md)"
