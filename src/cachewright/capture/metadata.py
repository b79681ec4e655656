"""The tables that the application's mapped classes declare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, MetaData, Table, event, types
from sqlalchemy.orm import Mapper, mapperlib

from cachewright.sql.names import table_name
from cachewright.sql.rows import Reference

#: A class was mapped; all that were are configured, and secondary tables known.
_MAPPED = ("after_mapper_constructed", "after_configured")


@dataclass(frozen=True, slots=True)
class Tables:
    """Columns and primary keys by table, foreign keys, and the columns of which statements do not tell enough."""

    columns: dict[str, tuple[str, ...]]
    primary_keys: dict[str, tuple[str, ...]]
    references: tuple[Reference, ...]
    inexact: frozenset[tuple[str, str]]


class DeclaredTables:
    """The declared tables, looked up again when classes were mapped since: SQLAlchemy says so, nothing is counted."""

    def __init__(self) -> None:
        self._known: tuple[int, Tables] | None = None
        self._changes = 0
        self._listens = False

    def __call__(self) -> Tables:
        """The tables as they are now; while it is not open they are looked up each time."""
        known, changes = self._known, self._changes
        if known is None or known[0] != changes or not self._listens:
            known = self._known = (changes, declared_tables())
        return known[1]

    def open(self) -> None:
        """Listen to SQLAlchemy."""
        if not self._listens:
            for name in _MAPPED:
                event.listen(Mapper, name, self._changed)
        self._changes += 1
        self._listens = True

    def close(self) -> None:
        """Stop listening."""
        if self._listens:
            for name in _MAPPED:
                event.remove(Mapper, name, self._changed)
        self._listens = False

    def _changed(self, *_: Any) -> None:
        self._changes += 1


def declared_tables() -> Tables:
    """What all mapped classes of the process declare, names in lower case."""
    tables = {
        table_name(table.schema, table.name): table
        for metadata in _all_metadata()
        for table in metadata.tables.values()
    }
    return Tables(
        columns={
            name: tuple(column.name.lower() for column in table.columns) for name, table in tables.items()
        },
        primary_keys={
            name: tuple(column.name.lower() for column in table.primary_key) for name, table in tables.items()
        },
        references=tuple(
            reference for name, table in tables.items() for reference in _references(name, table)
        ),
        inexact=frozenset(
            (name, column.name.lower())
            for name, table in tables.items()
            for column in table.columns
            if _is_inexact(column)
        ),
    )


def _all_metadata() -> list[MetaData]:
    found: dict[int, MetaData] = {}
    for registry in mapperlib._all_registries():  # noqa: SLF001 - the list of all registries has no public name
        found[id(registry.metadata)] = registry.metadata
        for mapper in registry.mappers:
            for table in mapper.tables:
                if isinstance(table, Table):
                    found[id(table.metadata)] = table.metadata
    return list(found.values())


def _references(name: str, table: Table) -> list[Reference]:
    return [
        Reference(
            table=name,
            columns=tuple(column.name.lower() for column in key.columns),
            target=_target_table(key.elements[0].target_fullname),
            target_columns=tuple(
                element.target_fullname.rpartition(".")[2].lower() for element in key.elements
            ),
            on_delete=(key.ondelete or "").upper(),
            on_update=(key.onupdate or "").upper(),
        )
        for key in table.foreign_key_constraints
    ]


def _target_table(fullname: str) -> str:
    schema, _, name = fullname.rpartition(".")[0].rpartition(".")
    return table_name(schema, name)


#: Types whose values are equal when their texts are, case, padding and the spellings of numbers apart.
_PLAIN = (types.Integer, types.String, types.Uuid, types.Boolean, types.Enum)
_PLAIN_COLLATIONS = ("BINARY", "NOCASE", "RTRIM", "C", "POSIX", "UCS_BASIC")


def _is_inexact(column: Column[object]) -> bool:
    """Whether a statement does not tell what this column holds.

    Two values whose texts differ in more than case and padding may be equal in it; the database computes it, or
    another column's name differs from its own in case alone.
    """
    if column.computed is not None or column.server_onupdate is not None:
        return True
    if [other.name.lower() for other in column.table.columns].count(column.name.lower()) > 1:
        return True
    kind: types.TypeEngine[Any] = column.type
    while isinstance(kind, types.TypeDecorator):
        kind = kind.impl_instance
    if not isinstance(kind, _PLAIN):
        return True
    collation = getattr(kind, "collation", None) or getattr(column.type, "collation", None)
    return collation is not None and collation.upper() not in _PLAIN_COLLATIONS
