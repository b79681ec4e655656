"""`cachewright simulate`: what a specification would have done to the recorded traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cachewright.cli.options import AsJson, Spec

EXAMPLE = 'cachewright simulate caching.yaml --trace traffic.trace --require "wrong_answers=0,hit_rate>0.6"'


def simulate(
    spec: Spec,
    trace: Annotated[
        Path, typer.Option("--trace", help="The recorded traffic.", metavar="FILE", show_default=False)
    ],
    require: Annotated[
        str | None,
        typer.Option(
            "--require", help="Exit with 1 unless the forecast reaches this.", metavar="FIGURE=NUMBER,…"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay a recording against SPEC: hit rates, times, database work, and answers that would be wrong."""
    from cachewright.cli.output import say, show, working, write_json
    from cachewright.cli.tables import forecast
    from cachewright.evidence.tracereader import read_trace
    from cachewright.simulator.replay import replay
    from cachewright.simulator.requirements import parse_requirements, unmet
    from cachewright.simulator.unknowns import known_only
    from cachewright.spec.document import load_spec
    from cachewright.spec.target import compile_plan

    wanted = parse_requirements(require) if require else ()
    document = load_spec(spec)
    with working("Replaying …"):
        seen = read_trace(trace)
        outcome = known_only(replay(seen, compile_plan(document)).to_json(), seen.unknown)
    missed = unmet(wanted, outcome)
    if as_json:
        write_json(outcome)
    else:
        show(forecast(outcome))
    for term in missed:
        say(f"not reached: {term}")
    if missed:
        raise typer.Exit(1)
