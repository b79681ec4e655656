"""One section laid over another: what was given counts, what was left out stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cachewright.spec.section import Section

#: What tells one item of a list from another, whichever it has.
IDENTITIES = ("endpoint", "database_query", "computed_data", "name")


def given(section: Section | None) -> dict[str, Any]:
    """The fields of `section` that were given, as plain data."""
    if section is None:
        return {}
    fields = {name: _plain(getattr(section, name)) for name in section.model_fields_set}
    return fields | dict(section.extensions)


def overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says; in lists of sections, items of the same name are changed, others added."""
    both = dict(base)
    for name, value in over.items():
        was = base.get(name)
        if isinstance(value, Mapping) and isinstance(was, Mapping):
            both[name] = overlaid(was, value)
        elif _sections(value) and (_sections(was) or not was):
            both[name] = _joined(was or (), value)
        else:
            both[name] = value
    return both


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return given(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _sections(value: Any) -> bool:
    many = isinstance(value, (list, tuple)) and bool(value)
    return many and all(isinstance(each, Mapping) for each in value)


def _joined(standing: Iterable[Any], more: Iterable[Any]) -> list[Any]:
    found = list(standing)
    for item in more:
        name = next((name for name in IDENTITIES if name in item), None)
        at = next(
            (at for at, each in enumerate(found) if name is not None and each.get(name) == item[name]), None
        )
        if at is not None:
            found[at] = overlaid(found[at], item)
        elif item not in found:
            found.append(item)
    return found
