"""Whether a text certainly writes nothing, told without the parser: for where parsing would cost too much."""

from __future__ import annotations

import re

from cachewright.sql.functions import is_known
from cachewright.sql.lexer import Kind, family_of, tokens
from cachewright.sql.verbs import Verdict, judge

_READS = re.compile(r"\(*\s*(?:select|with|values|table)\b", re.IGNORECASE)
_WRITES = re.compile(
    r"\b(?:insert|update|delete|merge|into|call|exec(?:ute)?|create|drop|alter|truncate)\b", re.IGNORECASE
)
_CALL = re.compile(r"([A-Za-z_][\w$.]*)\s*\(")
_QUOTED_CALL = re.compile(r"[\"`\]]\s*\(")
#: Words that stand before a parenthesis and are no functions.
_WORDS = frozenset({
    "all", "and", "any", "as", "between", "by", "case", "cast", "char", "check", "decimal", "distinct",
    "else", "except", "exists", "filter", "from", "group", "having", "in", "inner", "intersect", "is",
    "join", "key", "lateral", "left", "like", "limit", "materialized", "not", "numeric", "offset", "on",
    "or", "over", "partition", "right", "select", "set", "some", "table", "then", "union", "unique",
    "using", "values", "varchar", "when", "where", "window", "with", "within",
})  # fmt: skip


def writes_nothing(sql: str, *, dialect: str, paramstyle: str) -> bool:
    """Whether `sql` changes no row; where that takes a closer look the answer is no."""
    statements = [""]
    try:
        for token in tokens(sql, paramstyle, family_of(dialect)):
            match token.kind:
                case Kind.CONDITIONAL:
                    return False
                case Kind.END:
                    statements.append("")
                case Kind.LITERAL:
                    statements[-1] += "''"
                case Kind.COMMENT | Kind.SPACE:
                    statements[-1] += " "
                case _:
                    statements[-1] += token.text
    except KeyError:  # a parameter style nobody has heard of
        return False
    return all(_harmless(code.strip()) for code in statements if code.strip())


def _harmless(code: str) -> bool:
    match judge(code):
        case Verdict.HARMLESS:
            return True
        case Verdict.UNKNOWN:
            return False
    return (
        _READS.match(code) is not None
        and _WRITES.search(_without_locks(code)) is None
        and _QUOTED_CALL.search(code) is None
        and all(_is_plain(name.lower()) for name in _CALL.findall(code))
    )


def _without_locks(code: str) -> str:
    """`FOR UPDATE` locks rows and leaves them as they are."""
    return re.sub(r"\bfor\s+(?:no\s+key\s+)?update\b", "", code, flags=re.IGNORECASE)


def _is_plain(name: str) -> bool:
    return name in _WORDS or is_known(name)
