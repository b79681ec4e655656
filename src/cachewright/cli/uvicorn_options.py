"""What stands after `--`: uvicorn's own arguments, read by its own parser, as options of `uvicorn.Config`."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import typer
from click.core import ParameterSource
from uvicorn.config import LOGGING_CONFIG
from uvicorn.main import main as uvicorn_command

GRACEFUL_SECONDS = 10

#: Arguments of uvicorn that a command of ours decides itself, and how.
_OURS = {
    "app": "the application is named before --",
    "host": "use --host before --",
    "port": "use --port before --",
    "factory": "use --factory before --",
    "workers": "use --workers before -- (serve and record)",
    "uds": "only a host and a port are served",
    "fd": "only a host and a port are served",
    "reload": "a watched application is not reloaded",
    "reload_dirs": "a watched application is not reloaded",
    "reload_includes": "a watched application is not reloaded",
    "reload_excludes": "a watched application is not reloaded",
    "reload_delay": "a watched application is not reloaded",
}


def uvicorn_options(arguments: Sequence[str] | None) -> dict[str, Any]:
    """The options of `uvicorn.Config` that `arguments` give, with logs on stderr and an end within seconds.

    Raises `typer.BadParameter` for what uvicorn does not know or a command of ours decides itself.
    """
    given = _given(list(arguments or ()))
    if app_dir := given.pop("app_dir", None):
        sys.path.insert(0, app_dir)
    if "headers" in given:
        given["headers"] = [tuple(header.split(":", 1)) for header in given["headers"]]
    return {"log_config": _logging_on_stderr(), "timeout_graceful_shutdown": GRACEFUL_SECONDS, **given}


def scheme_of(options: Mapping[str, Any]) -> str:
    """`https` where a certificate is given."""
    return "https" if options.get("ssl_certfile") else "http"


def _given(arguments: list[str]) -> dict[str, Any]:
    """What the arguments and uvicorn's environment variables say, without uvicorn's defaults."""
    try:
        context = uvicorn_command.make_context("uvicorn", ["-", *arguments])
    except click.ClickException as error:
        raise typer.BadParameter(f"uvicorn does not take this: {error.format_message()}") from None
    except click.exceptions.Exit as error:
        raise typer.Exit(error.exit_code) from None
    given: dict[str, Any] = {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if name in _OURS:
            if source is ParameterSource.COMMANDLINE and name != "app":
                raise typer.BadParameter(f"--{name.replace('_', '-')} is not for uvicorn here: {_OURS[name]}")
        elif source is not ParameterSource.DEFAULT:
            given[name] = value
    return given


def _logging_on_stderr() -> Mapping[str, Any]:
    """The logging of uvicorn, but with an access log that does not mix with data on stdout."""
    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    config["handlers"]["access"]["stream"] = "ext://sys.stderr"
    return config
