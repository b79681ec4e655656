"""One name for one table, however a statement or the metadata spells it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

DEFAULT_SCHEMAS = frozenset({"", "public", "main", "dbo"})


def table_name(schema: str | None, name: str) -> str:
    """Give the name that facts, tags and metadata share.

    Lower-case, with the schema only where that is not the default: `public` (PostgreSQL), `main` (SQLite)
    and `dbo` (SQL Server) are.
    """
    prefix = (schema or "").lower()
    return name.lower() if prefix in DEFAULT_SCHEMAS else f"{prefix}.{name.lower()}"


class Schema:
    """Tables and their columns as the application declares them, looked up without regard to case.

    Declared names are `table` or `schema.table`, as SQLAlchemy's `Table.fullname` has them.
    """

    def __init__(self, declared: Mapping[str, Collection[str]] | None) -> None:
        self._columns: dict[str, Collection[str]] = {}
        self._by_last: dict[str, list[str]] = {}
        for full, columns in (declared or {}).items():
            schema, _, last = full.rpartition(".")
            name = table_name(schema, last)
            self._columns[name] = columns
            self._by_last.setdefault(last.lower(), []).append(name)

    def resolve(self, schema: str, name: str) -> str:
        """Name a table that a statement mentions.

        A spelling that the metadata lacks is taken for the one table of the same last name that it
        has: a search path, a current database or a translated schema hides behind it. Two tables
        under one name only widen.
        """
        written = table_name(schema, name)
        if written in self._columns:
            return written
        same = self._by_last.get(name.lower(), [])
        bare = name.lower()
        if bare in same:
            return bare
        return same[0] if len(same) == 1 else written

    def columns(self, table: str) -> frozenset[str] | None:
        """Columns of a resolved table in lower case, None if it was not declared."""
        declared = self._columns.get(table)
        return None if declared is None else frozenset(column.lower() for column in declared)
