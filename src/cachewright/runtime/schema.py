"""What a type says: the classes that may occur in its values, and a digest that changes when any of it changes."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from hashlib import blake2b
from typing import Any, Literal, TypeVar

import msgspec

from cachewright.runtime.shapes import Refusal, Shape, is_model, shape_of

_DIGEST = 8
_KNOWN = frozenset({"builtins", "collections.abc", "datetime", "decimal", "typing", "uuid", "zoneinfo"})


@dataclasses.dataclass(frozen=True, slots=True)
class Schema:
    """The shapes of the classes of one type, and the digest of all that was said of them."""

    shapes: tuple[Shape, ...]
    digest: bytes


def read_schema(hint: Any) -> Schema:
    """What the type `hint` says. Raises `Refusal` where it names what can never be stored."""
    reader = _Reader()
    whole = reader.text(hint)
    said = "\n".join((whole, *reader.lines))
    return Schema(tuple(reader.shapes), blake2b(said.encode(), digest_size=_DIGEST).digest())


class _Reader:
    """Reads one type into text that is the same in every process, and collects the classes on its way."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self.lines: list[str] = []
        self._read: set[Any] = set()

    def text(self, hint: Any) -> str:  # noqa: C901, PLR0911 - one line for each kind of annotation
        if hint is None:
            return "None"
        if isinstance(hint, str | typing.ForwardRef):
            raise Refusal(f"{hint!r} in the type cannot be resolved", "Define the class at module level.")
        if isinstance(hint, TypeVar):
            return self._all("var", (hint.__bound__, *hint.__constraints__))
        if isinstance(hint, typing.NewType):
            return self.text(hint.__supertype__)
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            return f"{self.text(arguments[0])} {_stable(hint.__metadata__)}"
        if origin is Literal:
            return f"literal {_stable(arguments)}"
        if origin in (typing.Union, types.UnionType):
            return self._all("union", arguments)
        if origin is not None:
            return self._all(self.text(origin), arguments)
        if type(hint).__name__ == "TypeAliasType":
            return self._alias(hint)
        if isinstance(hint, type):
            return self._class(hint)
        return self._all("list", hint) if isinstance(hint, list) else str(hint)

    def _all(self, name: str, hints: Iterable[Any]) -> str:
        return f"{name}({','.join(self.text(hint) for hint in hints)})"

    def _alias(self, alias: Any) -> str:
        if alias not in self._read:
            self._read.add(alias)
            self.lines.append(f"{alias} = {self.text(alias.__value__)}")
        return str(alias)

    def _class(self, cls: type) -> str:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if cls in self._read or cls.__module__ in _KNOWN:
            return name
        self._read.add(cls)
        self.lines.append(f"{name}: {self._fields(cls)}")
        shape = None if typing.is_typeddict(cls) else shape_of(cls)
        if shape is not None:
            self.shapes.append(shape)
        return name

    def _fields(self, cls: type) -> str:
        if issubclass(cls, Enum):
            return _stable(member for pair in cls.__members__.items() for member in (pair[0], pair[1].value))
        if is_model(cls):
            return self._model(cls)
        if dataclasses.is_dataclass(cls):
            hints = _hints(cls)
            return self._named({field.name: hints[field.name] for field in dataclasses.fields(cls)})
        if issubclass(cls, msgspec.Struct):
            hints = _hints(cls)
            return self._named({name: hints[name] for name in cls.__struct_fields__})
        if hasattr(cls, "_fields"):
            hints = _hints(cls)
            return self._named({name: hints.get(name, Any) for name in cls._fields})
        return self._named(_hints(cls)) if typing.is_typeddict(cls) else ""

    def _model(self, cls: Any) -> str:
        cls.model_rebuild(raise_errors=False)
        origin = cls.__pydantic_generic_metadata__["origin"]
        if origin is not None:
            self.text(origin)  # whoever makes a `Page(…)` where `Page[Item]` is declared gets that class
        fields = {name: field.annotation for name, field in cls.model_fields.items()}
        rules = " ".join(_stable(field.metadata) for field in cls.model_fields.values())
        return f"{self._named(fields)} {rules}"

    def _named(self, hints: Mapping[str, Any]) -> str:
        return ", ".join(f"{name}: {self.text(hint)}" for name, hint in hints.items())


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError) as error:
        raise Refusal(
            f"the annotations of {cls.__qualname__} cannot be resolved: {error}",
            "Define the classes they name at module level.",
        ) from None


def _stable(parts: Iterable[Any]) -> str:
    """`parts` as text without what differs between processes: addresses, and the order of sets."""
    return "[" + ",".join(f"{type(part).__name__} {_said(part)}" for part in parts) + "]"


def _said(part: Any) -> str:
    if isinstance(part, set | frozenset):
        return "{" + ",".join(sorted(map(_said, part))) + "}"
    text = repr(part)
    return "" if " at 0x" in text else text
