"""The key and the tags of one call of a decorated function: from its declared parameters, never from a repr."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from typing import Any
from uuid import UUID

from cachewright.errors import UsageError
from cachewright.runtime.principal import current_principal
from cachewright.spec.keys import Field, KeyPatternError, KeyTemplate, UnboundFieldError, encode, escape
from cachewright.spec.tags import TagTemplate, TagTemplateError

_SCOPES = ("tenant", "user")
#: Fields that the principal fills in where the function has no such parameter.
_PRINCIPAL = {"tenant_id": "tenant", "user_id": "user"}
_PLAIN = (
    str, int, float, bool, bytes, Decimal, UUID, date, time, timedelta, Enum, Mapping, AbstractSet, Sequence,
    types.NoneType,
)  # fmt: skip
_SHORT = 64
_CATCHING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class _Part:
    """A field of a pattern: the parameter it starts from, attributes on the way, and how it is written."""

    field: str
    parameter: str
    path: tuple[str, ...]
    scope: bool
    text: bool

    def value(self, values: Mapping[str, Any]) -> Any:
        """What the field stands for in one call. Raises `UnboundFieldError` where nobody is known."""
        if self.parameter not in values:
            own = current_principal()
            found = None if own is None else getattr(own, _PRINCIPAL[self.parameter])
            if found is None:
                raise UnboundFieldError(self.field)
            return found
        value = values[self.parameter]
        for name in self.path:
            value = getattr(value, name)
        return value

    def render(self, values: Mapping[str, Any]) -> str:
        value = self.value(values)
        if self.scope:
            if value is None or value == "":
                raise UnboundFieldError(self.field)
            return scope_text(value)
        return encode(value, text=self.text)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A key pattern or tag over the parameters of a function."""

    source: str
    segments: tuple[tuple[str | _Part, ...], ...]

    @property
    def parameters(self) -> frozenset[str]:
        """What its fields start from."""
        return frozenset(
            part.parameter for segment in self.segments for part in segment if isinstance(part, _Part)
        )

    def render(self, values: Mapping[str, Any]) -> str:
        return ":".join(
            [
                "".join([part if isinstance(part, str) else self._part(part, values) for part in segment])
                for segment in self.segments
            ]
        )

    def _part(self, part: _Part, values: Mapping[str, Any]) -> str:
        try:
            return part.render(values)
        except (TypeError, AttributeError) as error:
            raise UsageError(
                f"`{part.field}` has no place in the key {self.source!r}: {error}",
                hint=f"give the parts that identify it, such as {{{part.parameter}.id}}",
            ) from None


