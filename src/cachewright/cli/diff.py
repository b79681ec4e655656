"""`cachewright diff`: what changes for users when one specification follows another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cachewright.cli.options import AsJson

if TYPE_CHECKING:
    from cachewright.spec.difference import Difference

EXAMPLE = "cachewright diff caching.yaml caching.new.yaml --fail-on high"


def diff(
    before: Annotated[
        Path,
        typer.Argument(metavar="BEFORE", help="The specification that runs.", show_default=False),
    ],
    after: Annotated[
        Path,
        typer.Argument(metavar="AFTER", help="The one that is to follow.", show_default=False),
    ],
    fail_on: Annotated[
        Literal["low", "medium", "high"] | None,
        typer.Option("--fail-on", help="Exit with 1 on a change of this risk, or a greater one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two specifications: what users notice, risk first, and whether the cache has to start empty."""
    from cachewright.cli.output import say, show, write_json
    from cachewright.spec.change import RISKS
    from cachewright.spec.difference import difference, worst
    from cachewright.spec.document import load_spec
    from cachewright.spec.words import count

    found = difference(load_spec(before), load_spec(after))
    if as_json:
        write_json(found.to_json())
    else:
        show(*lines(found))
    say(f"{count(len(found.changes), 'change')}; greatest risk: {worst(found.changes)}")
    if fail_on is not None and RISKS.index(worst(found.changes)) <= RISKS.index(fail_on):
        raise typer.Exit(1)


def lines(found: Difference) -> list[str]:
    """The difference as lines of text."""
    listed = [
        f"{change.risk:<6} {change.subject}: {change.what}: {_shown(change.before)} → {_shown(change.after)}; "
        f"{change.effect}"
        for change in found.changes
    ]
    if found.new_namespace:
        listed += [
            "cold cache: needed, by a new namespace",
            *(f"  {reason}" for reason in found.new_namespace),
        ]
    elif found.cold:
        listed.append(f"cold cache: not needed; these start empty by themselves: {', '.join(found.cold)}")
    elif any(change.what == "namespace" for change in found.changes):
        listed.append("cold cache: it starts empty, in its new namespace")
    else:
        listed.append("cold cache: not needed")
    return listed


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_shown(item)}' for name, item in value.items())}}}"
    return f"[{', '.join(map(_shown, value))}]" if isinstance(value, list) else str(value)
