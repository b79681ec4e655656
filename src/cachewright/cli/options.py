"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

App = Annotated[
    str,
    typer.Argument(
        metavar="APP", help="The application, as MODULE:ATTRIBUTE (app.main:app).", show_default=False
    ),
]
Spec = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC", help="The specification.", exists=True, dir_okay=False, show_default=False
    ),
]
SpecOption = Annotated[
    Path,
    typer.Option(
        "--spec", help="The specification.", metavar="FILE", exists=True, dir_okay=False, show_default=False
    ),
]
Redis = Annotated[
    str | None,
    typer.Option(
        "--redis",
        help="Redis or Valkey to share entries with the other workers.",
        metavar="URL",
        envvar="CACHEWRIGHT_REDIS_URL",
        show_envvar=True,
    ),
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", help="Port to listen on; 0 takes a free one.", min=0, max=65535)]
Factory = Annotated[bool, typer.Option("--factory", help="APP is a function that returns the application.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON on stdout.")]
Sample = Annotated[
    int,
    typer.Option(
        "--sample",
        help="Of more reading requests than this some stand for the others; 0 keeps all.",
        metavar="REQUESTS",
        min=0,
    ),
]
ServerArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="UVICORN_ARGUMENTS",
        help="What follows -- goes to uvicorn: -- --log-level warning",
        show_default=False,
    ),
]
