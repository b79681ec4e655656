"""`cachewright design`: from evidence to a specification."""

from __future__ import annotations

import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cachewright.cli.options import AsJson, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.design.result import Design
    from cachewright.design.written.revision import Revision
    from cachewright.evidence.readers.server_load import Counted
    from cachewright.evidence.trace import Trace
    from cachewright.spec.model import CachingSpecification

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m|g)?i?b?")
_UNITS = {None: 1, "k": 2**10, "m": 2**20, "g": 2**30}
EXAMPLE = """\
cachewright design traffic.trace -o caching.yaml --rationale rationale.md --report report.html
cachewright design --request request.yaml -o caching.yaml
cachewright design --request change.yaml --from caching.yaml -o caching.yaml"""


def design(
    trace: Annotated[
        Path | None,
        typer.Argument(
            metavar="TRACE", help="The recorded traffic.", exists=True, dir_okay=False, show_default=False
        ),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option("--request", help="A written request for a design; - reads stdin.", metavar="FILE"),
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            help="A project whose specifications (API, tables, performance, constitution) to read.",
            metavar="DIR",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    standing: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A specification to change as the request says; what it leaves out stays, comments and order too.",
            metavar="FILE",
        ),
    ] = None,
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
    interfaces: Annotated[
        Path | None,
        typer.Option(
            "--interfaces",
            help="The interfaces of the design, as text without bodies, to write.",
            metavar="FILE",
        ),
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
    most: Sample = 20_000,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            help="Room for entries in each process, such as 64MB; what pays when not given.",
            metavar="SIZE",
        ),
    ] = None,
    redis: Annotated[
        bool, typer.Option("--redis/--no-redis", help="Whether there is a Redis to share entries in.")
    ] = True,
    workers: Annotated[int, typer.Option("--workers", help="Processes that serve.", metavar="N", min=1)] = 1,
    stale: Annotated[
        float,
        typer.Option(
            "--max-stale-fraction",
            help="Share of hits that may be out of date where nothing tells when answers change.",
            metavar="SHARE",
            min=0.0,
            max=0.5,
        ),
    ] = 0.0,
    ahead: Annotated[
        bool,
        typer.Option(
            "--warm-ahead",
            help="Let the cache load what clients ask for next, as the TRACE shows it, and refill hot keys.",
        ),
    ] = False,
    statements: Annotated[
        str | None,
        typer.Option(
            "--statements",
            help="pg_stat_statements beside the TRACE: a CSV file, or the URL of the database.",
            metavar="FILE|URL",
        ),
    ] = None,
    plans: Annotated[
        str | None,
        typer.Option(
            "--plans",
            help="Ask this database for the plans of the recorded queries: which indexes come before a cache.",
            metavar="URL",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Design a specification: what to cache and what not, and the evidence for every choice.

    The evidence is a TRACE, a written request, the specifications of a project, or several of them. Nothing but
    the databases of --statements and --plans is connected to, and no code is written: what executes the design is
    `cachewright serve`.
    """
    from cachewright.cli.output import say, working, write_text
    from cachewright.design.budget import Budget
    from cachewright.evidence.readers.server_load import counts_of
    from cachewright.evidence.tracereader import read_trace
    from cachewright.jobs.designing import asked, designed, revised, scored_by
    from cachewright.jobs.memory import without_collector
    from cachewright.spec.document import dumps_spec, load_spec

    def write_interfaces(spec: CachingSpecification) -> None:
        if interfaces is not None:
            from cachewright.design.interfaces import interfaces as text_of

            write_text(interfaces, text_of(spec))

    at = moment(now)
    if trace is None:
        _without_a_trace(report, request or project, ahead=ahead, asks=(statements or plans) is not None)
    wanted = None if request is None and project is None else asked(request, project)
    if standing is not None:
        if wanted is None or trace is not None:
            raise typer.BadParameter(
                "takes --request or --project and no TRACE: a recording is designed from anew, and compared with "
                "`cachewright diff`",
                param_hint="--from",
            )
        if report is not None or namespace is not None:
            raise typer.BadParameter("goes without --report and --namespace", param_hint="--from")
        revision = revised(load_spec(standing), wanted, now=at)
        write_interfaces(revision.design.spec)
        _tell(revision.design, revision.text, output, rationale, as_json=as_json, revision=revision)
        return
    counted = () if statements is None else counts_of(statements)
    with working("Analysing and replaying …"), without_collector():
        seen = None if trace is None else read_trace(trace, most=most or None)
        found = designed(
            seen,
            now=at,
            namespace=namespace,
            wanted=wanted,
            budget=Budget(memory_of(memory), redis=redis, workers=workers, stale=stale),
            ahead=ahead,
        )
        if seen is not None:
            found = _with_database(found, seen, counted, plans)
    if report is not None:
        from cachewright.report import report as page

        assert seen is not None
        forecast = scored_by(seen)(found.spec).to_json()
        write_text(report, page(forecast, found.to_json(), title=f"Cache design: {found.spec.namespace}"))
    write_interfaces(found.spec)
    _tell(found, dumps_spec(found.spec), output, rationale, as_json=as_json)
    if output is not None:
        say(f"next: cachewright check {output}{'' if trace is None else f' --trace {trace}'}")


def _with_database(found: Design, trace: Trace, counted: Sequence[Counted], plans: str | None) -> Design:
    """`found` with what the database says beside the recording, as far as it was asked."""
    from cachewright.design.indexes import with_indexes
    from cachewright.design.server_load import with_server_load
    from cachewright.evidence.readers.plans import whole_tables

    told = with_server_load(found, trace, counted) if counted else found
    return told if plans is None else with_indexes(told, trace, whole_tables(plans, trace))


def _without_a_trace(report: Path | None, other: Path | None, *, ahead: bool, asks: bool) -> None:
    """Raise `typer.BadParameter` for what only a TRACE can tell."""
    if other is None:
        raise typer.BadParameter("give a TRACE, --request FILE or --project DIR", param_hint="TRACE")
    if report is not None:
        raise typer.BadParameter("needs a TRACE: a report shows a forecast", param_hint="--report")
    if ahead:
        raise typer.BadParameter("needs a TRACE: it shows what follows what", param_hint="--warm-ahead")
    if asks:
        raise typer.BadParameter(
            "need a TRACE: they are about what was recorded", param_hint="--statements, --plans"
        )


def _tell(
    found: Design,
    specification: str,
    output: Path | None,
    rationale: Path | None,
    *,
    as_json: bool,
    revision: Revision | None = None,
) -> None:
    """Write the files that were asked for, the answer to stdout, and what is to be said about it to stderr."""
    from cachewright.cli.diff import lines
    from cachewright.cli.output import say, write_json, write_text
    from cachewright.cli.tables import choices, refusals
    from cachewright.design.rationale import rationale as reasons
    from cachewright.spec.words import count

    if output is not None:
        write_text(output, specification)
    if rationale is not None:
        write_text(rationale, reasons(found))
    if as_json:
        changes = (
            {} if revision is None else {"specification": specification, **revision.difference.to_json()}
        )
        write_json(
            {"caching_specification": found.spec.model_dump(mode="json"), **found.to_json(), **changes}
        )
    elif output is None:
        sys.stdout.write(specification)
    if revision is None:
        say(choices(found))
    else:
        say(count(len(revision.difference.changes), "change"), *lines(revision.difference))
    if found.not_cached:
        say("", refusals(found))
    said = {
        "assumption": found.assumptions,
        "question": found.clarifications_needed,
        "warning": (
            *found.warnings,
            *(
                ()
                if revision is None or revision.kept
                else ("comments and order could not be kept: its anchors or shapes do not allow it",)
            ),
        ),
    }
    for kind, texts in said.items():
        say(*(f"{kind}: {text}" for text in texts))


def memory_of(text: str | None) -> int | None:
    """Bytes of `--memory`. Raises `typer.BadParameter`."""
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip().lower())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if not size:
        raise typer.BadParameter(
            f"{text!r} is no size; write 64MB, 512KB or a number of bytes", param_hint="--memory"
        )
    return size


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
