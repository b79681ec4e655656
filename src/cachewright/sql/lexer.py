"""A scanner that tells SQL code from what only looks like it: literals, quoted names, comments.

It knows as much of each family's quoting as is needed to find placeholders and statement ends: backslash
escapes in MySQL strings and PostgreSQL's `E''`, dollar quotes, nested comments, bracketed names.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache


class Family(enum.Enum):
    """Databases that quote alike."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"
    MYSQL = "mysql"
    OTHER = "other"


_FAMILIES = {
    "sqlite": Family.SQLITE,
    "postgresql": Family.POSTGRES,
    "cockroachdb": Family.POSTGRES,
    "mysql": Family.MYSQL,
    "mariadb": Family.MYSQL,
}


def family_of(dialect: str | None) -> Family:
    """Give the family of an SQLAlchemy dialect name."""
    return _FAMILIES.get(dialect or "", Family.OTHER)


class Kind(enum.Enum):
    """What a token is."""

    CODE = "code"
    SPACE = "space"
    LITERAL = "literal"
    NAME = "name"
    COMMENT = "comment"
    CONDITIONAL = "conditional"  # MySQL's /*! ... */, which the server executes
    PLACEHOLDER = "placeholder"
    PERCENT = "percent"  # %% of the printf-like parameter styles
    DASHES = "dashes"  # MySQL's --1, which is arithmetic
    END = "end"  # a semicolon


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the statement; `key` is what a placeholder carries (a number, a name or nothing)."""

    kind: Kind
    text: str
    key: str | None = None


PLACEHOLDERS = {
    "qmark": r"\?(?P<key>\d*)",
    "format": r"(?P<percent>%%)|%(?P<key>)s",
    "pyformat": r"(?P<percent>%%)|%(?:\((?P<key>[^)]*)\))?[sbt]",
    "named": r"(?<![:\w]):(?P<key>[A-Za-z_]\w*)",
    "numeric": r"(?<![:\w\]]):(?P<key>\d+)",
    "numeric_dollar": r"(?<![\w$])\$(?P<key>\d+)",
    "any": r"%%(?P<key>)|%(?:\([^)]*\))?s|\?\d*|(?<![:\w\]]):\w+|(?<![\w$])\$\d+",
}

PRINTF_STYLES = frozenset({"format", "pyformat"})

_PLAIN_STRING = r"'(?:[^']|'')*+'"
_ESCAPED_STRING = r"'(?:[^'\\]|\\.|'')*+'"


def _string(family: Family) -> str:
    match family:
        case Family.MYSQL:
            return rf"{_ESCAPED_STRING}|\"(?:[^\"\\]|\\.|\"\")*+\""
        case Family.POSTGRES | Family.OTHER:
            dollar = r"(?<![\w$])\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$"
            return rf"(?<![A-Za-z0-9_])[eE]{_ESCAPED_STRING}|{_PLAIN_STRING}|{dollar}"
        case Family.SQLITE:
            return _PLAIN_STRING


def _name(family: Family) -> str:
    double, back, bracket = r'"(?:[^"]|"")*+"', r"`(?:[^`]|``)*+`", r"\[[^\]]*\]"
    match family:
        case Family.MYSQL:
            return back
        case Family.SQLITE:
            return f"{double}|{back}|{bracket}"
        case Family.POSTGRES:
            return double
        case Family.OTHER:
            return f"{double}|{back}"


@lru_cache(maxsize=64)
def _pattern(style: str, family: Family) -> re.Pattern[str]:
    mysql = family is Family.MYSQL
    parts = [
        r"(?P<space>\s+)",
        r"(?P<line>--(?=\s|$)[^\n]*|\#[^\n]*)" if mysql else r"(?P<line>--[^\n]*)",
        r"(?P<dashes>--)" if mysql else r"(?P<dashes>(?!))",
        r"(?P<block>/\*)",
        rf"(?P<literal>{_string(family)})",
        rf"(?P<name>{_name(family)})",
        r"(?P<end>;)",
        rf"(?P<place>{PLACEHOLDERS[style]})",
    ]
    return re.compile("|".join(parts), re.DOTALL)


def tokens(sql: str, style: str, family: Family) -> Iterator[Token]:
    """Yield the pieces of `sql` in order; joined, they are `sql` again.

    `style` is a DBAPI parameter style, or `any`. Raises KeyError for a style that does not exist.
    """
    pattern = _pattern(style, family)
    at = 0
    while match := pattern.search(sql, at):
        if match.start() > at:
            yield Token(Kind.CODE, sql[at : match.start()])
        token = _comment(sql, match.start(), family) if match["block"] else _token(match)
        yield token
        at = match.start() + len(token.text)
    if at < len(sql):
        yield Token(Kind.CODE, sql[at:])


_GROUPS = (
    ("space", Kind.SPACE),
    ("line", Kind.COMMENT),
    ("dashes", Kind.DASHES),
    ("literal", Kind.LITERAL),
    ("name", Kind.NAME),
    ("end", Kind.END),
)


def _token(match: re.Match[str]) -> Token:
    for group, kind in _GROUPS:
        if match[group] is not None:
            return Token(kind, match[0])
    if match.groupdict().get("percent"):
        return Token(Kind.PERCENT, match[0])
    return Token(Kind.PLACEHOLDER, match[0], match["key"] or None)


_COMMENT_EDGE = re.compile(r"/\*|\*/")


def _comment(sql: str, start: int, family: Family) -> Token:
    depth, end = 1, len(sql)
    for edge in _COMMENT_EDGE.finditer(sql, start + 2):
        if edge[0] == "*/":
            depth -= 1
        elif family is Family.POSTGRES:
            depth += 1
        if depth == 0:
            end = edge.end()
            break
    text = sql[start:end]
    executed = family is Family.MYSQL and text.startswith(("/*!", "/*M!"))
    return Token(Kind.CONDITIONAL if executed else Kind.COMMENT, text)
