"""Cache keys: a readable pattern, and a rendering of it that is injective and typed.

Grammar: `[tenant:{tenant_id}:][user:{user_id}:|cred:{cred}:|anon:]resource[:param={value}…]` (#54-#67, C24).
Two different tuples of values never give the same key, and no value can bring a separator, a wildcard,
a blank or a control character into it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

#: Characters that structure keys, patterns of operators, tags or URLs: never raw in a value.
RESERVED = frozenset(":*?[]{}%/,()=#'\"\\")
#: A rendered value longer than this keeps a readable head and ends in a digest (#60).
LONGEST_VALUE = 160

#: The value of `{cred}` where a request holds no credential at all.
ANONYMOUS = "%anon"

_SCOPE_FIELDS = {"tenant": "tenant_id", "user": "user_id", "cred": "cred"}
_RESERVED_RESOURCES = frozenset({"cred", "anon"})
_FIELD = re.compile(r"\{([^{}]*)\}")
_INTEGER = re.compile(r"-?\d+\Z")
_UNSAFE_ASCII = re.compile(rf"[\x00-\x20\x7f{re.escape(''.join(sorted(RESERVED)))}]")

_FREE_TEXT = re.compile(
    r"(?:^|[._-])(?:q|s|search|query|keywords?|term|text|filter|cursor|since|after|before|from|to|timestamp|ts|nonce"
    r"|cachebust|_)$",
    re.IGNORECASE,
)


class KeyPatternError(ValueError):
    """A key pattern that has no meaning; the message says what is allowed."""


class UnboundFieldError(LookupError):
    """A field of the pattern has no value here: the lookup must bypass, never share a key (G2)."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def free_text(field: str) -> bool:
    """Whether the name of a field says that its value may be anything: a search, a moment, a nonce."""
    return _FREE_TEXT.search(field) is not None


def escape(text: str) -> str:
    """`text` with every reserved, blank, control or unprintable character as `%XX` of its UTF-8 bytes."""
    if text.isascii():
        return text if text.isalnum() else _UNSAFE_ASCII.sub(_escaped, text)
    return "".join(
        character
        if character not in RESERVED and character.isprintable() and character != " "
        else _hex(character)
        for character in text
    )


def _escaped(found: re.Match[str]) -> str:
    return _hex(found[0])


