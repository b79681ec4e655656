"""Values as MessagePack that says what they were: what the format has no word for carries a tag.

JSON-like values stand as they are. Tuples, sets, dates and times, UUID, Decimal, integers of any size and
instances of known classes are MessagePack extensions. Everything else is refused: nothing is pickled, and
nothing is guessed from a representation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec.msgpack import Ext

from cachewright.runtime.shapes import Refusal, Shape

_TUPLE, _SET, _FROZENSET, _DICT, _DATETIME, _DATE, _TIME, _TIMEDELTA, _UUID, _DECIMAL, _INT, _OBJECT = range(
    1, 13
)

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_CAREFUL = _PLAIN - {int, str}
_NATIVE = range(-(2**63), 2**64)

_pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode


class Tagger:
    """Writes and reads values in which instances of the classes of `shapes` may occur."""

    def __init__(self, shapes: Sequence[Shape] = ()) -> None:
        self._shapes = tuple(shapes)
        self._fast = _Forms(_PLAIN, self._shapes)
        self._careful = _Forms(_CAREFUL, self._shapes)
        backs: Mapping[int, Callable[[memoryview], Any]] = {
            _TUPLE: lambda data: tuple(self._items(data)),
            _SET: lambda data: set(self._items(data)),
            _FROZENSET: lambda data: frozenset(self._items(data)),
            _DICT: self._dict,
            _DATETIME: _datetime_back,
            _DATE: lambda data: date.fromisoformat(str(data, "ascii")),
            _TIME: _time_back,
            _TIMEDELTA: lambda data: timedelta(*self._items(data)),
            _UUID: lambda data: UUID(bytes=bytes(data)),
            _DECIMAL: lambda data: Decimal(str(data, "ascii")),
            _INT: lambda data: int.from_bytes(data, "big", signed=True),
            _OBJECT: self._object,
        }
        self._decoder = msgspec.msgpack.Decoder(ext_hook=lambda code, data: backs[code](data))

    def pack(self, value: Any) -> bytes:
        """`value` as bytes. Raises `Refusal`."""
        try:
            return _pack(self._fast.form(value))
        except (OverflowError, UnicodeEncodeError):  # an integer or a text that MessagePack cannot hold
            return _pack(self._careful.form(value))

    def unpack(self, data: memoryview) -> Any:
        """The value in these bytes. Whatever they, or the classes they name, do not like is raised as it comes."""
        return self._decoder.decode(data)

    def _items(self, data: memoryview) -> list[Any]:
        items = self._decoder.decode(data)
        if type(items) is not list:
            raise ValueError("not a list")
        return items

    def _dict(self, data: memoryview) -> dict[Any, Any]:
        flat = self._items(data)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def _object(self, data: memoryview) -> Any:
        number, *parts = self._items(data)
        return self._shapes[number].make(parts)


class _Forms:
    """The forms under which values are packed. Those of the types in `plain` are themselves."""

    def __init__(self, plain: frozenset[type], shapes: Sequence[Shape]) -> None:
        self._plain = plain
        self._exact = {shape.cls: (number, shape) for number, shape in enumerate(shapes)}
        self._open = [(number, shape) for number, shape in enumerate(shapes) if shape.open]
        self._steps: Mapping[type, Callable[[Any], Any]] = {
            list: self._list,
            dict: self._dict,
            tuple: lambda value: Ext(_TUPLE, _pack(self._list(value))),
            set: lambda value: Ext(_SET, self._set(value)),
            frozenset: lambda value: Ext(_FROZENSET, self._set(value)),
            datetime: _datetime,
            date: lambda value: Ext(_DATE, value.isoformat().encode()),
            time: lambda value: Ext(_TIME, _moment(value, value.tzinfo)),
            timedelta: lambda value: Ext(_TIMEDELTA, _pack((value.days, value.seconds, value.microseconds))),
            UUID: lambda value: Ext(_UUID, value.bytes),
            Decimal: lambda value: Ext(_DECIMAL, str(value).encode()),
            int: _integer,
            str: _text,
        }

    def form(self, value: Any) -> Any:
        kind = type(value)
        if kind in self._plain:
            return value
        step = self._steps.get(kind)
        if step is not None:
            return step(value)
        known = self._exact.get(kind)
        if known is not None:
            return self._object(*known, value)
        for number, shape in self._open:
            if isinstance(value, shape.cls):
                return self._object(number, shape, value)
        raise Refusal(
            f"a {kind.__module__}.{kind.__qualname__} cannot be stored",
            "Name its class in the type of the value, or store plain values instead.",
        )

    def _list(self, items: Sequence[Any]) -> Sequence[Any]:
        return items if self._plain.issuperset(map(type, items)) else self._each(items, "[{}]".format)

    def _each(self, items: Sequence[Any], step: Callable[[int], str]) -> list[Any]:
        forms: list[Any] = []
        try:
            for item in items:
                forms.append(self.form(item))  # noqa: PERF401 - how far it came says which one was refused
        except Refusal as refusal:
            raise refusal.under(step(len(forms))) from None
        return forms

    def _dict(self, items: dict[Any, Any]) -> Any:
        values = tuple(items.values())
        plain = self._plain.issuperset(map(type, values))
        keyed = self._plain.issuperset(map(type, items))
        if plain and keyed:
            return items
        keys = tuple(items)
        forms = values if plain else self._each(values, lambda at: _step_to(keys[at]))
        if keyed:
            return dict(zip(keys, forms, strict=True))
        named = self._each(keys, lambda at: f"{_step_to(keys[at])} (the key)")
        if not any(isinstance(name, Ext) for name in named):
            return dict(zip(named, forms, strict=True))
        return Ext(_DICT, _pack([part for pair in zip(named, forms, strict=True) for part in pair]))

    def _set(self, items: set[Any] | frozenset[Any]) -> bytes:
        forms = self._each(tuple(items), lambda _at: "{…}")
        return _pack([msgspec.Raw(each) for each in sorted(map(_pack, forms))])

    def _object(self, number: int, shape: Shape, value: Any) -> Ext:
        parts = shape.take(value)
        forms = parts if self._plain.issuperset(map(type, parts)) else self._each(parts, shape.step)
        return Ext(_OBJECT, _pack([number, *forms]))


def _integer(value: int) -> int | Ext:
    if value in _NATIVE:
        return value
    return Ext(_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refusal("a text that is not Unicode", "It holds half of a surrogate pair.") from None
    return value


def _datetime(value: datetime) -> datetime | Ext:
    """MessagePack's own timestamp where it says all there is, as for most; it is read as one in UTC."""
    zone = value.tzinfo
    if zone is UTC and not value.fold:
        return value
    return Ext(_DATETIME, _moment(value, zone))


