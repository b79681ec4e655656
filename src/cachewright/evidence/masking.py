"""SQL texts without what people wrote into them: no comments, hashes for literals; they still parse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from cachewright.sql.lexer import PRINTF_STYLES, Family, Kind, Token, family_of, tokens

Literal = Callable[[str], str]

#: Literals that are words of SQL and not data. `'now'` makes a query depend on the time.
_WORDS = re.compile(
    r"(?:now|today|tomorrow|yesterday|utc|localtime|unixepoch|julianday|subsec(?:ond)?|auto|ceiling|floor|epoch"
    r"|infinity|(?:micro|milli)?seconds?|minute|hour|day|week|month|quarter|year|decade|century|(?:iso)?dow|doy"
    r"|isoyear|start of (?:day|month|year))\Z",
    re.IGNORECASE,
)
_PUNCTUATION = re.compile(r"[ -/:-@\[-`{-~]{1,4}\Z")
_JSON_PATH = re.compile(r"\$[.\[]")
_INTERVAL = re.compile(
    r"[+-]?\d{1,4}(?:\.\d{1,3})? ?(?:microsecond|millisecond|second|minute|hour|day|week|month|year)s?\Z"
)
_TIME_FORMAT = re.compile(r"(?:%[A-Za-z][-:/ .T]?){1,12}\Z")
_IDENTIFIER = re.compile(r"[\w$][\w$ .\-]{0,127}\Z")
_LONG_NUMBER = re.compile(r"(?<![\w.$:])\d{7,}(?!\w)|(?<=\d\.)\d{5,}(?!\w)")
_HEX_NUMBER = re.compile(r"(?<![\w$:])0[xX]([0-9a-fA-F]{3,})(?!\w)")
_UNFINISHED = re.compile(r"'|(?<![\w$])\$(?:[A-Za-z_]\w*)?\$")
_PRINTF = re.compile(r"%(?:\([^)]*\))?[sbt]")
#: The name of a setting is a name, wherever it stands.
_SETTING = re.compile(r"[A-Za-z_][\w.]{0,62}\Z")
_OF_SETTING = re.compile(r"\b(?:set_config|current_setting)\s*\(\s*\Z", re.IGNORECASE)
_PREFIX = re.compile(r"(?:^|[^\w$])([xXbB])\Z")


def masked(sql: str, dialect: str, paramstyle: str, literal: Literal) -> str:
    """`sql` with the content of each string literal replaced by `literal(content)` and without comments.

    Numbers stay, but those of seven digits and more (telephone and account numbers), long fractions (places) and
    hexadecimal ones become others of the same length. Placeholders keep their number and order.
    """
    family = family_of(dialect)
    style = paramstyle if paramstyle in _STYLES else "any"
    return "".join(
        _pieces(tokens(sql, style, family), family, literal, printf=style in PRINTF_STYLES)
    ).strip()


_STYLES = frozenset({"qmark", "format", "pyformat", "named", "numeric", "numeric_dollar"})


def _pieces(found: Iterator[Token], family: Family, literal: Literal, *, printf: bool) -> Iterator[str]:
    before = ""
    for token in found:
        text = token.text
        match token.kind:
            case Kind.LITERAL:
                hidden = _masked_literal(text, before, family, literal)
                text = text if hidden == text else hidden + _placeholders(text, printf=printf)
            case Kind.COMMENT:
                text = f" {_placeholders(text, printf=printf)}"
            case Kind.CONDITIONAL:  # a statement that the server may run is understood by nobody
                text = f"/*! {_placeholders(text, printf=printf)}*/"
            case Kind.NAME if text.startswith('"') and not _IDENTIFIER.match(text[1:-1]):
                text = f'"{literal(text[1:-1])}"'  # SQLite takes a name that it does not know for a text
            case Kind.CODE:
                text = _LONG_NUMBER.sub(lambda number: _other_number(number[0], literal), text)
                text = _HEX_NUMBER.sub(lambda number: f"0x{_other_digits(number[1], literal)}", text)
                text = _unfinished(text, literal)
            case _:
                pass
        before = text
        yield text


def _masked_literal(text: str, before: str, family: Family, literal: Literal) -> str:
    if text.startswith("$"):
        tag = text[: text.index("$", 1) + 1]
        return f"'{literal(text[len(tag) : -len(tag)])}'"
    opening, content = _opened(text, family)
    if not content:
        return text
    prefix = _PREFIX.search(before)
    if prefix:
        digest = literal(content).removeprefix("h")
        return f"'{digest}'" if prefix[1] in "xX" else f"'{int(digest[-2:], 16):08b}'"
    if _SETTING.match(content) and _OF_SETTING.search(before):
        return text
    if any(form.match(content) for form in (_WORDS, _INTERVAL, _TIME_FORMAT, _PUNCTUATION)):
        return text
    path = "$." if _JSON_PATH.match(content) else ""
    return f"{opening}'{path}{literal(content)}'"


def _opened(text: str, family: Family) -> tuple[str, str]:
    """What stands before the quote, and the content as the database reads it."""
    escaped = text[0] in "eE" or family is Family.MYSQL
    opening = text[0] if text[0] in "eE" else ""
    quote = text[len(opening)]
    content = text[len(opening) + 1 : -1].replace(quote * 2, quote)
    return opening, re.sub(r"\\(.)", r"\1", content, flags=re.DOTALL) if escaped else content


def _placeholders(text: str, *, printf: bool) -> str:
    """What a driver of a printf-like style counts even inside literals and comments."""
    kept = _PRINTF.findall(text) if printf else ()
    return f" /*{''.join(kept)}*/ " if kept else ""


def _other_number(number: str, literal: Literal) -> str:
    digits = str(int(literal(number).removeprefix("h"), 16)).rjust(len(number), "1")
    return digits[-len(number) :] if len(number) <= len(digits) else digits


def _other_digits(digits: str, literal: Literal) -> str:
    hidden = literal(digits).removeprefix("h")
    return (hidden * (len(digits) // len(hidden) + 1))[: len(digits)]


def _unfinished(text: str, literal: Literal) -> str:
    """A quote that nothing closes: what follows it may be data."""
    quote = _UNFINISHED.search(text)
    return text if quote is None else f"{text[: quote.start()]}'{literal(text[quote.end() :])}'"
