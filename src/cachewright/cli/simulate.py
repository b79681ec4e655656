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
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            help="Also with another life of entries, or with so much room; several times.",
            metavar="ttl=…,size=…",
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare", help="Also for another specification.", metavar="FILE", exists=True, dir_okay=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay a recording against SPEC: hit rates, times, database work, and answers that would be wrong."""
    from cachewright.cli.output import say, show, working, write_json
    from cachewright.cli.tables import forecast, options
    from cachewright.evidence.tracereader import read_trace
    from cachewright.simulator.replay import replay
    from cachewright.simulator.requirements import parse_requirements, unmet
    from cachewright.simulator.unknowns import known_only
    from cachewright.simulator.what_if import parse_option
    from cachewright.spec.document import load_spec
    from cachewright.spec.target import compile_plan

    wanted = parse_requirements(require) if require else ()
    asked = [parse_option(text) for text in what_if or ()]
    plan = compile_plan(load_spec(spec))
    other = None if compare is None else compile_plan(load_spec(compare))
    with working("Replaying …"):
        seen = read_trace(trace)
        outcome = known_only(replay(seen, plan).to_json(), seen.unknown)
        beside = [(option.text, replay(seen, option.plan(plan), option.settings())) for option in asked]
        if other is not None:
            beside.append((str(compare), replay(seen, other)))
    others = [{"option": name, **known_only(found.to_json(), seen.unknown)} for name, found in beside]
    missed = unmet(wanted, outcome)
    if as_json:
        write_json({**outcome, "what_if": others} if others else outcome)
    else:
        show(forecast(outcome))
        if others:
            show("", options([{"option": str(spec), **outcome}, *others]))
    for term in missed:
        say(f"not reached: {term}")
    if missed:
        raise typer.Exit(1)
