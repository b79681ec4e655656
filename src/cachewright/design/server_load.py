"""What the database itself counted, beside a design: the load that was not recorded, and who else writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cachewright.design.result import Design
from cachewright.evidence.readers.server_load import Counted
from cachewright.evidence.trace import Trace
from cachewright.sql.facts import StatementFacts
from cachewright.sql.parse import parse
from cachewright.sql.shape import shape

_DIALECT, _STYLE = "postgresql", "numeric_dollar"
#: Reads that nobody recorded are named with this share of the server's time, so many at most.
_WORTH_A_WORD, _MOST = 0.05, 5
_LONGEST = 160
_OURS = ("pg_", "information_schema")


@dataclass(frozen=True, slots=True)
class _Row:
    counted: Counted
    shape: str
    facts: StatementFacts
    recorded: bool


def with_server_load(found: Design, trace: Trace, counted: Sequence[Counted]) -> Design:
    """`found` with what the counts of the server say of it."""
    rows = tuple(_rows(trace, counted))
    return replace(
        found,
        warnings=(*found.warnings, *_writers(found, rows), *_unrecorded(rows)),
        sources=(*found.sources, f"pg_stat_statements, {len(counted)} statements"),
    )


def _rows(trace: Trace, counted: Iterable[Counted]) -> Iterator[_Row]:
    recorded = {
        shape(text.sql, dialect=text.dialect, paramstyle=text.paramstyle) for text in trace.texts.values()
    }
    tables = dict(trace.schema.tables)
    for each in counted:
        facts = parse(each.sql, dialect=_DIALECT, paramstyle=_STYLE, schema=tables)
        seen = shape(each.sql, dialect=_DIALECT, paramstyle=_STYLE)
        if seen is None or facts.harmless or _of_the_server(facts):
            continue
        yield _Row(each, seen, facts, seen in recorded)


def _of_the_server(facts: StatementFacts) -> bool:
    names = {read.table for read in facts.reads} | {write.table for write in facts.writes}
    return bool(names) and all(name.startswith(_OURS) for name in names)


def _writers(found: Design, rows: Sequence[_Row]) -> Iterator[str]:
    """Tables of targets that somebody writes to with statements that the recording does not know."""
    others: dict[str, int] = defaultdict(int)
    for row in rows:
        for write in () if row.recorded else row.facts.writes:
            others[write.table] += row.counted.calls
    for table, targets in found.invalidation_map.items():
        if others.get(table):
            names = ", ".join(sorted({target["target"] for target in targets}))
            yield (
                f"{table} was written to {others[table]:,} times by statements that are not in the recording: another "
                "program writes, or a route that was not recorded. Until it is watched or followed, answers of "
                f"{names} are out of date for up to their life."
            )


def _unrecorded(rows: Sequence[_Row]) -> Iterator[str]:
    whole = sum(row.counted.milliseconds for row in rows)
    if not whole:
        return
    covered = sum(row.counted.milliseconds for row in rows if row.recorded)
    yield f"The recorded statements make up {covered / whole:.0%} of the time that the database counted."
    missing = [row for row in rows if not row.recorded and row.facts.reads and not row.facts.writes]
    missing.sort(key=lambda row: (-row.counted.milliseconds, row.shape))
    for row in missing[:_MOST]:
        share = row.counted.milliseconds / whole
        if share >= _WORTH_A_WORD:
            text = row.shape if len(row.shape) <= _LONGEST else f"{row.shape[:_LONGEST]}…"
            yield (
                f"{share:.0%} of the database's time goes to a query that was not recorded: {text}. "
                "Record the route that runs it."
            )
