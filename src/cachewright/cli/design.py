"""`cachewright design`: from evidence to a specification."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cachewright.cli.options import AsJson

EXAMPLE = "cachewright design traffic.trace -o caching.yaml --rationale rationale.md --report report.html"


def design(
    trace: Annotated[
        Path,
        typer.Argument(
            metavar="TRACE", help="The recorded traffic.", exists=True, dir_okay=False, show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="The specification to write; stdout when not given.", metavar="FILE"
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="An HTML report to write.", metavar="FILE")
    ] = None,
    rationale: Annotated[
        Path | None, typer.Option("--rationale", help="The reasons, as Markdown, to write.", metavar="FILE")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="The namespace of all keys.", metavar="NAME")
    ] = None,
    now: Annotated[
        str | None,
        typer.Option(
            "--now", help="The time of the design, for equal outputs (ISO 8601, with a zone).", metavar="TIME"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Design a specification from TRACE: what to cache and what not, and the evidence for every choice."""


def moment(text: str | None) -> datetime:
    """The time that `--now` names, else the one of SOURCE_DATE_EPOCH, else the present one, in UTC.

    https://reproducible-builds.org/specs/source-date-epoch/. Raises `typer.BadParameter`.
    """
    if text is not None:
        try:
            given = datetime.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is no time in ISO 8601", param_hint="--now") from None
        if given.tzinfo is None:
            raise typer.BadParameter(f"{text!r} has no zone; write 2026-01-31T12:00:00Z", param_hint="--now")
        return given.astimezone(UTC)
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch) if epoch.isdecimal() else int(time.time()), UTC)
