"""Which columns of an occurrence have one value in every row that can matter.

Three rules, each with its reason:

1. A top-level AND equality of WHERE, or of an inner join's ON, between a column and a value. A row that
   differs fails it in every combination, and where its presence keeps an outer join from filling in NULLs,
   those NULLs fail it too.
2. An equality of two columns in such a place copies a pin, either way.
3. In `a LEFT JOIN b ON a.x = b.y`, and from an outer query into a correlated subquery, a pin is copied
   inwards only: a row of `b` with another `y` meets only rows of `a` that are dropped anyway.

OR, NOT, ranges, functions, casts and collations of the column, IN with several values, RIGHT and FULL joins
and recursive queries pin nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from cachewright.sql.columns import owner
from cachewright.sql.facts import Operand
from cachewright.sql.operands import Operands, settles
from cachewright.sql.scopes import Match, Scope, Source

Cell = tuple[Source, str]
"""One column of one occurrence."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The value of a cell, and the columns it was copied through, origin first."""

    operand: Operand
    via: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Pinning:
    """The pins of all scopes of one statement; outer scopes have to be solved before inner ones."""

    operands: Operands
    pins: dict[Cell, Pin] = field(default_factory=dict)

    def solve(self, scope: Scope) -> None:
        """Add the pins of one scope."""
        if scope.loose:
            return
        inner = [match for match in scope.matches if not match.outer and not scope.exotic]
        certain = scope.where + [match.condition for match in inner]
        for condition in certain:
            for cell, value in self._values(scope, condition):
                if cell[0] in scope.sources:
                    self.pins.setdefault(cell, Pin(value))
        if not scope.exotic:
            self._copy(list(_copies(scope, certain)))

    def of(self, source: Source) -> dict[str, Pin]:
        """Give the pins of one occurrence by column, sorted."""
        found = {column: pin for (owned, column), pin in self.pins.items() if owned is source}
        return dict(sorted(found.items()))

    def _values(self, scope: Scope, condition: exp.Expr) -> Iterator[tuple[Cell, Operand]]:
        for one, other in _equal(condition):
            cell, value = _cell(scope, one), self.operands.read(other)
            if cell is not None and value is not None and settles(value):
                yield cell, value

    def _copy(self, edges: list[tuple[Cell, Cell]]) -> None:
        leaving: dict[Cell, list[Cell]] = {}
        for start, end in edges:
            leaving.setdefault(start, []).append(end)
        ready = deque(cell for cell in leaving if cell in self.pins)
        while ready:
            start = ready.popleft()
            pin = self.pins[start]
            for end in leaving.get(start, ()):
                if end not in self.pins:
                    assert start[0].table is not None
                    self.pins[end] = Pin(pin.operand, (*pin.via, (start[0].table, start[1])))
                    ready.append(end)


def _equal(condition: exp.Expr) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """Yield the two sides of an equality, both ways round; IN with exactly one plain element is one."""
    match condition:
        case exp.EQ():
            yield condition.this, condition.expression
            yield condition.expression, condition.this
        case exp.In(expressions=[exp.Placeholder() | exp.Literal() | exp.Cast() as element]):
            yield condition.this, element
        case _:
            return


def _cell(scope: Scope, node: exp.Expr) -> Cell | None:
    while isinstance(node, exp.Paren):
        node = node.this
    if not isinstance(node, exp.Column) or node.args.get("join_mark"):
        return None
    source = owner(scope, node)
    return None if source is None else (source, node.name.lower())


def _copies(scope: Scope, certain: list[exp.Expr]) -> Iterator[tuple[Cell, Cell]]:
    for condition in certain:
        for one, other in _equal(condition):
            start, end = _cell(scope, one), _cell(scope, other)
            # A cell of an outer query lends its pin and never gets one from here.
            if start and end and end[0] in scope.sources:
                yield start, end
    for match in scope.matches:
        if match.outer:
            yield from _inwards(scope, match)


def _inwards(scope: Scope, match: Match) -> Iterator[tuple[Cell, Cell]]:
    for one, other in _equal(match.condition):
        start, end = _cell(scope, one), _cell(scope, other)
        if start and end and start[0] in match.left and end[0] in match.right:
            yield start, end
