"""`cachewright mcp`: the tools for agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cachewright.errors import UsageError

EXAMPLE = "cachewright mcp --root . --url http://localhost:8000"

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def mcp(
    transport: Annotated[
        Literal["stdio", "http"],
        typer.Option("--transport", help="stdio, or http (streamable HTTP at /mcp)."),
    ] = "stdio",
    root: Annotated[
        Path,
        typer.Option(
            "--root",
            help="The directory whose files tools may read.",
            metavar="DIR",
            exists=True,
            file_okay=False,
        ),
    ] = Path(),
    app: Annotated[
        str | None, typer.Option("--app", help="The application, for the checks.", metavar="APP")
    ] = None,
    factory: Annotated[bool, typer.Option("--factory", help="APP is a function that returns it.")] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", help="The running application to ask, invalidate and warm.", metavar="URL"),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help="Its admin token; better in the environment.",
            envvar="CACHEWRIGHT_ADMIN_TOKEN",
            show_envvar=True,
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on, for http: a loopback one.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port to listen on, for http; 0 takes a free one.", min=0, max=65535)
    ] = 8765,
) -> None:
    """Serve the tools for agents over MCP: design, check, explain, simulate, review, stats, invalidate, warm."""
    from importlib.metadata import version

    from cachewright.cli.output import say
    from cachewright.mcp.project import Project
    from cachewright.mcp.server import server

    if transport == "http" and host not in _LOOPBACK:
        raise UsageError(
            f"the tools are open to whoever reaches {host}",
            hint="listen on 127.0.0.1, and put a proxy with a sign-in of its own in front",
        )
    served = server(
        Project(root=root, app=app, factory=factory, url=url, token=token), version=version("cachewright")
    )
    if transport == "stdio":
        served.run("stdio")
        return
    import socket

    import uvicorn

    with socket.create_server((host, port)) as listening:
        say(f"ready http://{host}:{listening.getsockname()[1]}/mcp")
        config = uvicorn.Config(served.streamable_http_app(host=host), log_level="warning")
        uvicorn.Server(config).run(sockets=[listening])
