"""`cachewright demo`: the whole job on the example backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cachewright.cli.options import AsJson

EXAMPLE = "cachewright demo --requests 3000 --out out"


def demo(
    out: Annotated[Path, typer.Option("--out", help="Directory for everything that is written.", metavar="DIR")] = Path(
        "out"
    ),
    requests: Annotated[int, typer.Option("--requests", help="Requests of each run.", min=200)] = 3000,
    users: Annotated[int, typer.Option("--users", help="Virtual users at the same time.", min=1)] = 24,
    workers: Annotated[int, typer.Option("--workers", help="Worker processes before and after.", min=1)] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the load.")] = 7,
    example: Annotated[
        Path | None, typer.Option("--example", help="Where examples/todo is.", metavar="DIR", file_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Record, design, check, simulate, serve and verify the example backend; one table, and all figures in --out."""
