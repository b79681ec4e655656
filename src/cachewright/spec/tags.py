"""Tags: names for the sets of data an entry depends on.

`tasks(user_id=7)` some rows, `tasks#bulk` rows nobody could pin, `tasks` any row. A reader that knows which
rows it read holds the row tag and `#bulk`; one that does not holds the table. A write changes the table and,
in addition, the row tags of its old and new values, or `#bulk` where they are not known.

Values are compared in a *coarse* canonical form (case, padding, spelling of numbers and UUIDs are ignored):
two values that a database may hold equal always meet in one tag. Merging more than the database would only
invalidates more; the reverse would be a stale answer.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from cachewright.spec.keys import escape

_NUMBER = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?\Z")
_OTHER_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?e[+-]?\d+|0b[01_]+|0o[0-7_]+|0x[\da-f_]+|\d[\d_]*_\d+)\Z")
_HEX = re.compile(r"[0-9a-f]{32}\Z")
_TEMPLATE = re.compile(r"\s*(?P<table>[^\s(){}#=,]+)\s*(?:\((?P<columns>[^()]*)\))?\s*\Z")
_LEARNED, _HASHED = "{*}", "{*hashed}"
_DISGUISED = re.compile(r"~[\da-f]{32}\Z")
_LONGEST = 64
_LARGEST = 10**40

#: What PostgreSQL reads as a boolean, abbreviations included.
_TRUE = frozenset({"on", *("true"[:end] for end in range(1, 5)), *("yes"[:end] for end in range(1, 4))})
_FALSE = frozenset({"of", "off", "n", "no", *("false"[:end] for end in range(1, 6))})

NAMESPACE_TAG = "ns"
#: The table of what a session was told: reads of it are what row-level security depends on.
SETTINGS = "pg_settings"
#: What the tag of a single key begins with; only the entry of that key holds it.
KEY_TAG = "key:"
#: NULL in an image of a row: known, and equal to no value that a read could pin.
NULL = "%null"

ColumnSets = Mapping[str, frozenset[tuple[str, ...]]]


class TagTemplateError(ValueError):
    """A tag template that has no meaning; the message says what is allowed."""


def target_tag(name: str) -> str:
    """The tag of every entry of one target."""
    return f"target:{escape(name)}"


def credential_tag(credential: str) -> str:
    """The tag of all that one credential (its hash) was given or accepted for."""
    return f"cred:{credential}"


def table_tag(table: str) -> str:
    """Any row of `table`."""
    return table


def bulk_tag(table: str) -> str:
    """Rows of `table` that a write changed without saying which."""
    return f"{table}#bulk"


def table_of(tag: str) -> str:
    """The table tag that a tag of data belongs to."""
    return re.split(r"[(#]", tag, maxsplit=1)[0]


def word_tag(table: str) -> str:
    """The tag that changes with rows of `table` that somebody invalidates by name, without the table."""
    return f"{table}#word"


def row_tag(table: str, values: Mapping[str, str]) -> str:
    """The rows of `table` with these (canonical) values; columns are sorted, values escaped."""
    inside = ",".join(f"{column}={escape(values[column])}" for column in sorted(values))
    return f"{table}({inside})"


def canonical(value: Any) -> str | None:  # noqa: PLR0911 - one line for each kind of value
    """The coarse form of a value in a tag, or None where equality in the database is not known well enough.

    `7`, `'7'`, `'07'` and `7.0` meet; so do `True` and `1`, the spellings of a UUID, and texts that differ in
    case, padding, accents or Unicode form. Dates, fractions, bytes and containers have none.
    """
    match value:
        case Enum():
            return canonical(value.value)
        case bool():
            return str(int(value))
        case int():
            return str(value) if abs(value) < _LARGEST else None
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < _LARGEST else None
        case Decimal():
            whole = value.is_finite() and abs(value) < _LARGEST and value == value.to_integral_value()
            return str(int(value)) if whole else None
        case UUID():
            return _canonical_text(value.hex)
        case str():
            return _canonical_text(value)
    return None


def _canonical_text(value: str) -> str | None:
    decomposed = unicodedata.normalize("NFKD", value)
    text = "".join(sign for sign in decomposed if not unicodedata.combining(sign)).casefold().strip()
    if _HEX.match(hexadecimal := text.strip("{}").replace("-", "")):
        text = hexadecimal
    number = _NUMBER.match(text)
    if number and len(text) <= _LONGEST:
        sign, digits = number.groups()
        return f"-{digits}" if sign == "-" and digits.strip("0") else digits
    if _OTHER_NUMBER.match(text):  # a database may read it as an integer
        return None
    if text in _TRUE or text in _FALSE:
        return str(int(text in _TRUE))
    if len(text) > _LONGEST:
        return f"~{hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
    return text


@dataclass(frozen=True, slots=True)
class Source:
    """Where a column of a tag template takes its value: a field of the driver, or a constant."""

    name: str | None
    constant: str | None = None
    learned: bool = False
    hashed: bool = False

    def __str__(self) -> str:
        if self.learned:
            return _HASHED if self.hashed else _LEARNED
        return str(self.constant) if self.name is None else f"{{{self.name}}}"


@dataclass(frozen=True, slots=True)
class TagTemplate:
    """`tasks(user_id={user_id})`, `settings(key=theme)` or `tasks`: an item of `depends_on`.

    In `comments(article_id={*})` no request shows the value: it is learned from the SQL of each load.
    """

    table: str
    columns: tuple[tuple[str, Source], ...] = ()

    @classmethod
    def parse(cls, text: str) -> TagTemplate:
        """Parse one item of `depends_on`. Raises `TagTemplateError`."""
        found = _TEMPLATE.match(text)
        if not found:
            raise TagTemplateError(f"{text!r} is no tag: write table, or table(column={{field}},…)")
        inside = found["columns"]
        if inside is None:
            return cls(found["table"].lower())
        columns = sorted((_column(text, item) for item in inside.split(",")), key=lambda column: column[0])
        if len({column for column, _ in columns}) < len(columns):
            raise TagTemplateError(f"{text!r} names a column twice")
        if len({source.learned for _, source in columns}) > 1:
            raise TagTemplateError(f"{text!r} mixes {_LEARNED} with other values: learn all of them, or none")
        return cls(found["table"].lower(), tuple(columns))

    def __str__(self) -> str:
        if not self.columns:
            return self.table
        return f"{self.table}({','.join(f'{column}={source}' for column, source in self.columns)})"

    @property
    def learned(self) -> bool:
        """Whether its values come from the SQL of a load."""
        return any(source.learned for _, source in self.columns)

    def bind(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The tags of this template for these values: the row tag and `#bulk`, or the any-row tag.

        Nothing is known of a `learned` one before a load.
        """
        bound: dict[str, str] = {}
        for column, source in self.columns:
            if source.learned:
                return (table_tag(self.table),)
            value = source.constant if source.name is None else canonical(values.get(source.name))
            if value is None:
                return (table_tag(self.table),)
            bound[column] = value
        if not bound:
            return (table_tag(self.table),)
        return (row_tag(self.table, bound), bulk_tag(self.table))


