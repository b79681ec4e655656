"""Values as callers name their types: exact for classes, and forgiving where no class is at stake."""

from __future__ import annotations

import types
import typing
from typing import Any, Generic, TypeVar

from cachewright.errors import CodecError
from cachewright.runtime.schema import read_schema
from cachewright.runtime.values import ValueCodec

T = TypeVar("T")


class Typed(Generic[T]):
    """The codec of one type.

    A value that was stored without a word on its type is read as this one where the type names no class of its
    own and the value is an instance of it: `set(key, "text")` meets `get(key, str)`.
    """

    def __init__(self, type_: type[T] | Any) -> None:
        self._own: ValueCodec[T] = ValueCodec(type_)
        self._untyped: ValueCodec[Any] | None = None
        if type_ is not Any and not read_schema(type_).shapes:
            self._untyped = ValueCodec(Any)
        self._kinds = tuple(_kinds(type_))
        self.encode = self._own.encode
        self.immutable = self._own.immutable

    def decode(self, data: bytes) -> T:
        """The value in these bytes, a new one each time. Raises `CodecError`."""
        try:
            return self._own.decode(data)
        except CodecError:
            if self._untyped is None:
                raise
            value: T = self._untyped.decode(data)
            if not isinstance(value, self._kinds):
                raise
            return value


def type_of(value: object) -> Any:
    """What a value is stored as where nothing was said: its class where it has one of its own, else Any."""
    kind = type(value)
    return Any if kind.__module__ in ("builtins", "datetime", "decimal", "uuid") else kind


def _kinds(type_: Any) -> list[type]:
    origin = typing.get_origin(type_)
    if origin in (typing.Union, types.UnionType):
        return [kind for one in typing.get_args(type_) for kind in _kinds(one)]
    if origin is typing.Annotated:
        return _kinds(typing.get_args(type_)[0])
    if type_ is None:
        return [types.NoneType]
    found = origin if isinstance(origin, type) else type_
    return [found] if isinstance(found, type) else []
