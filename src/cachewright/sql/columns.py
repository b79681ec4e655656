"""Which table a column name belongs to, and which columns of a table a statement touches."""

from __future__ import annotations

from sqlglot import exp

from cachewright.sql.scopes import Scope, Source

PSEUDO = frozenset({"rowid", "oid", "_rowid_", "ctid", "xmin", "xmax", "tableoid", "rownum"})


def owner(scope: Scope, column: exp.Column) -> Source | None:
    """Give the table a column certainly belongs to, None where that is in doubt.

    A bare name is certain if exactly one source of its own scope declares it, or if the scope has a
    single source of unknown columns and there is nothing else that the name could mean (an outer column,
    a select alias). Declarations may lack columns that exist, so a bare name is never carried outwards.
    """
    name = column.name.lower()
    if column.table:
        found = _qualified(scope, column.table.lower())
        return found[0] if len(found) == 1 and _may_own(found[0], name) else None
    if scope.natural or name in scope.merged:
        return None
    declaring = [source for source in scope.sources if source.known and name in source.known]
    if declaring:
        return declaring[0] if len(declaring) == 1 else None
    only = scope.sources[0] if len(scope.sources) == 1 else None
    if only is None or scope.outer is not None or name in scope.aliases or name == only.alias:
        return None
    return only if _may_own(only, name) else None


def _may_own(source: Source, name: str) -> bool:
    if source.table is None or source.renamed:
        return False
    return name in source.known if source.known is not None else name not in PSEUDO


def _qualified(scope: Scope, alias: str) -> list[Source]:
    for level in scope.chain():
        if found := [source for source in level.sources if source.alias == alias]:
            return found
    return []


def touch(scope: Scope) -> None:
    """Note on the sources in reach of a scope which of their columns its own nodes touch."""
    for source in scope.sources:
        source.touched_all = source.touched_all or scope.natural or source.renamed
        source.touched |= scope.merged
    for node in scope.nodes:
        match node:
            case exp.Column():
                _touch_column(scope, node)
            case exp.Star() if not isinstance(node.parent, exp.Column) and not _only_counts(node):
                for source in scope.sources:
                    source.touched_all = True
            case _:
                pass


def _touch_column(scope: Scope, column: exp.Column) -> None:
    name = column.name.lower()
    sources = [source for level in scope.chain() for source in level.sources]
    if column.table:
        sources = _qualified(scope, column.table.lower()) or sources
    elif certain := owner(scope, column):
        sources = [certain]
    for source in sources:
        source.touched.add(name)
        # A table's name used as a value is its whole row, in PostgreSQL.
        if isinstance(column.this, exp.Star) or (not column.table and name == source.alias):
            source.touched_all = True


def _only_counts(star: exp.Star) -> bool:
    parent = star.parent
    return isinstance(parent, exp.Count) or (
        isinstance(parent, exp.Select) and isinstance(parent.parent, exp.Exists)
    )
