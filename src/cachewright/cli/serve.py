"""`cachewright serve`: the same application, with the specification applied."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from cachewright.cli.options import App, Factory, Host, Port, Redis, ServerArguments, SpecOption

EXAMPLE = "cachewright serve app.main:app --spec caching.yaml --redis redis://localhost:6379 --workers 2"


def serve(
    app: App,
    spec: SpecOption,
    redis: Redis = None,
    workers: Annotated[int, typer.Option("--workers", help="Worker processes.", min=1)] = 1,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    factory: Factory = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Serve nothing; compare every would-be hit with the real answer.")
    ] = False,
    audit: Annotated[
        int, typer.Option("--audit", help="Compare one in so many hits with the real answer; 0: none.", min=0)
    ] = 0,
    findings: Annotated[
        Path | None, typer.Option("--findings", help="Where lines of JSON say what was compared.")
    ] = None,
    server_arguments: ServerArguments = None,
) -> None:
    """Serve APP with the specification applied, without a change to its code, until SIGINT or SIGTERM.

    Without a Redis the application runs all the same: one worker keeps entries in its own memory; several run
    uncached and say so. While a Redis does not answer, the database does. CACHEWRIGHT_MODE=off turns the cache
    off.
    """
    from cachewright.cli.output import say
    from cachewright.cli.redis_url import warn_if_unreachable
    from cachewright.cli.serving import listening, serve_here
    from cachewright.cli.uvicorn_options import scheme_of, uvicorn_options
    from cachewright.cli.workers import serve_workers
    from cachewright.integrations.admin import checked_token
    from cachewright.runtime.sealing import sealing_of
    from cachewright.spec.document import load_spec
    from cachewright.spec.target import compile_plan

    options = uvicorn_options(server_arguments)
    checked_token(os.environ.get("CACHEWRIGHT_ADMIN_TOKEN"))
    document = load_spec(spec)
    compile_plan(document)  # what cannot be understood is said before anything starts
    sealing_of(os.environ)
    for note in document.normalised:
        say(f"{spec}: {note}")
    warn_if_unreachable(redis)
    environment = environment_of(app, spec, redis=redis, workers=workers, factory=factory)
    environment |= _comparing(shadow=shadow, audit=audit, findings=findings)
    with listening(host, port, scheme=scheme_of(options)) as bound, shared_figures(environment, workers):
        if workers > 1:
            serve_workers(workers, bound, environment, options)
        else:
            from cachewright.integrations.served import build_app

            os.environ.update(environment)
            serve_here(build_app(), bound, options)


def _comparing(*, shadow: bool, audit: int, findings: Path | None) -> dict[str, str]:
    """The variables by which worker processes learn what to compare."""
    environment = {"CACHEWRIGHT_MODE": "shadow"} if shadow else {}
    if audit:
        environment["CACHEWRIGHT_AUDIT"] = str(audit)
    if findings is not None or shadow:
        environment["CACHEWRIGHT_FINDINGS"] = str((findings or Path("findings.jsonl")).absolute())
    return environment


@contextmanager
def shared_figures(environment: dict[str, str], workers: int) -> Iterator[None]:
    """A place where workers find each other's figures, if the administrator's door is open and none was given."""
    if (
        workers == 1
        or not os.environ.get("CACHEWRIGHT_ADMIN_TOKEN")
        or os.environ.get("CACHEWRIGHT_STATS_DIR")
    ):
        yield
        return
    with TemporaryDirectory(prefix="cachewright-figures-") as directory:
        environment["CACHEWRIGHT_STATS_DIR"] = directory
        yield


def environment_of(app: str, spec: Path, *, redis: str | None, workers: int, factory: bool) -> dict[str, str]:
    """The variables by which worker processes learn what to serve."""
    environment = {
        "CACHEWRIGHT_APP": app,
        "CACHEWRIGHT_SPEC": str(spec.absolute()),
        "CACHEWRIGHT_WORKERS": str(workers),
        "CACHEWRIGHT_SECRET": os.environ.get("CACHEWRIGHT_SECRET") or secrets.token_hex(32),
    }
    if factory:
        environment["CACHEWRIGHT_FACTORY"] = "1"
    if redis:
        environment["CACHEWRIGHT_REDIS_URL"] = redis
    return environment
