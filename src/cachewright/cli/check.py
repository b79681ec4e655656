"""`cachewright check`: what is wrong with a specification, before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cachewright.cli.options import AsJson, Spec

EXAMPLE = "cachewright check caching.yaml --app app.main:app --trace traffic.trace"


def check(
    spec: Spec,
    app: Annotated[
        str | None, typer.Option("--app", help="The application, to look at its routes.", metavar="APP")
    ] = None,
    factory: Annotated[bool, typer.Option("--factory", help="APP is a function that returns it.")] = False,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="A recording, to look at what was seen.", metavar="FILE")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check SPEC: no leak between users, no write without an invalidation, no key with two meanings."""
