"""`cachewright follow`: invalidate what other programs write."""

from __future__ import annotations

from typing import Annotated

import typer

from cachewright.cli.options import AsJson, Redis, SpecOption

EXAMPLE = (
    "cachewright follow postgresql+psycopg://follower@localhost/shop --spec caching.yaml"
    " --redis redis://localhost:6379"
)


def follow(
    database: Annotated[
        str, typer.Argument(metavar="DATABASE", help="An SQLAlchemy URL: PostgreSQL or SQLite.")
    ],
    spec: SpecOption,
    redis: Redis = None,
    slot: Annotated[str, typer.Option("--slot", help="The replication slot.")] = "cachewright",
    every: Annotated[
        float, typer.Option("--every", help="Seconds between two looks.", min=0.01, max=60)
    ] = 0.5,
    setup: Annotated[
        bool, typer.Option("--setup", help="Print the SQL that PostgreSQL needs once, and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Follow a database until SIGINT or SIGTERM and invalidate what any program writes to it.

    PostgreSQL is followed by its log: a logical replication slot, polled with plain SQL. A SQLite file only says that
    somebody has written: then every entry is invalidated. Ends with how much was followed, and how late.
    """
    import signal
    import sys
    import threading

    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    from cachewright.cli.output import say, write_json
    from cachewright.errors import SurroundingsError
    from cachewright.integrations.decoding import DecodedChanges, setup_sql
    from cachewright.integrations.following import Changes, FileVersion, Following
    from cachewright.integrations.watching import invalidator_of
    from cachewright.spec.document import load_spec
    from cachewright.spec.target import compile_plan

    plan = compile_plan(load_spec(spec))
    if setup:
        sys.stdout.write(setup_sql(slot, plan.column_sets))
        return
    if redis is None:
        raise typer.BadParameter("there is no server to tell of writes", param_hint="--redis")
    try:
        engine = create_engine(database)
    except (SQLAlchemyError, ImportError) as error:
        raise typer.BadParameter(str(error), param_hint="DATABASE") from None
    changes: Changes = (
        FileVersion(engine)
        if engine.dialect.name == "sqlite"
        else DecodedChanges(engine, slot, plan.column_sets, plan.hashed)
    )
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    with invalidator_of(plan, redis) as invalidate:
        following = Following(changes, invalidate, every=every)
        try:
            changes.open()
            say("following")
            following.run(stop)
        except SQLAlchemyError as error:
            raise SurroundingsError(
                f"the database cannot be followed: {str(error).splitlines()[0]}",
                hint="Is it there, and may this role read the slot? `--setup` prints what it needs.",
            ) from None
    figures = following.figures()
    if as_json:
        write_json(figures)
    else:
        say(
            f"{figures['transactions']} transactions, {figures['tags']} tags;"
            f" behind by {figures['lag_ms'] or 'nothing yet'} ms, bound {figures['bound_ms']} ms"
        )