def _column(text: str, item: str) -> tuple[str, Source]:
    column, equals, value = (part.strip() for part in item.partition("="))
    if not column or not equals or not value:
        raise TagTemplateError(f"{text!r}: write table(column={{field}}) or table(column=constant)")
    if value in (_LEARNED, _HASHED):
        return column.lower(), Source(None, learned=True, hashed=value == _HASHED)
    if value.startswith("{") and value.endswith("}") and len(value) > 2:
        return column.lower(), Source(value[1:-1].strip())
    if "{" in value or "}" in value:
        raise TagTemplateError(f"{text!r}: a field is written {{name}} and stands alone")
    return column.lower(), Source(None, canonical(value.strip("'\"")))


def column_sets(templates: Iterable[TagTemplate]) -> dict[str, frozenset[tuple[str, ...]]]:
    """For each table the sets of columns some row tag uses; every writer must know all of them."""
    sets: dict[str, set[tuple[str, ...]]] = {}
    for template in templates:
        if template.columns:
            sets.setdefault(template.table, set()).add(tuple(column for column, _ in template.columns))
    return {table: frozenset(found) for table, found in sets.items()}


def read_alternatives(table: str, pinned: Mapping[str, str], sets: ColumnSets) -> frozenset[str]:
    """The tags any one of which covers a read of `table` whose rows all have the `pinned` values."""
    rows = {
        row_tag(table, {column: pinned[column] for column in columns})
        for columns in sets.get(table, ())
        if all(column in pinned for column in columns)
    }
    return frozenset({table_tag(table), *rows})


