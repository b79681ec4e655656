"""`cachewright record`: serve an application as it is, and write down what happens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from cachewright.cli.options import App, Factory, Host, Port, ServerArguments

EXAMPLE = "cachewright record app.main:app --workers 2 --out traffic.trace -- --log-level warning"
KEY_VARIABLE = "CACHEWRIGHT_RECORD_KEY"
_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SMALLEST_FILE = 1_000_000


def record(
    app: App,
    out: Annotated[Path, typer.Option("--out", "-o", help="The trace to write.", metavar="FILE")] = Path(
        "traffic.trace"
    ),
    workers: Annotated[
        int, typer.Option("--workers", help="Worker processes; their traces become one.", min=1)
    ] = 1,
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
    volatile: Annotated[
        str | None,
        typer.Option(
            "--volatile",
            help="Members of JSON answers that say nothing (generated_at,request_id).",
            metavar="NAMES",
        ),
    ] = None,
    sample: Annotated[
        float,
        typer.Option("--sample", help="Share of the keys whose whole history is kept; writes always are."),
    ] = 1.0,
    rotate: Annotated[
        str | None,
        typer.Option(
            "--rotate", help="Begin another file beside it after this size (200MB).", metavar="SIZE"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing trace.")] = False,
    server_arguments: ServerArguments = None,
) -> None:
    """Serve APP unchanged and record its traffic until SIGINT or SIGTERM.

    The trace holds every request, the SQL it ran and a digest of its answer; no bodies, no credentials, and
    values only as keyed hashes. The key is random and kept by nobody; recordings of several hosts that are to be
    merged need one of their own in CACHEWRIGHT_RECORD_KEY.
    """
    from cachewright.cli.output import say
    from cachewright.cli.recording import Job, record_here, record_with, summary
    from cachewright.cli.serving import listening
    from cachewright.cli.uvicorn_options import scheme_of, uvicorn_options
    from cachewright.evidence.recording import Recording

    options = uvicorn_options(server_arguments)
    if not 0 < sample <= 1:
        raise typer.BadParameter(f"{sample}: above 0, at most 1", param_hint="--sample")
    job = Job(
        app=app,
        factory=factory,
        out=out.absolute(),
        identity=identities(identity or ()),
        volatile=members(volatile or ""),
        sample=sample,
        rotate=None if rotate is None else size(rotate),
        recording=Recording.begin(key=shared_key()),
        overwrite=overwrite,
    )
    with listening(host, port, scheme=scheme_of(options)) as bound:
        if workers > 1:
            record_with(workers, job, bound, options)
        else:
            record_here(job, bound, options)
    say(*summary(out))


def members(text: str) -> tuple[str, ...]:
    """The names in `generated_at,request_id`."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def size(text: str) -> int:
    """Bytes, as in `200MB`. Raises `typer.BadParameter` for what is none, or too few."""
    match = re.fullmatch(r"(\d+)\s*([kMG]?B)?", text.strip(), re.IGNORECASE)
    unit = "" if match is None else (match[2] or "").lower().removeprefix("b")
    if match is None:
        raise typer.BadParameter(f"{text!r}: write a size as in 200MB", param_hint="--rotate")
    found = int(match[1]) * _UNITS[unit]
    if found < _SMALLEST_FILE:
        raise typer.BadParameter(f"{text!r}: at least 1MB", param_hint="--rotate")
    return found


def shared_key() -> bytes | None:
    """The hashing key of the operator, None for a random one. Raises `typer.BadParameter` for one too short."""
    import hashlib
    import os

    given = os.environ.pop(KEY_VARIABLE, "")  # the application need not know it
    if not given:
        return None
    if len(given) < 32:
        raise typer.BadParameter("at least 32 characters, random ones", param_hint=KEY_VARIABLE)
    return hashlib.blake2b(given.encode(), digest_size=32).digest()


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
