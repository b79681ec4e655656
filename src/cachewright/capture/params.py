"""The parameters that a FastAPI dependency declares, under the names a request gives them."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

Where = Literal["path", "query", "header", "cookie"]

#: The name of a parameter that stands for all those whose names cannot be told.
ANY = "*"

_LONGEST_INTEGER = 40
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})


@dataclass(frozen=True, slots=True)
class Param:
    """A declared parameter: its name on the wire, where it stands, its plain type, its default."""

    name: str
    where: Where
    type: str
    required: bool
    default: Any = None
    multiple: bool = False

    def canonical(self, given: Sequence[str]) -> Any:
        """The one spelling of the texts given for it: a text, a list of texts, or None where it is absent."""
        if not given:
            return _plain(self.default)
        if self.multiple:
            return [self._spelled(text) for text in given]
        return self._spelled(given[-1])

    def _spelled(self, text: str) -> str:
        if self.type == "int" and len(text) <= _LONGEST_INTEGER and _INTEGER.match(text):
            return str(int(text))
        if self.type == "bool":
            folded = text.lower()
            return "true" if folded in _TRUE else "false" if folded in _FALSE else text
        return text


def _plain(value: Any) -> Any:
    """A declared default in the spelling of `Param.canonical`."""
    match value:
        case None:
            return None
        case Enum():
            return _plain(value.value)
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
    return str(value)


def declared(dependant: Any) -> Iterator[Param]:
    """The parameters of one dependency, without those of its own dependencies."""
    fields: tuple[tuple[Where, Sequence[Any]], ...] = (
        ("path", dependant.path_params),
        ("query", dependant.query_params),
        ("header", dependant.header_params),
        ("cookie", dependant.cookie_params),
    )
    for where, found in fields:
        for field in found:
            yield from _opened(
                field.alias if where == "path" else field.name,
                where,
                field.field_info,
                getattr(field, "config", None) or {},
                plain=not hasattr(type(field), "validation_alias"),
            )


def _opened(name: str, where: Where, info: Any, config: Any, *, plain: bool) -> Iterator[Param]:
    """One parameter under all its names, or all fields of a model that stands for several.

    `plain` says that FastAPI (before 0.124) looks for it by its plain alias.
    """
    model = _unwrapped(info.annotation)
    inner = getattr(model, "model_fields", None)
    if inner is None or where == "path":
        yield from _named(name, where, info, config, raw=_sees_text(info.metadata), plain=plain)
        return
    checked = getattr(model, "__pydantic_decorators__", None)
    raw = bool(checked and (checked.field_validators or checked.model_validators))
    for field_name, field in inner.items():
        seen = raw or _sees_text(field.metadata)
        yield from _named(field_name, where, field, model.model_config, raw=seen, plain=plain)
    if model.model_config.get("extra") in ("allow", "forbid"):
        yield Param(ANY, where, "other", required=False)


def _named(name: str, where: Where, info: Any, config: Any, *, raw: bool, plain: bool) -> Iterator[Param]:
    """`info` as a parameter under each name by which it may come; the first one has the default.

    `raw` says that code of the application sees the text before it is converted: then its spelling matters.
    """
    annotation = _unwrapped(info.annotation)
    multiple = (typing.get_origin(annotation) or annotation) in (
        list,
        set,
        tuple,
        frozenset,
        Sequence,
        AbstractSet,
    )
    element = (typing.get_args(annotation) or (str,))[0] if multiple else annotation
    kind = "other" if raw else _type_name(_unwrapped(element))
    required = info.is_required()
    default = None if required or info.default_factory is not None else info.default
    for at, spelled in enumerate(_names(name, where, info, config, plain=plain)):
        first = at == 0
        yield Param(spelled, where, kind, required and first, default if first else None, multiple)


def _names(name: str, where: Where, info: Any, config: Any, *, plain: bool) -> list[str]:
    """The names by which FastAPI looks for a parameter, as it resolves them."""
    from pydantic import AliasChoices, AliasPath

    if where == "path":
        return [name]
    match info.validation_alias:
        case str() as alias:
            names = [alias]
        case AliasChoices(choices=choices):
            names = [choice if isinstance(choice, str) else ANY for choice in choices]
            plain = plain or not _knows_choices()
        case AliasPath():
            names = [ANY]
        case _:
            names = [info.alias or name]
    if plain:
        names = [info.alias or name, *names]
    if (
        config.get("validate_by_name")
        or config.get("populate_by_name")
        or config.get("validate_by_alias") is False
    ):
        names.append(name)
    if where == "header":
        dashed = getattr(info, "convert_underscores", True)
        names = [(n.replace("_", "-") if dashed and n == name else n).lower() for n in names]
    return list(dict.fromkeys(names))


def _knows_choices() -> bool:
    """Whether this FastAPI looks for a parameter by each of its choices; else by its plain alias alone."""
    from fastapi.dependencies import utils

    return hasattr(utils, "_get_param_aliases")


def _sees_text(metadata: Sequence[Any]) -> bool:
    from pydantic import BeforeValidator, PlainValidator, WrapValidator

    return any(isinstance(item, (BeforeValidator, PlainValidator, WrapValidator)) for item in metadata)


def _unwrapped(annotation: Any) -> Any:
    """`annotation` without `Annotated` and `None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _unwrapped(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [item for item in typing.get_args(annotation) if item is not type(None)]
        return _unwrapped(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _type_name(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return "enum"
    if not isinstance(annotation, type):
        return "other"
    if issubclass(annotation, Enum):
        return "enum"
    for plain, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "str")):
        if issubclass(annotation, plain):
            return name
    return "other"
