"""DBAPI placeholders, rewritten to one form."""

from __future__ import annotations

from cachewright.sql.lexer import PRINTF_STYLES, Kind, Token, family_of, tokens

MARK = "cw"
"""A rewritten placeholder is `:cw0`, `:cw1`, ...: its index in the tuple of keys."""


def normalise(sql: str, paramstyle: str, *, dialect: str | None = None) -> tuple[str, tuple[int | str, ...]]:
    """Rewrite the placeholders of `paramstyle` to `:cw0`, `:cw1`, ... and give the key of each, in order.

    A key is a position in one parameter set (from 0), or a name. Literals, quoted names, comments, `::`
    casts and `%%` stay as they are. `dialect` is SQLAlchemy's name and settles how literals are quoted.
    Under `format` and `pyformat` a driver also counts a `%s` inside a literal or a comment: it is left
    alone here, but its position is used up. Raises KeyError if `paramstyle` is none of PEP 249's or
    `numeric_dollar`.
    """
    rewriter = Rewriter(paramstyle)
    text = "".join(rewriter.text_of(token) for token in tokens(sql, paramstyle, family_of(dialect)))
    return text, tuple(rewriter.keys)


class Rewriter:
    """Counts positions the way the driver does while the tokens pass by."""

    def __init__(self, paramstyle: str) -> None:
        self.keys: list[int | str] = []
        self._printf = paramstyle in PRINTF_STYLES
        self._numbers_from_one = paramstyle in {"qmark", "numeric", "numeric_dollar"}
        self._next = 0
        self._last = ""

    def text_of(self, token: Token) -> str:
        """Give the text of the next token, rewritten if it is a placeholder."""
        text = token.text
        if token.kind is Kind.PLACEHOLDER:
            # A colon right before (an array slice) would make a cast of it.
            text = f"{' ' if self._last.endswith(':') else ''}:{MARK}{len(self.keys)}"
            self.keys.append(self._key(token.key))
        elif self._printf and token.kind in {Kind.LITERAL, Kind.NAME, Kind.COMMENT}:
            self._next += text.replace("%%", "").count("%s")
        elif self._last.startswith(f":{MARK}") and text.startswith(":") and not text.startswith("::"):
            text = f" {text}"
        self._last = text
        return text

    def _key(self, written: str | None) -> int | str:
        if written is not None and not self._numbers_from_one:
            return written
        position = int(written) - 1 if written else self._next
        self._next = max(self._next, position + 1)
        return position
