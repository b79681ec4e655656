"""What the SQL of a trace read and what it changed, as tables, pinned columns and tags of hashed values.

Values are the trace's *loose* hashes, so two values that meet in a tag meet here too. What cannot be told
widens: an unknown read is covered by no tag, an unknown write changes everything.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial

from cachewright.evidence.trace import ImageSeen, StatementSeen, Trace, Value
from cachewright.spec.tags import NAMESPACE_TAG, NULL, ColumnSets, canonical, write_tags
from cachewright.sql.facts import Bind, Literal, Operand, Read, StatementFacts, Write
from cachewright.sql.rows import Change, Reference, Row, cascades, changed_rows, consequences, renames, spared

#: The tag that stands for all tags: every entry holds it, and a write that nobody understands changes it.
EVERYTHING = NAMESPACE_TAG
#: The table of a read that nobody understands; no tag covers it.
UNKNOWN_TABLE = "*"

_REMEMBERED_TEXTS = 10_000
#: How the trace writes the text of a literal.
_HASHED = re.compile(r"h[0-9a-f]{16}\Z")

Columns = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ReadSeen:
    """One occurrence of a table in an executed read; all its rows have the `pinned` values (loose hashes)."""

    table: str
    pinned: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteSeen:
    """What one transaction changed, as tags.

    `began` is when its first write started (from then on its tags are held in the process that writes),
    `ending` when its commit or rollback was sent, `ended` when that returned; monotonic ns. A transaction
    whose end was not recorded counts as open, and rolled back, until the end of the trace.
    """

    transaction: int
    tags: frozenset[str]
    began: int
    ending: int
    ended: int
    committed: bool
    request: int | None = None

    def changes(self, tag: str) -> bool:
        """Whether an entry that holds `tag` is invalidated by this write."""
        return tag in self.tags or EVERYTHING in self.tags


def facts_of(trace: Trace) -> dict[int, StatementFacts]:
    """What each distinct SQL text of the trace says, by the id of the text."""
    tables = tuple(sorted((table, tuple(columns)) for table, columns in trace.schema.tables.items()))
    return {
        text.id: _parsed(text.sql, text.dialect, text.paramstyle, tables) for text in trace.texts.values()
    }


@lru_cache(maxsize=_REMEMBERED_TEXTS)
def _parsed(
    sql: str, dialect: str, paramstyle: str, tables: tuple[tuple[str, tuple[str, ...]], ...]
) -> StatementFacts:
    """Parse one text; remembered, for a trace is replayed many times (1 ms for each text)."""
    from cachewright.sql.parse import parse

    return parse(sql, dialect=dialect, paramstyle=paramstyle, schema=dict(tables))


def reads_of(trace: Trace) -> dict[int, tuple[ReadSeen, ...]]:
    """For each statement (by its id) the table occurrences it read; no entry where it read none."""
    return trace.once("reads", lambda: _reads_of(trace))


def _reads_of(trace: Trace) -> dict[int, tuple[ReadSeen, ...]]:
    facts = facts_of(trace)
    found: dict[int, tuple[ReadSeen, ...]] = {}
    for statement in trace.statements:
        if statement.failed:
            continue
        reads = _reads(facts[statement.text], statement, trace.schema.inexact_columns)
        if reads:
            found[statement.id] = reads
    return found


def writers_of(trace: Trace, *, ignored: Columns = frozenset()) -> frozenset[int]:
    """The requests that wrote, committed or not; writes to `ignored` columns alone do not count."""
    return trace.once(("writers", ignored), lambda: _writers_of(trace, ignored))


def _writers_of(trace: Trace, ignored: Columns) -> frozenset[int]:
    facts = facts_of(trace)
    writing = {text for text, of_text in facts.items() if _writes(of_text, ignored)}
    return frozenset(
        statement.request
        for statement in trace.statements
        if statement.request is not None and statement.text in writing
    )


def written_by(trace: Trace, column_sets: ColumnSets, *, ignored: Columns = frozenset()) -> list[WriteSeen]:
    """The transactions that wrote, in the order in which they ended, with the tags they changed.

    Writes to `ignored` columns (table, column) alone change nothing. `column_sets` must not come from
    templates with constants: those are in clear, and never equal to a hash.
    """
    sets = frozenset(column_sets.items())
    return list(trace.once(("writes", sets, ignored), lambda: _written_by(trace, column_sets, ignored)))


def _written_by(trace: Trace, column_sets: ColumnSets, ignored: Columns) -> list[WriteSeen]:
    references = tuple(
        Reference(
            key.table,
            key.columns,
            key.target,
            key.target_columns,
            key.on_delete.upper(),
            key.on_update.upper(),
        )
        for key in trace.schema.foreign_keys
    )
    reader = _Writes(trace, facts_of(trace), column_sets, ignored, references)
    return sorted(reader.transactions(_end_of(trace)), key=lambda write: (write.ended, write.transaction))


def _end_of(trace: Trace) -> int:
    moments = [request.returned for request in trace.requests]
    moments += [statement.ended for statement in trace.statements]
    moments += [transaction.ended for transaction in trace.transactions.values()]
    return max(moments, default=0)


def _reads(facts: StatementFacts, statement: StatementSeen, inexact: Columns) -> tuple[ReadSeen, ...]:
    found = [ReadSeen(read.table, _pinned(read, statement, inexact)) for read in facts.reads]
    if facts.unknown or facts.opaque:
        found.append(ReadSeen(UNKNOWN_TABLE))
    return tuple(found)


def _pinned(read: Read, statement: StatementSeen, inexact: Columns) -> dict[str, str]:
    """The pins that a tag can hold: not of columns that compare loosely, nor copied through one."""
    if statement.many > 1:
        return {}
    via = dict(read.via)
    pins = ((column, _read_value(operand, statement)) for column, operand in read.pinned)
    return {
        column: value
        for column, value in pins
        if value is not None
        and not any(origin in inexact for origin in ((read.table, column), *via.get(column, ())))
    }


def _read_value(operand: Operand, statement: StatementSeen) -> str | None:
    """The value of a pin of a read. Numbers that stand in the text of a statement are in clear."""
    match operand:
        case Bind(key):
            value = statement.binds.get(str(key))
            return None if value is None or value.kind == "n" else value.loose
        case Literal(constant):
            return canonical(constant)


def _written_value(operand: Operand | None, binds: Mapping[str, Value]) -> str | None:
    """The value a write pins or assigns; None where it cannot be compared with hashed values of reads."""
    match operand:
        case Bind(key):
            value = binds.get(str(key))
            return None if value is None else _known(value)
        case Literal(None):
            return NULL
        case Literal(str(text)) if _HASHED.match(text):
            return text
    return None


def _known(value: Value) -> str | None:
    return NULL if value.kind == "n" else value.loose


def _writes(facts: StatementFacts, ignored: Columns) -> bool:
    return facts.unknown or any(not spared(write, ignored) for write in facts.writes)


@dataclass(frozen=True, slots=True)
class _Writes:
    """Statements and row images of a trace, joined into what each transaction changed."""

    trace: Trace
    facts: Mapping[int, StatementFacts]
    column_sets: ColumnSets
    ignored: Columns
    references: tuple[Reference, ...]

    def transactions(self, last: int) -> Iterator[WriteSeen]:
        """All of them; `last` (ns) is the end of those whose end was not recorded."""
        statements: dict[int, list[StatementSeen]] = defaultdict(list)
        for statement in self.trace.statements:
            if not _writes(self.facts[statement.text], self.ignored):
                continue
            if statement.transaction:
                statements[statement.transaction].append(statement)
            else:
                yield self._autocommitted(statement)
        images: dict[int, list[ImageSeen]] = defaultdict(list)
        for image in self.trace.images:
            if image.transaction:
                images[image.transaction].append(image)
        for number in {**statements, **images}:
            yield self._transaction(number, statements[number], images[number], last)

    def _autocommitted(self, statement: StatementSeen) -> WriteSeen:
        began = statement.started
        tags = self._tags(self._changes([statement], ()))
        return WriteSeen(0, tags, began, began, statement.ended, committed=True, request=statement.request)

    def _transaction(
        self, number: int, statements: list[StatementSeen], images: list[ImageSeen], last: int
    ) -> WriteSeen:
        seen = self.trace.transactions.get(number)
        tags = self._tags(self._changes(statements, images))
        began = min((statement.started for statement in statements), default=seen.began if seen else last)
        if seen is None:
            request = next((statement.request for statement in statements), None)
            return WriteSeen(number, tags, began, last, last, committed=False, request=request)
        return WriteSeen(number, tags, began, seen.ending, seen.ended, seen.committed, seen.request)

    def _tags(self, changes: Iterable[Change]) -> frozenset[str]:
        inexact = self.trace.schema.inexact_columns
        tags: set[str] = set()
        for table, rows in changes:
            if table == UNKNOWN_TABLE:
                tags.add(EVERYTHING)
                continue
            exact = rows and [{c: v for c, v in row.items() if (table, c) not in inexact} for row in rows]
            tags |= write_tags(table, exact, self.column_sets)
        return frozenset(tags)

    def _spared(self, image: ImageSeen) -> bool:
        return (
            image.action == "update"
            and bool(image.changed)
            and all((image.table, column) in self.ignored for column in image.changed)
        )

    def _changes(
        self, statements: Iterable[StatementSeen], images: Collection[ImageSeen]
    ) -> Iterator[Change]:
        """Images where the unit of work gave them, else statements; and what the database cascades."""
        imaged = {image.table for image in images}
        for image in images:
            if self._spared(image):
                continue
            rows = tuple(_image_rows(image))
            yield image.table, rows
            if image.action == "delete":
                yield from cascades(self.references, image.table, rows)
            elif image.action == "update":
                yield from renames(self.references, image.table, image.changed)
        for statement in statements:
            facts = self.facts[statement.text]
            if facts.unknown:
                yield UNKNOWN_TABLE, None
            for write in facts.writes:
                if (statement.unit_of_work and write.table in imaged) or spared(write, self.ignored):
                    continue
                known = None if statement.unit_of_work else _statement_rows(write, statement)
                yield write.table, known
                yield from consequences(self.references, write, known)


def _image_rows(image: ImageSeen) -> Iterator[Row]:
    new = image.new or {}
    if image.old is not None:
        kept = {column: value for column, value in new.items() if column not in image.changed}
        yield {column: _known(value) for column, value in {**kept, **image.old}.items()}
    if image.new is not None:
        old = image.old or {}
        kept = {column: value for column, value in old.items() if column not in image.changed}
        yield {column: _known(value) for column, value in {**kept, **new}.items()}


def _statement_rows(write: Write, statement: StatementSeen) -> tuple[Row, ...] | None:
    """Old and new rows as far as the statement pins them, for each set of its binds; None for too many sets."""
    found: list[Row] = []
    for binds in statement.sets or ():
        rows = changed_rows(write, partial(_written_value, binds=binds))
        if rows is None:
            return None
        found += rows
    return tuple(found) if statement.sets is not None else None
