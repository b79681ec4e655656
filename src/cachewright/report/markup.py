"""HTML that is escaped by construction: text becomes markup only through `element`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

#: Elements without content, as the HTML standard has them.
_VOID = frozenset({"meta", "br", "hr", "col"})


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


Child = str | None | Iterable["Child"]


def element(tag: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """One element with its children. Plain texts are escaped, attributes too; None is left out.

    An underscore in an attribute's name stands for a hyphen, one at its end is dropped (`class_`).
    """
    written = "".join(
        f' {attribute.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for attribute, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{joined(children)}</{tag}>")


def joined(children: Child) -> Markup:
    """Children as HTML."""
    match children:
        case None:
            return Markup()
        case Markup():
            return children
        case str():
            return Markup(escape(children))
    return Markup("".join(joined(child) for child in children))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"