def _hex(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def encode(value: Any, *, text: bool = False) -> str:
    """One value as part of a key.

    Where a string is expected (`text`), strings stay as they are and integers are marked; elsewhere it is
    the other way round. Marks are `%` and a lower-case letter, which `escape` never produces, so `None`, `''`,
    `'1'`, `1`, `True` and `1.0` all differ. Objects without a value of their own raise `TypeError`: a key must
    never hold an address.
    """
    rendered = _encode(value, text=text)
    if len(rendered) <= LONGEST_VALUE:
        return rendered
    digest = hashlib.blake2b(rendered.encode(), digest_size=16).hexdigest()
    return f"{rendered[:40].rpartition('%')[0] or rendered[:40]}%h{digest}"


def _encode(value: Any, *, text: bool) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each type is the plainest form
    match value:
        case None:
            return "%n"
        case Enum():
            return _encode(value.value, text=text)
        case bool():
            return f"%b{int(value)}"
        case str():
            if not value:
                return "%z"
            return f"%s{value}" if not text and _INTEGER.match(value) else escape(value)
        case int():
            return f"%i{value}" if text else str(value)
        case float():
            return f"%f{escape(repr(value))}"
        case Decimal():
            return f"%d{escape(str(value))}"
        case UUID():
            return str(value) if text else f"%u{value.hex}"
        case date() | time():  # datetime is a date
            return f"%t{type(value).__name__[0]}{escape(value.isoformat())}"
        case timedelta():
            return f"%p{value.days}_{value.seconds}_{value.microseconds}"
        case bytes():
            return f"%x{value.hex()}"
        case Mapping():
            return _enclose(
                "m", sorted(f"{_encode(k, text=text)}%v{_encode(v, text=text)}" for k, v in value.items())
            )
        case AbstractSet():
            return _enclose("a", sorted(_encode(item, text=text) for item in value))
        case Sequence():
            return _enclose("l", [_encode(item, text=text) for item in value])
    raise TypeError(f"a key cannot hold a {type(value).__name__}: give the parts of it that identify it")


def _enclose(mark: str, items: Sequence[str]) -> str:
    return f"%{mark}{','.join(items)}%."


@dataclass(frozen=True, slots=True)
class Field:
    """A placeholder of a pattern: `name` as the driver knows the value (`user_id`, `query.page`, `path.id`)."""

    name: str


Part = str | Field


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A parsed key pattern.

    `segments` are the pieces between separators, each a run of literal text and fields; the first
    `scope_segments` of them say who may share the entry, the next one names the resource.
    """

    source: str
    segments: tuple[tuple[Part, ...], ...]
    scope_segments: int

    @classmethod
    def parse(cls, pattern: str, resolve: Callable[[str], str] = str) -> KeyTemplate:
        """Parse `pattern`; `resolve` maps a field as written to the name under which its value is given.

        Raises `KeyPatternError` with what is wrong and what is allowed.
        """
        if not pattern or pattern != pattern.strip():
            raise KeyPatternError("a key pattern is a non-empty text without blanks at its ends")
        segments = tuple(_segment(text, resolve) for text in pattern.split(":"))
        if any(not segment for segment in segments):
            raise KeyPatternError("a key pattern has no empty segments: write resource:name={value}")
        scope_segments = _count_scope(segments)
        if scope_segments >= len(segments):
            raise KeyPatternError(
                "a key pattern names a resource after its scope, as in user:{user_id}:tasks"
            )
        return cls(pattern, segments, scope_segments)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all fields, in order of appearance."""
        return tuple(part.name for segment in self.segments for part in segment if isinstance(part, Field))

    def render(self, values: Mapping[str, Any], *, text: bool = True) -> str:
        """The key for these values. Raises `UnboundFieldError` where one is missing."""
        return ":".join(_joined(self._rendered(values, text=text)))

    def bind(self, values: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """The key for these values, and its `prefixes`. Raises `UnboundFieldError` where one is missing."""
        rendered = self._rendered(values, text=True)
        return ":".join(_joined(rendered)), self._leading(rendered)

    def prefixes(self, values: Mapping[str, Any], *, text: bool = True) -> tuple[str, ...]:
        """The key's leading segments, one for each scope and one for the resource under a scope.

        They are tags of the entry, so that all of a tenant, of a user, or of a user's resource go at once.
        """
        return self._leading(self._rendered(values, text=text)) if self.scope_segments else ()

    def _leading(self, rendered: list[str]) -> tuple[str, ...]:
        if not self.scope_segments:
            return ()
        ends = (*range(2, self.scope_segments + 1, 2), self.scope_segments + 1)
        return tuple(":".join(_joined(rendered[:end])) for end in ends)

    def _rendered(self, values: Mapping[str, Any], *, text: bool) -> list[str]:
        return [
            "".join(part if isinstance(part, str) else _bound(part, values, text=text) for part in segment)
            for segment in self.segments
        ]


def _joined(rendered: list[str]) -> list[str]:
    """Whoever gave no credential shares one scope, written `anon` instead of `cred:` and a digest."""
    if len(rendered) > 1 and rendered[1] == ANONYMOUS:
        return ["anon", *rendered[2:]]
    return rendered


def _bound(field: Field, values: Mapping[str, Any], *, text: bool) -> str:
    try:
        value = values[field.name]
    except KeyError:
        raise UnboundFieldError(field.name) from None
    return ANONYMOUS if value == ANONYMOUS and field.name == "cred" else encode(value, text=text)


def _segment(text: str, resolve: Callable[[str], str]) -> tuple[Part, ...]:
    parts: list[Part] = []
    end = 0
    for found in _FIELD.finditer(text):
        parts.append(_literal(text[end : found.start()]))
        name = found[1]
        if not name or name != name.strip():
            raise KeyPatternError(
                f"{{{name}}} is no field: write a name, as in {{user_id}} or {{query.page}}"
            )
        parts.append(Field(resolve(name)))
        end = found.end()
    parts.append(_literal(text[end:]))
    return tuple(part for part in parts if part)


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise KeyPatternError("unbalanced braces: a field is written {name}")
    bad = sorted({character for character in text if character in "*?[] " or not character.isprintable()})
    if bad:
        raise KeyPatternError(f"a key pattern cannot hold {' '.join(map(repr, bad))}")
    return text


def _count_scope(segments: tuple[tuple[Part, ...], ...]) -> int:
    """How many leading segments are scope: pairs such as `user:{user_id}`, or `anon` alone."""
    at = 0
    while at < len(segments):
        head = segments[at]
        following = segments[at + 1] if at + 1 < len(segments) else ()
        if (
            len(head) == 1
            and isinstance(head[0], str)
            and following == (Field(_SCOPE_FIELDS.get(head[0], "")),)
        ):
            at += 2
        else:
            break
    return at


def resource_literal(name: str) -> str:
    """`name` as a resource segment: escaped, and never mistaken for the scopes `cred` and `anon`."""
    escaped = escape(name)
    return f"%{ord(escaped[0]):02X}{escaped[1:]}" if escaped in _RESERVED_RESOURCES else escaped
