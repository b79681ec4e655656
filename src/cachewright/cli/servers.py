"""`cachewright servers`: what the servers behind a running application say of themselves."""

from __future__ import annotations

import typer

from cachewright.cli.operators import Token, Url
from cachewright.cli.options import AsJson

EXAMPLE = "cachewright servers http://localhost:8000"


def servers(url: Url, token: Token = None, as_json: AsJson = False) -> None:
    """Show memory, load and hit rate of the servers behind the application at URL, and where they differ from SPEC.

    Differences are reported and never changed. Exits with 1 where there are any.
    """
    from cachewright.cli.output import say, show, write_json
    from cachewright.cli.statistics_tables import servers as tables
    from cachewright.jobs.asking import ask

    found = ask(url, token, "servers")
    if as_json:
        write_json(found)
    else:
        show(*tables(found))
        if not found["servers"]:
            say("there is no server: the cache is in the memory of one process")
    if found["drift"]:
        raise typer.Exit(1)
