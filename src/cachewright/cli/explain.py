"""`cachewright explain`: what a code means, and why a target is as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cachewright.cli.options import AsJson

EXAMPLE = "cachewright explain CW012"


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
            "--spec",
            help="The specification that has the target.",
            metavar="FILE",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a check or an error means, or why a target is cached as it is, or is not."""
