"""`cachewright warm`: load before anybody asks."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from cachewright.cli.operators import Token, Url
from cachewright.cli.options import AsJson

EXAMPLE = "cachewright warm http://localhost:8000 --job on_startup"
_INTERVAL = 0.5
_RUNNING = ("waiting", "running")


def warm(
    url: Url,
    job: Annotated[
        str | None, typer.Option("--job", help="on_startup or scheduled; all of them where it is left out.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Begin, and do not wait for the end.")] = False,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Warm the application at URL by the jobs of its specification, and wait until they are done.

    Exits with 1 where less than the specification's progress_threshold was loaded.
    """
    from cachewright.cli.output import say, write_json
    from cachewright.jobs.asking import ask

    found = ask(url, token, "warm", {} if job is None else {"job": job})["warming"]
    if not detach:
        found = _waited(url, token, job)
    if as_json:
        write_json(found)
    else:
        for one in found:
            say(f"{one['job']} {one['state']}: {one['done']:,} of {one['total']:,} loaded")
            for problem in one["problems"]:
                say(f"  {problem}")
    if any(one["state"] == "failed" for one in found):
        raise typer.Exit(1)


def _waited(url: str, token: str | None, job: str | None) -> list[dict[str, Any]]:
    from cachewright.cli.output import progressing
    from cachewright.jobs.asking import ask

    with progressing("warming") as show:
        while True:
            time.sleep(_INTERVAL)
            found = [one for one in ask(url, token, "stats")["warming"] if job in (None, one["job"])]
            show(sum(one["done"] + one["failed"] for one in found), sum(one["total"] for one in found))
            if not any(one["state"] in _RUNNING for one in found):
                return found
