"""`cachewright demo`: the whole job on the example backend."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from cachewright.cli.options import AsJson
from cachewright.errors import SurroundingsError

TITLE = "Todo: designed, forecast and measured"

T = TypeVar("T")

EXAMPLE = "cachewright demo --requests 1350 --out out"


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Directory for everything that is written.", metavar="DIR")
    ] = Path("out"),
    requests: Annotated[int, typer.Option("--requests", help="Requests of each run.", min=200)] = 1350,
    users: Annotated[int, typer.Option("--users", help="Virtual users at the same time.", min=1)] = 16,
    workers: Annotated[
        int, typer.Option("--workers", help="Worker processes of all runs but verify.", min=1)
    ] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the load.")] = 7,
    example: Annotated[
        Path | None, typer.Option("--example", help="Where examples/todo is.", metavar="DIR", file_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Do the whole job on the example backend: one table, and every figure as JSON in --out.

    Exits with 1 when an answer was wrong, different or unexpected, or check found errors. A target of speed
    that was missed is said and does not end in an error: the machine may have been busy.
    """
    import tempfile

    from cachewright.cli import demo_run
    from cachewright.cli.demo_figures import figures, shortcomings
    from cachewright.cli.demo_targets import targets
    from cachewright.cli.output import say, show, to_json, write_json, write_text
    from cachewright.cli.tables import database, measured, missed
    from cachewright.cli.tables import targets as reached
    from cachewright.report import report

    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cachewright-demo-") as work:
        directory = found_example(example)
        plan = demo_run.Plan(
            example=directory,
            out=out,
            seeded=demo_run.seeded_database(directory, out, time.strftime("%Y-%m-%d", time.gmtime())),
            work=Path(work),
            requests=requests,
            users=users,
            workers=workers,
            seed=seed,
        )
        job = demo_run.do_job(plan, shown_step)
    document = figures(job)
    goals = targets(job, document)
    document["targets"] = [goal.to_json() for goal in goals]
    write_text(out / "figures.json", to_json(document))
    write_text(out / "report.html", report(document, demo_run.written(plan, "design.json"), title=TITLE))
    if as_json:
        write_json(document)
    else:
        show(measured(document), "", database(document), "", reached(goals))
    say(f"written: {', '.join(path.name for path in sorted(out.iterdir()))} in {out}")
    for line in missed(goals):
        say(line)
    problems = shortcomings(document)
    for problem in problems:
        say(f"not as it should be: {problem}")
    if problems:
        raise typer.Exit(1)


def shown_step(name: str, step: Callable[[], tuple[T, float]], told: Callable[[T], str]) -> T:
    """Wait for one step, with its name meanwhile and a line with its seconds when it is done."""
    from cachewright.cli.output import say, working

    with working(f"{name} …"):
        result, seconds = step()
    say(f"{name:<18} {told(result)}  ({seconds:.1f} s)")
    return result


def found_example(given: Path | None) -> Path:
    """The directory of the example backend: the one given, or the one of the checkout this runs from.

    Raises `SurroundingsError` where there is none: an installed package does not hold it.
    """
    places = [given] if given else [Path.cwd(), Path(__file__).resolve().parents[3]]
    for place in places:
        for directory in (place, place / "examples" / "todo"):
            if (directory / "seed.py").is_file() and (directory / "load.py").is_file():
                return directory.resolve()
    raise SurroundingsError(
        f"examples/todo was not found in {places[0]}",
        hint="Run the demo in a checkout of the project, or give --example DIR.",
    )
