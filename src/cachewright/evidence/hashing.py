"""Keyed hashes of values: equal where the application or its database would find them equal.

The key is random for each recording and is never written, so a hash cannot be looked up in a table of
guesses.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from cachewright.evidence.trace import Hash, Value
from cachewright.spec.tags import NULL, canonical

_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?\Z"
    r"|\d\d:\d\d:\d\d(?:\.\d{1,9})?\Z"
)
_INTEGER = re.compile(r"[+-]?\d{1,80}\Z")
_FRACTION = re.compile(r"[+-]?(?:\d{1,80}(?:\.\d{0,80})?|\.\d{1,80})(?:[eE][+-]?\d{1,4})?\Z")
#: The interpreter refuses to write integers of thousands of digits; no column holds more bits than this.
_LARGEST_INTEGER_BITS = 1024
_REMEMBERED = 20_000
_LONGEST_REMEMBERED = 200
_SIZE = 8


@dataclass(frozen=True, slots=True)
class Long:
    """What stands for a text or bytes too long to wait in memory: its digest."""

    digest: Hash


class Hasher:
    """Turns values into `Value`s with one key. Texts, integers and booleans meet across their spellings.

    Not thread-safe beyond what the interpreter gives: the cache of known values may be filled twice.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key[: hashlib.blake2b.MAX_KEY_SIZE]
        self._known: dict[tuple[type, Any, str | None, bool], Value] = {}

    def value(self, value: Any, column_kind: str | None = None) -> Value:
        """The hashes of a value of a request or of a bind.

        `column_kind` is the kind of `Value` that is expected where the value is a text that can be read so
        (`i` for the text of an integer parameter).
        """
        return self._remembered(value, column_kind, in_row=False)

    def column(self, value: Any) -> Value:
        """The hashes of a value in the image of a row: as `value`, and NULL meets NULL."""
        return self._remembered(value, None, in_row=True)

    def text(self, text: str, *, loose: bool = False) -> Hash:
        """The hash of a text; `loose` hashes are a family of their own."""
        return self._digest(text.encode("utf-8", "surrogatepass"), b"loose" if loose else b"exact")

    def literal(self, text: str) -> Hash:
        """What stands in SQL in the place of the text of a literal: meets the `loose` of equal values."""
        found = self.value(text)
        return found.loose or found.exact

    def secret(self, material: bytes) -> Hash:
        """The hash of a credential."""
        return self._digest(material, b"secret")

    def check(self) -> Hash:
        """Equal for equal keys, so that it can be told whether hashes may be compared."""
        return self._digest(b"", b"check")

    def long(self, value: str | bytes) -> Long:
        """What to keep of a value that is too long to keep."""
        material = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return Long(self._digest(material, b"long"))

    def stream(self) -> hashlib.blake2b:
        """A digest to be fed with the pieces of a response; see `finish`."""
        return hashlib.blake2b(digest_size=_SIZE, key=self._key, person=b"body")

    @staticmethod
    def finish(stream: hashlib.blake2b) -> Hash:
        """The hash of all that `stream` was fed."""
        return f"h{stream.hexdigest()}"

    def _digest(self, material: bytes, person: bytes) -> Hash:
        return f"h{hashlib.blake2b(material, digest_size=_SIZE, key=self._key, person=person).hexdigest()}"

    def _remembered(self, value: Any, column_kind: str | None, *, in_row: bool) -> Value:
        kind = type(value)
        if kind not in (str, int, bool, type(None)) or (kind is str and len(value) > _LONGEST_REMEMBERED):
            return self._value(value, column_kind, in_row=in_row)
        asked = (kind, value, column_kind, in_row)
        known = self._known.get(asked)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[asked] = self._value(value, column_kind, in_row=in_row)
        return known

    def _value(self, value: Any, column_kind: str | None, *, in_row: bool) -> Value:
        if value is None:
            null = self._digest(b"", b"null")
            return Value("n", null, self.text(NULL, loose=True) if in_row else None)
        if isinstance(value, Long):
            return Value("x", value.digest, None)
        kind, text = _spelled(value)
        if isinstance(value, str) and column_kind is not None:
            kind = _hinted(kind, text, column_kind)
        loose = None if kind in "dx" else _canonical(value, kind)
        return Value(kind, self.text(text), None if loose is None else self.text(loose, loose=True))


def _canonical(value: Any, kind: str) -> str | None:
    """The form in which the value meets others in a tag; fractions have one only where they are whole."""
    try:
        found = canonical(value)
    except ValueError:  # a signalling NaN
        return None
    if kind == "f" and found is not None and not _INTEGER.match(found):
        return None
    return found


def _spelled(value: Any) -> tuple[str, str]:  # noqa: PLR0911 - one line for each kind of value
    """The kind of a value and the text that is hashed exactly."""
    match value:
        case Enum():
            return _spelled(value.value)
        case bool():
            return "b", "true" if value else "false"
        case int():
            return ("i", str(value)) if value.bit_length() <= _LARGEST_INTEGER_BITS else ("x", hex(value))
        case float() | Decimal():
            return "f", str(value)
        case str():
            moment = _moment(value)
            return ("s", value) if moment is None else ("d", moment)
        case UUID():
            return "u", str(value)
        case date() | time():  # datetime is a date
            return "d", value.isoformat()
        case bytes() | bytearray() | memoryview():
            return "x", f"x:{bytes(value).hex()}"
    return "x", _written(value)


def _moment(text: str) -> str | None:
    """One spelling for a date, a time or both, as databases without types for them keep them; else None."""
    if not _DATE.match(text):
        return None
    parse: Callable[[str], date | time]
    parse = (
        time.fromisoformat
        if text[2] == ":"
        else date.fromisoformat
        if len(text) == 10
        else datetime.fromisoformat
    )
    try:
        return parse(text).isoformat()
    except ValueError:  # the thirteenth month
        return None


def _hinted(kind: str, text: str, expected: str) -> str:
    match expected:
        case "i" if _INTEGER.match(text):
            return "i"
        case "b" if text in ("true", "false"):
            return "b"
        case "f" if _FRACTION.match(text):
            return "f"
        case _:
            return kind


def _written(value: Any) -> str:
    """A container as text; one that cannot be written is known by its type alone."""
    try:
        return json.dumps(value, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):
        return f"<{type(value).__name__}>"
