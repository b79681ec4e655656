"""`cachewright stats`: the figures of a running application."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cachewright.cli.operators import Token, Url
from cachewright.cli.options import AsJson

EXAMPLE = "cachewright stats http://localhost:8000 --watch"


def stats(
    url: Url,
    token: Token = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show them again and again, until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option("--every", help="Seconds between two looks of --watch.", min=0.2)
    ] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Show hit rates, times, memory, alarms and health of the application at URL, over all of its workers there.

    With --json and --watch each look is one line of JSON.
    """
    import json
    import sys

    from cachewright.cli.output import console, show, write_json
    from cachewright.cli.statistics_tables import figures
    from cachewright.jobs.asking import ask

    out = console(sys.stdout)
    if not watch:
        found = ask(url, token, "stats")
        if as_json:
            write_json(found)
        else:
            show(*figures(found, out.width))
        return
    from rich.console import Group
    from rich.live import Live

    try:
        if as_json:
            while True:
                sys.stdout.write(f"{json.dumps(ask(url, token, 'stats'))}\n")
                sys.stdout.flush()
                time.sleep(every)
        with Live(console=out, auto_refresh=False) as live:
            while True:
                live.update(Group(*figures(ask(url, token, "stats"), out.width)), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return
