"""`cachewright verify`: the application with and without the cache, side by side, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cachewright.cli.options import App, AsJson, Factory, Host, Port, Redis, ServerArguments, SpecOption

EXAMPLE = "cachewright verify app.main:app --spec caching.yaml --twin --json"


def verify(
    app: App,
    spec: SpecOption,
    twin: Annotated[bool, typer.Option("--twin", help="Stand in front of live traffic (the one way so far).")],
    redis: Redis = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    factory: Factory = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON too.", metavar="FILE")] = None,
    as_json: AsJson = False,
    server_arguments: ServerArguments = None,
) -> None:
    """Serve APP twice over one database, uncached and cached, and compare every answer, until SIGINT or SIGTERM.

    A read is asked uncached, cached, uncached; a write is sent once, to the cached side. Exits with 1 on any
    difference.
    """
