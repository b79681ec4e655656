"""What the eyes report: statements, images of written rows, ends of transactions. All times are monotonic ns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cachewright.sql.catalogue import Surmise

Action = Literal["insert", "update", "delete"]
#: What becomes of a driver's connection in the application's hands.
Escape = Literal["out", "committed", "back"]


class Unknown:
    """The one value `UNKNOWN`: a column of a written row whose value nobody saw."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(slots=True)
class Transaction:
    """A database transaction as its connection saw it.

    `written` (tags) is for the sink that turns writes into tags; it lives here because a transaction may outlive
    the request, the thread and the session that opened it. `mapped` are the tables that a session has written
    since its last flush, `unseen` those of which it gave no images (bulk operations). `id` 0 is autocommit.
    `doubtful` says that its end raised: a commit whose answer was lost may have happened, or happen yet.
    `database` is what the catalogue says of the database, where it was asked;
    `defined` says that a statement of the transaction may have changed that catalogue, `blind` that it began while
    another connection was reading it.
    """

    id: int
    began: int
    written: set[str] = field(default_factory=set)
    mapped: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)
    doubtful: bool = False
    database: Surmise | None = None
    defined: bool = False
    blind: bool = False

    def settle(self, imaged: Collection[str]) -> None:
        """A flush begins, or ended with images of these tables: what else was written stays unseen."""
        self.unseen |= self.mapped.difference(imaged)
        self.mapped.clear()


@dataclass(frozen=True, slots=True)
class Statement:
    """One execution on a cursor, as the driver was given it.

    `parameters` is the driver's own form (mapping or sequence; a list of these where `many`). `unit_of_work`
    marks SQL that a flush emitted for mapped objects: its rows are reported as images.
    """

    sql: str
    parameters: Any
    many: bool
    dialect: str
    paramstyle: str
    started: int
    ended: int
    rows: int
    unit_of_work: bool
    failed: bool
    autocommit: bool


@dataclass(frozen=True, slots=True)
class RowImage:
    """One row a flush wrote: values by lower-case column name after the column's bind processing.

    A value nobody saw is `UNKNOWN`; `old` is None for an insert, `new` for a delete.
    """

    table: str
    action: Action
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    changed: frozenset[str]
