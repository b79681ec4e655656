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
    twin: Annotated[bool, typer.Option("--twin", help="Stand in front of live traffic.")],
    redis: Redis = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    factory: Factory = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the result as JSON too.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
    server_arguments: ServerArguments = None,
) -> None:
    """Serve APP uncached and cached over one database, and compare every answer, until SIGINT or SIGTERM.

    A read is asked uncached, cached, uncached; a write is sent once, to the cached side. Exits with 1 on any
    difference, and where nothing was compared.
    """
    import os

    from cachewright.capture.appimport import import_app
    from cachewright.cli.output import say, show, to_json, write_json, write_text
    from cachewright.cli.redis_url import warn_if_unreachable
    from cachewright.cli.serving import listening, serve_here
    from cachewright.cli.tables import verdict
    from cachewright.cli.uvicorn_options import scheme_of, uvicorn_options
    from cachewright.integrations.surroundings import Surroundings
    from cachewright.spec.document import load_spec
    from cachewright.spec.semantics import GUARDS
    from cachewright.verify.run import build_twin

    assert twin  # there is no other way yet
    options = uvicorn_options(server_arguments)
    document = load_spec(spec)
    warn_if_unreachable(redis)
    secret = os.environ.get("CACHEWRIGHT_SECRET", "").encode() or None
    around = Surroundings(redis_url=redis, secret=secret, workers=1)
    with listening(host, port, scheme=scheme_of(options)) as bound:
        twins = build_twin(import_app(app, factory=factory), document, around)
        serve_here(twins, bound, options)
    result = twins.tally.to_json()
    if out is not None:
        write_text(out, to_json(result))
    if as_json:
        write_json(result)
    else:
        show(*verdict(result))
    if not result["responses"]:
        say("warning: no answer was compared; send the traffic of the routes that the specification caches")
    guarded = {reason: result["refused_fills"].get(reason, 0) for reason in sorted(GUARDS)}
    if any(guarded.values()):
        named = ", ".join(f"{count} by {reason}" for reason, count in guarded.items() if count)
        say(f"warning: the specification is incomplete: a server would refuse to keep loads ({named})")
    if result["differences"] or not result["responses"]:
        raise typer.Exit(1)
