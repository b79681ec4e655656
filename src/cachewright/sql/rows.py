"""From what a statement says to the rows it changed: old and new values, as far as they are known.

The values themselves come from whoever knows the binds: canonical texts while an application runs, hashes in a
trace. A column that is missing or None in a row is unknown there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from cachewright.spec.tags import NULL
from cachewright.sql.facts import Assigned, Operand, Write

Row = Mapping[str, str | None]
#: A table and the rows of it that changed, old and new; None where nothing is known about them.
Change = tuple[str, "tuple[Row, ...] | None"]
ValueOf = Callable[[Operand | None], str | None]
#: What a foreign key does to the rows that point to one that goes or changes.
_MOVES = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: `table.columns` point to `target.target_columns`; its actions are upper case or empty."""

    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    on_delete: str
    on_update: str = ""


def changed_rows(write: Write, value_of: ValueOf) -> tuple[Row, ...] | None:
    """Old and new rows of one execution with one set of binds; None where the statement tells nothing."""
    if write.whole:
        return None
    pinned = {column: value_of(operand) for column, operand in write.pinned}
    match write.action:
        case "insert":
            return tuple(_row(values, value_of) for values in write.value_sets) or None
        case "delete":
            return (pinned,)
        case "update":
            return (pinned, {**pinned, **_row(write.assigned, value_of)} if write.assigned else {})
    return None


def _row(assigned: Assigned, value_of: ValueOf) -> Row:
    return {column: value_of(operand) for column, operand in assigned}


def cascades(
    references: Iterable[Reference],
    table: str,
    rows: tuple[Row, ...] | None,
    above: frozenset[str] = frozenset(),
) -> Iterator[Change]:
    """What deleting these rows of `table` makes the database change elsewhere, as foreign keys declare."""
    known = tuple(references)
    for key in known:
        if key.target != table or key.on_delete not in _MOVES:
            continue
        children = None if rows is None or key.table in above else tuple(_child_rows(key, rows))
        yield key.table, children
        if key.on_delete == "CASCADE" and key.table not in above:
            yield from cascades(known, key.table, children, above | {table, key.table})


def renames(
    references: Iterable[Reference],
    table: str,
    changed: Collection[str] | None,
    above: frozenset[str] = frozenset(),
) -> Iterator[Change]:
    """What new values in the `changed` columns of `table` make the database change elsewhere.

    `changed` is None where any column may have changed. Keys hardly ever change: no rows are told apart.
    """
    known = tuple(references)
    for key in known:
        touched = changed is None or not set(changed).isdisjoint(key.target_columns)
        if key.target == table and touched and key.on_update in _MOVES:
            yield key.table, None
            if key.table not in above:
                yield from renames(known, key.table, key.columns, above | {table, key.table})


def consequences(
    references: Iterable[Reference], write: Write, rows: tuple[Row, ...] | None
) -> Iterator[Change]:
    """What the database changes elsewhere because of one write, as foreign keys declare."""
    known = tuple(references)
    if write.action in ("delete", "any"):
        yield from cascades(known, write.table, rows)
    if write.action in ("update", "any"):
        yield from renames(known, write.table, [column for column, _ in write.assigned] or None)


def _child_rows(key: Reference, rows: Iterable[Row]) -> Iterator[Row]:
    columns = tuple(zip(key.columns, key.target_columns, strict=True))
    for row in rows:
        yield {column: row.get(target) for column, target in columns}
        match key.on_delete:
            case "SET NULL":
                yield dict.fromkeys(key.columns, NULL)
            case "SET DEFAULT":
                yield {}


def spared(write: Write, ignored: frozenset[tuple[str, str]]) -> bool:
    """Whether an update assigns nothing but columns whose writes the specification ignores."""
    return (
        write.action == "update"
        and bool(write.assigned)
        and all((write.table, column) in ignored for column, _ in write.assigned)
    )
