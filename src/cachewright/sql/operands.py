"""Which expressions stand for one value that is known from the statement and its parameters."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cachewright.sql.facts import Bind, Literal, Operand
from cachewright.sql.lexer import Family
from cachewright.sql.placeholders import MARK

_FAITHFUL_CASTS = frozenset({"BIGINT", "BOOLEAN", "INT", "SMALLINT", "TEXT", "UUID", "VARCHAR"})


@dataclass(frozen=True, slots=True)
class Operands:
    """Reads operands of one statement text, whose placeholders are `:cw0`, `:cw1`, ... into `keys`.

    `printf` says that the driver treats `%` specially, also inside literals.
    """

    keys: tuple[int | str, ...]
    family: Family
    printf: bool

    def read(self, node: object) -> Operand | None:
        """Give the operand that an expression is, or None.

        A literal with a backslash, or with a `%` that a driver may have rewritten, is not surely what
        it looks like.
        """
        match node:
            case exp.Paren():
                return self.read(node.this)
            case exp.Placeholder():
                return self._bind(node)
            case exp.Cast() if type(node) is exp.Cast:
                return self._cast(node)
            case _:
                return self._constant(node)

    def _constant(self, node: object) -> Literal | None:
        match node:
            case exp.Literal(is_string=True):
                odd = "\\" in node.this or (self.printf and "%" in node.this)
                return None if odd else Literal(node.this)
            case exp.Literal():
                return _number(node.this, sign=1)
            case exp.Neg(this=exp.Literal(is_string=False) as digits):
                return _number(digits.this, sign=-1)
            case exp.Boolean() | exp.Null():
                return Literal(None if isinstance(node, exp.Null) else bool(node.this))
            case _:
                return None

    def _bind(self, node: exp.Placeholder) -> Bind | None:
        index = node.name.removeprefix(MARK)
        if not node.name.startswith(MARK) or not index.isdecimal() or int(index) >= len(self.keys):
            return None
        return Bind(self.keys[int(index)])

    def _cast(self, node: exp.Cast) -> Operand | None:
        """Look through the casts with which PostgreSQL's drivers name the type of a bind.

        Only those of unlimited width and no rounding: `$1::VARCHAR(3)` may cut, `$1::DATE` may round.
        """
        kind = node.to
        faithful = kind.this.value in _FAITHFUL_CASTS and not kind.expressions
        if self.family is Family.POSTGRES and faithful and isinstance(node.this, exp.Placeholder):
            return self._bind(node.this)
        return None


def _number(digits: str, *, sign: int) -> Literal | None:
    try:
        return Literal(sign * int(digits))
    except ValueError:
        pass
    try:
        return Literal(sign * float(digits))
    except ValueError:
        return None


def settles(operand: Operand | None) -> bool:
    """Whether equality with this operand leaves a column one value: NULL equals nothing, fractions round."""
    match operand:
        case Bind():
            return True
        case Literal(value=value):
            return isinstance(value, str | int)
        case None:
            return False
