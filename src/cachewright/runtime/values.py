"""Values of one type as bytes and back: exact, safe to read from anywhere, and a miss when the type has changed."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, TypeVar
from uuid import UUID

from cachewright.errors import CodecError, ValueRefusedError
from cachewright.runtime.schema import read_schema
from cachewright.runtime.shapes import Refusal
from cachewright.runtime.tagged import Tagger

T = TypeVar("T")

#: A byte that no MessagePack begins with, and the version of what follows.
_MARK = b"\xc1\x01"
_SCALARS = frozenset(
    {type(None), bool, int, float, str, bytes, datetime, date, time, timedelta, UUID, Decimal}
)


class ValueCodec(Generic[T]):
    """Writes and reads the values of `type_`; make it once and keep it: reading a type takes a while.

    JSON-like values, tuples, sets, bytes, dates and times (with their zones), UUID, Decimal and integers of any
    size come back as what they were under any type. Instances of classes do where `type_` names the class, at
    any depth: dataclasses, named tuples, enums, `msgspec.Struct`, pydantic models, and whatever else pydantic
    reads back equal. A value comes back as the one that was given: the type says which classes may occur, it does
    not convert or check. A digest of the type is part of the bytes, so that a changed class is a miss.

    `max_bytes` bounds what is written and what is read. Raises `ValueRefusedError` for a type that names what
    can never be stored, such as a mapped row.
    """

    def __init__(self, type_: type[T] | Any = Any, *, max_bytes: int | None = None) -> None:
        try:
            schema = read_schema(type_)
        except Refusal as refusal:
            raise ValueRefusedError(refusal.why, hint=refusal.hint) from None
        self._prefix = _MARK + schema.digest
        self._tagger = Tagger(schema.shapes)
        self._shapes = {shape.cls: shape for shape in schema.shapes if shape.immutable}
        self._max_bytes = max_bytes

    def encode(self, value: T) -> bytes:
        """`value` as bytes. Raises `ValueRefusedError`, which names the place of what cannot be stored."""
        try:
            data = self._prefix + self._tagger.pack(value)
        except Refusal as refusal:
            raise ValueRefusedError(
                f"${refusal.path}: {refusal.why}", hint=refusal.hint
            ) from refusal.__cause__
        except RecursionError:
            raise ValueRefusedError("$: the value contains itself, or is nested too deeply") from None
        if self._max_bytes is not None and len(data) > self._max_bytes:
            raise ValueRefusedError(
                f"$: the value takes {len(data)} bytes, more than the {self._max_bytes} allowed",
                hint="Store less of it, or raise the bound.",
            )
        return data

    def decode(self, data: bytes) -> T:
        """The value in these bytes, a new one each time. Raises `CodecError`, and nothing else."""
        if self._max_bytes is not None and len(data) > self._max_bytes:
            raise CodecError("more bytes than a value may have")
        if data[: len(self._prefix)] != self._prefix:
            raise CodecError("not a value of this type, as it is defined now")
        try:
            value: T = self._tagger.unpack(memoryview(data)[len(self._prefix) :])
        except Exception as error:  # the application's classes take part: whatever they raise is a miss
            raise CodecError("the value does not fit its type") from error
        return value

    def immutable(self, value: T) -> bool:
        """Whether `value` may be handed out again and again: neither it nor anything in it can be changed."""
        return self._frozen(value)

    def _frozen(self, value: Any) -> bool:
        kind = type(value)
        if kind in _SCALARS or isinstance(value, Enum):
            return True
        if kind is tuple or kind is frozenset:
            return all(map(self._frozen, value))
        shape = self._shapes.get(kind)
        return shape is not None and all(map(self._frozen, shape.take(value)))
