"""What one SQL statement says about the data it reads and writes, as plain values.

An *occurrence* is one mention of a table in a FROM clause: a table joined with itself occurs twice. A
*pinned* column is one whose value is fixed for every row of an occurrence that can matter. The one promise on
which row tags stand: **changing, adding or removing a row of that occurrence that differs from a pinned value
never changes the result of the statement.** A pin that is missing only widens a dependency.

The values are what the statement says, not what the column stores. Before a row tag is made of a pin, whoever
knows the column has to see that its equality is equality of bytes (no case-insensitive collation, no
`citext`), that the bound value is a scalar of the column's own type (MySQL compares `name = 0` with every
text), and, for a copied pin, the same of every column in `Read.via`.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass

Action: typing.TypeAlias = typing.Literal["insert", "update", "delete", "any"]
Constant: typing.TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Bind:
    """The value of a placeholder: its position in one parameter set (from 0), or its name."""

    key: int | str


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant written into the statement."""

    value: Constant


Operand: typing.TypeAlias = Bind | Literal
Pins: typing.TypeAlias = tuple[tuple[str, Operand], ...]
Assigned: typing.TypeAlias = tuple[tuple[str, Operand | None], ...]


@dataclass(frozen=True, slots=True)
class Read:
    """One occurrence of a table in a reading position.

    `table` is lower-case, with its schema only where that is not the default one (see `names.table_name`).
    `pinned` is sorted by column. `columns` are those that the statement touches anywhere, None if unknown
    (`SELECT *`). `via` holds, for each pin that was copied through join equalities, the columns
    `(table, column)` it came through, origin first.
    """

    table: str
    pinned: Pins
    columns: frozenset[str] | None
    via: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """Rows of one table that the statement may add, change or remove.

    `pinned` (update, delete) holds for every affected row as it was before; further conditions only make
    the rows fewer. `assigned` (update) gives each SET column its operand, or None for an expression; a
    pinned column that is not assigned keeps its value. An update without `assigned` may have changed any
    column. `value_sets` (insert) has one such tuple for each row, in order; columns it does not name take
    a default. `whole` says that the statement does not tell the rows apart (upsert, INSERT ... SELECT, no
    pinned column, more than 200 rows).
    """

    table: str
    action: Action
    pinned: Pins = ()
    assigned: Assigned = ()
    value_sets: tuple[Assigned, ...] = ()
    whole: bool = False

    @property
    def changed(self) -> frozenset[str] | None:
        """The columns an update gives values; None for any."""
        return frozenset(column for column, _ in self.assigned) or None


@dataclass(frozen=True, slots=True)
class StatementFacts:
    """All that is known about one statement text.

    `unknown` means: treat it as a write to everything (not parsed, CALL, DDL, TRUNCATE). `harmless`
    means: it neither reads nor writes rows. `opaque` names functions that are not known to be built in:
    one written by the application's own hands may read or write any table. `time_binds` are all operands
    of comparisons, with the binds inside their expressions.
    `called` are the functions it calls, built in or not. `predicate_binds` are `(table or None,
    column, operand)` of each comparison of a column.
    """

    reads: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()
    unknown: bool = False
    harmless: bool = False
    nondeterministic: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    time_binds: tuple[Operand, ...] = ()
    predicate_binds: tuple[tuple[str | None, str, Operand], ...] = ()


UNKNOWN: typing.Final = StatementFacts(unknown=True)
HARMLESS: typing.Final = StatementFacts(harmless=True)
