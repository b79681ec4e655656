"""What all sections share: frozen, closed to unknown keys, open to keys that start with `x-`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    StrictBool,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from cachewright.spec.rates import parse_frequency, parse_schedule, parse_window

EXTENSION_MARK = "x-extension"
EXTENSION_PREFIX = "x-"

T = TypeVar("T")
Writes = Literal["always", "changed", "set"]
Path = tuple[str | int, ...]


def reject(message: str, *, hint: str | None = None, at: Path = ()) -> PydanticCustomError:
    """The error of a validator: `at` is the path, below the section, of the field to blame."""
    return PydanticCustomError("rejected", "{message}", {"message": message, "hint": hint, "at": at})


class Section(BaseModel):
    """The root of all sections.

    `writes` says which fields a dump holds: `always` all fields of the request and those extensions that
    differ from their default, `changed` what differs from its default, `set` what was given (in an override,
    null is not absence).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        json_schema_extra={"patternProperties": {"^x-": {}}},
    )
    writes: ClassVar[Writes] = "always"

    _extensions: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def extensions(self) -> Mapping[str, Any]:
        """The `x-` keys that were given here."""
        return MappingProxyType(self._extensions)

    @model_validator(mode="wrap")
    @classmethod
    def _set_extensions_aside(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, Mapping):
            return handler(data)
        free = {name: value for name, value in data.items() if str(name).startswith(EXTENSION_PREFIX)}
        section = handler({name: value for name, value in data.items() if name not in free} if free else data)
        section._extensions.update(free)  # noqa: SLF001 - our own attribute, of an object made here
        return section

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain = handler(self)
        fields = type(self).model_fields
        kept = {name: plain[name] for name in fields if name in plain and self._is_written(name)}
        return kept | self._extensions

    def _is_written(self, name: str) -> bool:
        if self.writes == "set":
            return name in self.model_fields_set
        field = type(self).model_fields[name]
        if self.writes == "always" and not is_extension(field):
            return True
        return bool(getattr(self, name) != field.get_default(call_default_factory=True))


def is_extension(field: FieldInfo) -> bool:
    """Whether `field` is ours and not the request's."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(EXTENSION_MARK))


@dataclass(frozen=True, slots=True)
class Shape:
    """A pattern that a text must match as a whole, and the words for it; also the JSON Schema's `pattern`.

    Where a `secret` might stand by mistake, the message does not repeat it.
    """

    pattern: str
    expected: str
    secret: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}

    def _check(self, text: str) -> str:
        if re.fullmatch(self.pattern, text) is None:
            raise reject(f"{'the value' if self.secret else repr(text)} is not {self.expected}")
        return text


@dataclass(frozen=True, slots=True)
class _OneOrMore:
    """Says in the JSON Schema that a list of one may be written without brackets."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _without_brackets(value: tuple[T, ...]) -> T | tuple[T, ...]:
    return value[0] if len(value) == 1 else value


def _whole_if_possible(value: float | None) -> float | None:
    return int(value) if value is not None and value.is_integer() else value


def _valid(parse: Callable[[str], object]) -> AfterValidator:
    def keep(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(keep)


Ext = Annotated[T, Field(json_schema_extra={EXTENSION_MARK: True})]
OneOrMore = Annotated[
    tuple[T, ...],
    Field(min_length=1),
    BeforeValidator(_as_list),
    PlainSerializer(_without_brackets),
    _OneOrMore(),
]

Flag = StrictBool
Text = Annotated[str, Field(min_length=1)]
Texts = tuple[Text, ...]
Whole = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, gt=0)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False), PlainSerializer(_whole_if_possible)]
Ratio = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Percent = Annotated[int, Field(strict=True, ge=0, le=100)]

Frequency = Annotated[str, _valid(parse_frequency)]
ScheduleText = Annotated[str, _valid(parse_schedule)]
WindowText = Annotated[str, _valid(parse_window)]
ImportPath = Annotated[
    str, Shape(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", "an import path, such as `app.caching:priority`")
]
VariableName = Annotated[
    str,
    Shape(
        "[A-Z_][A-Z0-9_]*",
        "the name of an environment variable, such as `REDIS_PASSWORD`; a secret never stands here",
        secret=True,
    ),
]
HostPort = Annotated[
    str, Shape(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.\-]+):\d{1,5}", "an address `host:port`, such as `10.0.0.4:6379`")
]
