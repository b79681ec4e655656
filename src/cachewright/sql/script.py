"""A text as the parser gets it: statements apart, placeholders rewritten, nothing idle in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cachewright.sql.lexer import Kind, family_of, tokens
from cachewright.sql.placeholders import MARK, Rewriter

LONGEST_LIST = 200
"""Plain elements kept after IN or VALUES, besides the last: no fact needs more, parsing them takes long."""


@dataclass(frozen=True, slots=True)
class Script:
    """Statements without comments and with single spaces, and the keys of all their placeholders.

    `conditional` tells of MySQL comments that the server executes.
    """

    statements: tuple[str, ...]
    keys: tuple[int | str, ...]
    conditional: bool


def script(sql: str, paramstyle: str, *, dialect: str | None = None) -> Script:
    """Reduce a text to a script; texts that differ only in comments and white space give equal ones.

    Placeholders become what `placeholders.normalise` makes of them, and `%%` outside of literals the `%`
    that the database sees. Raises KeyError for an unknown `paramstyle`.
    """
    rewriter = Rewriter(paramstyle)
    statements: list[str] = []
    parts: list[str] = []
    conditional = False
    longest_literal = 0
    for token in tokens(sql, paramstyle, family_of(dialect)):
        text = rewriter.text_of(token)
        match token.kind:
            case Kind.END:
                statements.append("".join(parts).strip())
                parts = []
            case Kind.SPACE | Kind.COMMENT | Kind.CONDITIONAL:
                conditional = conditional or token.kind is Kind.CONDITIONAL
                if parts and parts[-1] != " ":
                    parts.append(" ")
            case Kind.PERCENT:
                parts.append("%")
            case Kind.DASHES:
                parts.append("- -")
            case Kind.LITERAL:
                longest_literal = max(longest_literal, len(text))
                parts.append(text)
            case _:
                parts.append(text)
    statements.append("".join(parts).strip())
    if longest_literal < 2 * LONGEST_LIST:  # too short to look like a long list from inside
        statements = [_shortened(text) for text in statements]
    return Script(tuple(text for text in statements if text), tuple(rewriter.keys), conditional)


_TYPE = r"(?:::[A-Za-z][\w ]*+(?:\(\d+(?:, ?\d+)?\))?(?:\[\])?)?"
_PLAIN = rf"(?:(?::{MARK}\d++{_TYPE}|-?\d++(?:\.\d++)?|(?:null|default|true|false)\b) ?)"
_TUPLE = rf"(?:\( ?{_PLAIN}(?:, ?{_PLAIN})*+\) ?)"


def _long(head: str, element: str) -> re.Pattern[str]:
    kept = rf"(\b{head} ?(?:{element}, ?){{{LONGEST_LIST}}})"
    return re.compile(rf"{kept}(?:{element}, ?)++({element})", re.IGNORECASE)


_LONG_LISTS = (_long(r"IN ?\(", _PLAIN), _long("VALUES", _TUPLE))


def _shortened(statement: str) -> str:
    for pattern in _LONG_LISTS:
        statement = pattern.sub(r"\1\2", statement)
    return statement
