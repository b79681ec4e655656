"""`cachewright targets`: what a running application caches, and switching it off and on."""

from __future__ import annotations

from typing import Annotated

import typer

from cachewright.cli.operators import Token, Url
from cachewright.cli.options import AsJson

EXAMPLE = "cachewright targets http://localhost:8000 --off 'GET /api/tasks'"


def targets(
    url: Url,
    off: Annotated[
        list[str] | None,
        typer.Option("--off", help="A target to turn off, in every process within 2 s.", metavar="NAME"),
    ] = None,
    on: Annotated[
        list[str] | None, typer.Option("--on", help="A target to turn on again.", metavar="NAME")
    ] = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show what the application at URL caches and what is switched off; --off and --on switch.

    What is off goes to the application as if there were no cache, for 30 days at most.
    """
    from cachewright.cli.output import say, show, write_json
    from cachewright.cli.statistics_tables import targets as table
    from cachewright.jobs.asking import ask

    turned: dict[str, bool] = {}
    for names, mode in ((off, "off"), (on, "live")):
        for name in names or ():
            done = ask(url, token, "targets", {"target": name, "mode": mode})
            turned[done["target"]] = mode == "off"
            say(f"{done['target']} is {'off' if mode == 'off' else 'on'}")
    found = ask(url, token, "targets")
    for one in found["targets"]:  # the process that answers may hear of it a moment later
        one["switched_off"] = turned.get(one["name"], one["switched_off"])
    if as_json:
        write_json(found)
    else:
        show(table(found["targets"]))