def _moment(value: datetime | time, zone: tzinfo | None) -> bytes:
    """ISO 8601, and what that has no word for: the fold, and a zone by its name."""
    named = zone.key if type(zone) is ZoneInfo else None
    if named is not None:
        value = value.replace(tzinfo=None)
    elif zone is not None and value.utcoffset() is None:
        raise Refusal("a time in a zone without an offset", "Use a `ZoneInfo` or a fixed offset.")
    text = value.isoformat()
    if named is None and not value.fold:
        return text.encode()
    return f"{text} {value.fold} {named or ''}".encode()


def _datetime_back(data: memoryview) -> datetime:
    text, _, rest = str(data, "utf-8").partition(" ")
    value = datetime.fromisoformat(text)
    return value.replace(**_beyond(rest)) if rest else value


def _time_back(data: memoryview) -> time:
    text, _, rest = str(data, "utf-8").partition(" ")
    value = time.fromisoformat(text)
    return value.replace(**_beyond(rest)) if rest else value


def _beyond(rest: str) -> dict[str, Any]:
    fold, _, zone = rest.partition(" ")
    return {"fold": int(fold), "tzinfo": ZoneInfo(zone)} if zone else {"fold": int(fold)}


def _step_to(key: Any) -> str:
    if type(key) is str:
        return f".{key}" if key.isidentifier() else f"[{key!r}]"
    return f"[{key!r}]" if type(key) in (int, bool, float, type(None)) else f"[a {type(key).__name__}]"
