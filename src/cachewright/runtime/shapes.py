"""How instances of classes are taken apart and put together: by their state, so that they come back as they were.

No constructor, validator or default has a second say, except that of `msgspec.Struct`, which knows no other way.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, Flag
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeGuard

import msgspec

if TYPE_CHECKING:
    from pydantic import BaseModel, TypeAdapter


class Refusal(Exception):  # noqa: N818 - not an error of ours yet: the codec makes one of it
    """A value, or a type, that cannot be stored, and where it stands in the whole."""

    def __init__(self, why: str, hint: str | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint
        self.path = ""

    def under(self, step: str) -> Refusal:
        """The same refusal, seen from one step further up."""
        self.path = step + self.path
        return self


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """How instances of `cls` are taken apart, and put together from the same parts.

    `names` are those of the parts; `open` says that instances of subclasses are taken too, `immutable` that an
    instance does not change where its parts do not.
    """

    cls: type
    names: tuple[str, ...]
    take: Callable[[Any], Sequence[Any]]
    make: Callable[[list[Any]], Any]
    open: bool = False
    immutable: bool = False

    def step(self, number: int) -> str:
        """The step of a path to a part."""
        return f".{self.names[number]}" if self.names else ""


def shape_of(cls: type) -> Shape | None:
    """The shape of a class, None where there is no knowing. Raises `Refusal` for a mapped row."""
    if hasattr(cls, "__mapper__"):
        raise Refusal(
            f"{cls.__qualname__} is a row of the database",
            "Store what is made of it: a row belongs to its session.",
        )
    if issubclass(cls, Enum):
        return _enum(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple(cls)
    if issubclass(cls, msgspec.Struct):
        return _struct(cls)
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls)
    return _model(cls) if is_model(cls) else _adapted(cls)


def is_model(cls: type) -> TypeGuard[type[BaseModel]]:
    """Whether it is a pydantic model; does not load pydantic."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def _enum(cls: type[Enum]) -> Shape:
    if issubclass(cls, Flag):  # a combination has no name of its own in every version of Python
        return Shape(cls, (), lambda value: (value.value,), lambda parts: cls(*parts), immutable=True)
    return Shape(cls, (), lambda value: (value.name,), lambda parts: cls[_one(parts)], immutable=True)


def _one(parts: list[Any]) -> Any:
    (part,) = parts
    return part


def _named_tuple(cls: type[Any]) -> Shape:
    names: tuple[str, ...] = cls._fields

    def make(parts: list[Any]) -> Any:
        if len(parts) != len(names):
            raise ValueError("another number of fields")
        return tuple.__new__(cls, parts)

    return Shape(cls, names, tuple, make, immutable=True)


def _struct(cls: type[msgspec.Struct]) -> Shape:
    names = cls.__struct_fields__
    frozen = cls.__struct_config__.frozen

    def take(value: Any) -> list[Any]:
        _no_more_than(getattr(value, "__dict__", {}), (), cls)
        return [getattr(value, name) for name in names]

    return Shape(
        cls, names, take, lambda parts: cls(**dict(zip(names, parts, strict=True))), immutable=bool(frozen)
    )


def _dataclass(cls: type[Any]) -> Shape:
    names = tuple(field.name for field in dataclasses.fields(cls))

    def take(value: Any) -> list[Any]:
        _no_more_than(getattr(value, "__dict__", {}), names, cls)
        try:
            return [getattr(value, name) for name in names]
        except AttributeError as error:
            raise Refusal(f"an instance of {cls.__qualname__} lacks a field: {error.name}") from None

    def make(parts: list[Any]) -> Any:
        value = object.__new__(cls)
        for name, part in zip(names, parts, strict=True):
            object.__setattr__(value, name, part)
        return value

    return Shape(cls, names, take, make, immutable=cls.__dataclass_params__.frozen)


def _model(cls: type[BaseModel]) -> Shape:
    names = tuple(cls.model_fields)
    bits = {name: 1 << number for number, name in enumerate(names)}
    whole = (1 << len(names)) - 1

    def take(value: BaseModel) -> list[Any]:
        state = value.__dict__
        _no_more_than(state, names, cls)
        given = sum(bits.get(name, 0) for name in value.model_fields_set)
        try:
            fields = [state[name] for name in names]
        except KeyError as error:
            raise Refusal(f"an instance of {cls.__qualname__} lacks a field: {error.args[0]}") from None
        return [given, value.__pydantic_extra__, value.__pydantic_private__, *fields]

    def make(parts: list[Any]) -> Any:
        given, extra, private, *fields = parts
        value = cls.__new__(cls)
        named = names if given == whole else [name for name in names if given & bits[name]]
        value.__setstate__(
            {
                "__dict__": dict(zip(names, fields, strict=True)),
                "__pydantic_fields_set__": {*named, *(extra or ())},
                "__pydantic_extra__": extra,
                "__pydantic_private__": private,
            }
        )
        return value

    frozen = bool(cls.model_config.get("frozen"))
    return Shape(
        cls, ("model_fields_set", "model_extra", "__pydantic_private__", *names), take, make, immutable=frozen
    )


def _adapted(cls: type) -> Shape | None:
    """A class that pydantic knows how to write and read (addresses, URLs, paths …), where that loses nothing."""
    import pydantic

    try:
        adapter: TypeAdapter[Any] = pydantic.TypeAdapter(cls)
    except pydantic.errors.PydanticUserError:
        return None

    def take(value: Any) -> list[Any]:
        try:
            form = adapter.dump_python(value, mode="json", warnings="error")
            back = adapter.validate_python(form)
        except (pydantic.ValidationError, pydantic.PydanticSchemaGenerationError, ValueError) as error:
            raise Refusal(f"a {type(value).__qualname__} that pydantic does not write and read") from error
        if type(back) is not type(value) or back != value:
            raise Refusal(f"a {type(value).__qualname__} would not come back as it was")
        return [form]

    return Shape(cls, (), take, lambda parts: adapter.validate_python(_one(parts)), open=True)


def _no_more_than(state: Mapping[str, Any], names: Sequence[str], cls: type) -> None:
    """Refuse an instance with attributes that would not come back; cached properties are computed again."""
    if len(state) <= len(names):
        return
    for name in state.keys() - set(names):
        if not isinstance(getattr(cls, name, None), cached_property):
            raise Refusal(
                f"{name!r} of a {cls.__qualname__} is not one of its fields", "Declare it as a field."
            )
