"""`cachewright record`: serve an application as it is, and write down what happens."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from cachewright.cli.options import App, Factory, Host, Port, ServerArguments

EXAMPLE = "cachewright record app.main:app --out traffic.trace -- --log-level warning"


def record(
    app: App,
    out: Annotated[Path, typer.Option("--out", "-o", help="The trace to write.", metavar="FILE")] = Path(
        "traffic.trace"
    ),
    host: Host = "127.0.0.1",
    port: Port = 8000,
    factory: Factory = False,
    identity: Annotated[
        list[str] | None,
        typer.Option(
            "--identity",
            help="Where the id of a user or a tenant stands (user=claim:sub). Repeatable.",
            metavar="WHO=SOURCE",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing trace.")] = False,
    server_arguments: ServerArguments = None,
) -> None:
    """Serve APP unchanged and record its traffic until SIGINT or SIGTERM.

    The trace holds every request, the SQL it ran and a digest of its answer; no bodies, no credentials, and
    values only as keyed hashes. Recording runs in one process.
    """
    from cachewright.capture.appimport import import_app
    from cachewright.capture.asgi import Watched
    from cachewright.capture.database import DatabaseWatch
    from cachewright.cli.output import say
    from cachewright.cli.serving import listening, serve_here
    from cachewright.cli.uvicorn_options import scheme_of, uvicorn_options
    from cachewright.evidence.recorder import Recorder

    options = uvicorn_options(server_arguments)
    declared = identities(identity or ())
    with listening(host, port, scheme=scheme_of(options)) as bound:
        application = import_app(app, factory=factory)
        recorder = Recorder(out, app, declared, time.monotonic_ns, overwrite=overwrite)
        watched = Watched(application, recorder, clock=time.monotonic_ns)
        watch = DatabaseWatch(recorder, time.monotonic_ns).open()
        try:
            serve_here(watched, bound, options)
        finally:
            watch.close()
            watched.close()
            recorder.add_routes(watched.routes)
            recorder.close()
    say(*summary(out, recorder.dropped))


def identities(texts: Iterable[str]) -> dict[str, str]:
    """What `--identity user=claim:sub` declares. Raises `typer.BadParameter` for what it cannot be."""
    from pydantic import ValidationError

    from cachewright.spec.problems import problems_of
    from cachewright.spec.tenancy import Identity

    declared: dict[str, str] = {}
    for text in texts:
        who, equals, source = text.partition("=")
        if not equals or who in declared:
            raise typer.BadParameter(
                f"{text!r}: write user=SOURCE or tenant=SOURCE, each once", param_hint="--identity"
            )
        declared[who] = source
    try:
        Identity.model_validate(declared)
    except ValidationError as error:
        raise typer.BadParameter(problems_of(error)[0].message, param_hint="--identity") from None
    return declared


def summary(trace: Path, dropped: int) -> list[str]:
    """What a finished recording holds, and what to do with it."""
    from cachewright.cli.output import count

    with closing(sqlite3.connect(trace)) as rows:
        requests, routes = _row(rows, "SELECT count(*), count(DISTINCT route) FROM request")
        (statements,) = _row(rows, "SELECT count(*) FROM statement")
    held = count(requests, "request"), count(routes, "route"), count(statements, "statement")
    lines = [f"{trace}: {', '.join(held)}, {trace.stat().st_size / 1024:,.0f} KiB"]
    if dropped:
        lines.append(f"warning: {count(dropped, 'event')} could not be kept up with and are not in the trace")
    if requests:
        lines.append(f"next: cachewright design {trace} -o caching.yaml")
    else:
        lines.append("warning: nothing was recorded; send requests to it while it runs")
    return lines


def _row(rows: sqlite3.Connection, query: str) -> tuple[Any, ...]:
    return tuple(rows.execute(query).fetchone())
