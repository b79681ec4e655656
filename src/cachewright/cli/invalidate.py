"""`cachewright invalidate`: make a running application forget."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cachewright.cli.operators import Token, Url
from cachewright.cli.options import AsJson

EXAMPLE = 'cachewright invalidate http://localhost:8000 --tag "tasks(user_id=7)"'


def invalidate(
    url: Url,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="What depends on this tag; may be given several times.", metavar="TAG"),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="The entry of this key.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", help="A tenant's, a user's, or a resource's entries: user:7:tasks:*."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Every entry of this target.", metavar="NAME")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="Whatever belongs to this user.", metavar="ID")
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", help="Whatever belongs to this tenant.", metavar="ID"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every entry of the namespace.")] = False,
    physically: Annotated[
        bool, typer.Option("--physically", help="Remove the keys of a user or tenant from the server, too.")
    ] = False,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Invalidate entries of the application at URL, in every process. Nothing that began before is served after.

    Exactly one subject is given, or --user together with --tenant.
    """
    from cachewright.cli.output import say, write_json
    from cachewright.jobs.asking import ask
    from cachewright.spec.words import count

    asked: dict[str, Any] = {
        "tags": tag,
        "key": key,
        "pattern": pattern,
        "target": target,
        "user": user,
        "tenant": tenant,
        "all": everything or None,
        "physically": physically or None,
    }
    found = ask(url, token, "invalidate", {name: value for name, value in asked.items() if value is not None})
    if as_json:
        write_json(found)
        return
    removed = f", {count(found['removed'], 'key')} removed" if "removed" in found else ""
    say(f"{count(found['invalidated'], 'tag')} in use invalidated{removed}")
