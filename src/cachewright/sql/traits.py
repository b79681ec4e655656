"""What a statement is like besides what it touches: how repeatable, and which values it compares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from cachewright.sql.columns import owner
from cachewright.sql.facts import Operand
from cachewright.sql.functions import (
    MOMENT_WITHOUT_ARGUMENTS,
    RELATIVE_MOMENTS,
    SYNTAX,
    VOLATILE,
    VOLATILE_KINDS,
    is_known,
)
from cachewright.sql.operands import Operands
from cachewright.sql.scopes import Scope, children


@dataclass(frozen=True, slots=True)
class Compared:
    """An operand of a comparison; `column` is one on another side of it, `table` its owner, if known."""

    operand: Operand
    column: str | None = None
    table: str | None = None


def nondeterministic(root: exp.Expr) -> Iterator[str]:
    """Yield names of what may answer differently on unchanged tables: clocks, dice, sessions, sequences."""
    for node in root.walk():
        match node:
            case exp.Literal(is_string=True) if _moves(node):
                yield f"'{node.this.lower()}'"
            case exp.Parameter() | exp.SessionParameter():
                yield f"@{node.name.lower()}"
            case exp.TableSample() | exp.Lock() | exp.Table():
                yield from _moving_rows(node)
            case exp.Column() if not node.table and not node.this.args.get("quoted"):
                if node.name.lower() in {"current_role", "session_user", "current_user", "sysdate"}:
                    yield node.name.lower()
            case exp.Func():
                name = _function_name(node)
                bare = not any(True for _ in children(node, but=("this",) if _is_anonymous(node) else ()))
                volatile = name in VOLATILE or type(node).__name__ in VOLATILE_KINDS
                if volatile or (bare and name.replace("_", "") in _BARE_MOMENTS):
                    yield name
            case _:
                pass


_CATALOGUES = frozenset({"information_schema", "mysql", "performance_schema", "pg_catalog", "sys"})
_CATALOGUE_NAME = re.compile(r"(?:pg_(?!trgm)|sqlite_(?:master|schema|temp|stat|sequence))")


def _is_catalogue(table: exp.Table) -> bool:
    """Whether the database fills a table itself, unseen."""
    return table.db.lower() in _CATALOGUES or _CATALOGUE_NAME.match(table.name.lower()) is not None


def _moving_rows(node: exp.TableSample | exp.Lock | exp.Table) -> Iterator[str]:
    match node:
        case exp.TableSample():
            yield "tablesample"
        case exp.Lock() if node.args.get("wait") is False:  # what others hold is left out
            yield "skip locked"
        case exp.Table() if _is_catalogue(node):
            yield node.name.lower()


_BARE_MOMENTS = frozenset(name.replace("_", "") for name in MOMENT_WITHOUT_ARGUMENTS)


def opaque(root: exp.Expr) -> Iterator[str]:
    """Yield names of functions that are not known to be built in.

    The parser knows functions of databases this one is not: `search(…)` has a class of its own, and may be
    the application's.
    """
    for node in root.find_all(exp.Func):
        names = [_function_name(node)] if _is_anonymous(node) else [name.lower() for name in node.sql_names()]
        kind = type(node).__name__
        if kind not in SYNTAX and kind not in VOLATILE_KINDS and not any(map(is_known, names)):
            yield names[0]


def called(root: exp.Expr) -> Iterator[str]:
    """Yield the names of all functions, as far as possible as they were written."""
    for node in root.find_all(exp.Func):
        yield str(node.meta.get("name") or _function_name(node)).lower()


def _is_anonymous(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous | exp.AnonymousAggFunc)


def _function_name(node: exp.Func) -> str:
    return node.name.lower() if _is_anonymous(node) else node.sql_name().lower()


def _moves(node: exp.Literal) -> bool:
    text = node.this.strip().lower()
    return text == "now" or (text in RELATIVE_MOMENTS and isinstance(node.parent, exp.Cast))


def compared(scope: Scope, operands: Operands) -> Iterator[Compared]:
    """Yield each operand of the scope's comparisons, by itself and with each column on another side."""
    for node in scope.nodes:
        if not isinstance(node, exp.Predicate) or isinstance(node, exp.SubqueryPredicate):
            continue
        if isinstance(node.parent, exp.Update | exp.OnConflict):
            continue  # an assignment
        sides = list(children(node))
        values = [list(_values(side, operands)) for side in sides]
        for place, side in enumerate(sides):
            yield from map(Compared, values[place])
            for column in _within(side, exp.Column):
                assert isinstance(column, exp.Column)
                source = owner(scope, column)
                table = source.table if source else None
                for at, found in enumerate(values):
                    if at != place:
                        yield from (Compared(value, column.name.lower(), table) for value in found)


def _values(side: exp.Expr, operands: Operands) -> Iterator[Operand]:
    direct = operands.read(side)
    if direct is not None:
        yield direct
        return
    for node in _within(side, exp.Placeholder):
        bind = operands.read(node)
        if bind is not None:
            yield bind


def _within(side: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """Yield nodes of a kind, not looking into queries."""
    open_nodes = [side]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, kind):
            yield node
        elif not isinstance(node, exp.Query):
            open_nodes += reversed(list(children(node)))