class CallKey:
    """Keys and tags of the calls of one function. Raises `UsageError` for what could never have a key."""

    def __init__(self, function: Callable[..., Any], key: str | None, tags: Sequence[str]) -> None:
        self.signature = resolved_signature(function)
        parameters = self.signature.parameters
        self._names = tuple(parameters)
        self._plain = not any(p.kind in _CATCHING for p in parameters.values())
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._positional = sum(p.kind in positional for p in parameters.values())
        self._keywords = frozenset(
            n for n, p in parameters.items() if p.kind is not inspect.Parameter.POSITIONAL_ONLY
        )
        self._defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
        self._what = f"{function.__module__}.{function.__qualname__}"
        self._key = self._pattern(key) if key is not None else self._whole()
        self._tags = tuple(self._tag(tag) for tag in tags)
        patterns = (self._key, *(tag for tag in self._tags if isinstance(tag, _Pattern)))
        own = frozenset(self._names)
        #: Whether the key says all that the function is given; a session, say, is its caller's.
        self.covers = own <= self._key.parameters
        self._lasts = all(pattern.parameters <= own for pattern in patterns)

    def place(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """What calls of the same key and tags have in common, where that is plain to see; else None."""
        if not self._lasts:
            return None
        for value in args:
            kind = type(value)
            if kind is not int and not (kind is str and len(value) <= _SHORT):
                return None
        if not kwargs:
            return args
        for value in kwargs.values():
            kind = type(value)
            if kind is not int and not (kind is str and len(value) <= _SHORT):
                return None
        return (args, *kwargs.items())

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """Key and tags of one call.

        Raises `TypeError` where the function would, `UsageError` for a part that cannot stand in a key, and
        `UnboundFieldError` where the call has no key: then nothing is shared.
        """
        values = self._values(args, kwargs)
        tags: list[str] = []
        for tag in self._tags:
            if isinstance(tag, _Pattern):
                tags.append(tag.render(values))
            else:
                tags.extend(tag.bind(values))
        return self._key.render(values), tuple(tags)

    def _values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if self._plain and len(args) <= self._positional and kwargs.keys() <= self._keywords:
            values = {**self._defaults, **dict(zip(self._names, args, strict=False)), **kwargs}
            if len(values) == len(self._names) and kwargs.keys().isdisjoint(self._names[: len(args)]):
                return values
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def _whole(self) -> _Pattern:
        """All parameters, under the function's own name: two methods of one name differ."""
        parts = [(f"{escape(name)}=", self._part(name, scope=False)) for name in self._names]
        return _Pattern(self._what, ((escape(self._what),), *parts))

    def _pattern(self, source: str, what: str = "key") -> _Pattern:
        try:
            template = KeyTemplate.parse(source)
        except KeyPatternError as error:
            raise UsageError(f"the {what} of {self._what}: {error}") from None
        segments: list[tuple[str | _Part, ...]] = []
        for number, segment in enumerate(template.segments):
            before = template.segments[number - 1] if number else ()
            scope = what == "tag" or (len(before) == 1 and before[0] in _SCOPES and len(segment) == 1)
            segments.append(
                tuple(
                    self._part(part.name, scope=scope) if isinstance(part, Field) else part
                    for part in segment
                )
            )
        return _Pattern(source, tuple(segments))

    def _tag(self, source: str) -> _Pattern | TagTemplate:
        if "(" not in source:
            return self._pattern(source, "tag")
        try:
            template = TagTemplate.parse(source)
        except TagTemplateError as error:
            raise UsageError(f"a tag of {self._what}: {error}") from None
        if template.learned:
            raise UsageError(
                f"a tag of {self._what}: {source!r} is learned from the SQL of a request",
                hint="only endpoints do that; name a parameter, or the whole table",
            )
        for _, column in template.columns:
            if column.name is not None and column.name not in self._names:
                raise self._unknown(column.name)
        return template

    def _part(self, field: str, *, scope: bool) -> _Part:
        parameter, *path = field.split(".")
        if parameter not in self._names and (parameter not in _PRINCIPAL or path):
            raise self._unknown(field)
        annotation = (
            self.signature.parameters[parameter].annotation
            if parameter in self._names
            else inspect.Parameter.empty
        )
        if not path:
            self._refuse_class(field, annotation)
        return _Part(field, parameter, tuple(path), scope, text=not path and _is_text(annotation))

    def _refuse_class(self, field: str, annotation: Any) -> None:
        for cls in _classes(annotation):
            if not issubclass(cls, _PLAIN):
                raise UsageError(
                    f"`{field}` of {self._what} is a {cls.__name__}, which has no place in a key",
                    hint="write key= with the parts that identify it, such as "
                    f'key="…:{{{field}.id}}", or without it',
                )

    def _unknown(self, field: str) -> UsageError:
        near = get_close_matches(field, self._names, 1)
        known = ", ".join(self._names) or "none"
        hint = f"did you mean {{{near[0]}}}?" if near else f"its parameters: {known}"
        return UsageError(f"{self._what} has no parameter `{field}`", hint=hint)


def scope_text(value: Any) -> str:
    """An id of a tenant, a user or a tag: numbers and texts meet, as `7` and `"7"`."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return encode(value, text=True)


def resolved_signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of `function`, its annotations evaluated where they can be."""
    try:
        return inspect.signature(function, eval_str=True)
    except (NameError, AttributeError, SyntaxError, TypeError):
        return inspect.signature(function)


def _classes(annotation: Any) -> list[type]:
    """The plain classes that an annotation allows; an annotation that says too little allows any."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _classes(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [cls for one in typing.get_args(annotation) for cls in _classes(one)]
    if annotation in (inspect.Parameter.empty, object, Any) or isinstance(annotation, str):
        return []
    found = origin if isinstance(origin, type) else annotation
    return [found] if isinstance(found, type) and not getattr(found, "_is_protocol", False) else []


def _is_text(annotation: Any) -> bool:
    classes = _classes(annotation)
    return str in classes and all(cls in (str, types.NoneType) for cls in classes)
