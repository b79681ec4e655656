"""All commands of this version, in the order of their use."""

from __future__ import annotations

from typing import Annotated

import typer

from cachewright.cli import (
    check,
    coverage,
    demo,
    design,
    diff,
    explain,
    export,
    follow,
    import_,
    invalidate,
    mcp,
    record,
    review,
    schema,
    serve,
    servers,
    simulate,
    stats,
    targets,
    verify,
    warm,
)

app = typer.Typer(
    name="cachewright",
    help="Design a cache from evidence, prove the design, and run it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    record,
    import_,
    coverage,
    design,
    check,
    simulate,
    explain,
    diff,
    serve,
    follow,
    verify,
    review,
    stats,
    servers,
    targets,
    warm,
    invalidate,
    export,
    schema,
    mcp,
    demo,
)
for module in COMMANDS:
    name = module.__name__.rpartition(".")[2]
    app.command(name.rstrip("_"), epilog=f"Example: {module.EXAMPLE}")(getattr(module, name))


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cachewright {version('cachewright')}")
        raise typer.Exit


@app.callback()
def everything(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Design a cache from evidence, prove the design, and run it."""