def write_tags(
    table: str, images: Iterable[Mapping[str, str | None]] | None, sets: ColumnSets
) -> frozenset[str]:
    """The tags a write to `table` changes.

    `images` are the old and new rows as far as known, canonical values by column; a column that is absent or
    None in an image is unknown there. `images=None`: nothing is known about the rows.
    """
    tags = {table_tag(table)}
    known = list(images) if images is not None else None
    for columns in sets.get(table, ()):
        if known is None or any(image.get(column) is None for image in known for column in columns):
            tags.add(bulk_tag(table))
        else:
            tags.update(row_tag(table, {c: str(image[c]) for c in columns}) for image in known)
    if known is None:
        tags.add(bulk_tag(table))
    return frozenset(tags)


def hashed_value(value: str) -> str:
    """What stands in a tag in place of a canonical value that is a secret."""
    return f"~{hashlib.blake2b(value.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def disguised(
    table: str, row: Mapping[str, str | None], hashed: frozenset[tuple[str, str]]
) -> dict[str, str | None]:
    """`row` of `table` as tags may show it: values of the `hashed` columns are secrets."""
    return {
        column: hashed_value(value)
        if value is not None and value != NULL and (table, column) in hashed
        else value
        for column, value in row.items()
    }


def disguised_tag(tag: str, hashed: frozenset[tuple[str, str]]) -> str:
    """`tag` as somebody names it, with the secrets in it hashed; its table where it cannot be told what they are."""
    table, _, inside = tag.partition("(")
    table = table.strip().lower()
    if not _is_row(tag) or all(named != table for named, _ in hashed):
        return tag
    shown: dict[str, str] = {}
    for pair in inside[:-1].split(","):
        column, _, value = (part.strip() for part in pair.partition("="))
        if (table, column.lower()) in hashed and not _DISGUISED.match(value):
            plain = None if "%" in value else canonical(value)
            value = "" if plain is None else hashed_value(plain)
        if not value:
            return table_tag(table)
        shown[column.lower()] = value
    return f"{table}({','.join(f'{column}={shown[column]}' for column in sorted(shown))})"


def with_words(tags: Iterable[str]) -> tuple[str, ...]:
    """`tags`, with a word of every row that is named without its table, as no write of the database does."""
    wanted = dict.fromkeys(tags)
    tables = dict.fromkeys(tag.partition("(")[0] for tag in wanted if _is_row(tag))
    return rows_last(dict.fromkeys((*wanted, *(word_tag(table) for table in tables if table not in wanted))))


def rows_last(tags: Iterable[str]) -> tuple[str, ...]:
    """`tags` with those of rows at the end.

    Whoever sees the new token of a row has a new token of its table, or of its word, to see: `learning` rests on
    that order.
    """
    return tuple(sorted(tags, key=_is_row))


def _is_row(tag: str) -> bool:
    return tag.endswith(")") and "(" in tag and ":" not in tag.partition("(")[0]
