"""What a response says of being stored and shared (RFC 9111, RFC 9110 §12.5.5), in the words of its headers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

#: The read that `Vary: *` stands for: everything a request says.
_ALL = "headers"


def directives_of(fields: Iterable[str]) -> frozenset[str]:
    """The directives of all `Cache-Control` fields, in lower case with their arguments: `max-age=60`."""
    return frozenset(
        "".join(part.lower().split()) for field in fields for part in field.split(",") if part.strip()
    )


def forbidden(directives: Collection[str], *, shared: bool) -> bool:
    """Whether the response may not be stored, or not be used without asking its application first (§5.2.2).

    `shared` says that somebody else than who asked may get it.
    """
    names = {directive.partition("=")[0] for directive in directives}
    if names & {"no-store", "no-cache"} or (shared and "private" in names):
        return True
    return freshness(directives) == 0


def freshness(directives: Collection[str]) -> float | None:
    """How long (s) the response says it is good for in a shared cache (§4.2.1), None where it does not say.

    A number that cannot be read, or two that differ, are none at all: then it is not good for any time.
    """
    for name in ("s-maxage", "max-age"):
        said = {d.partition("=")[2].strip('"') for d in directives if d.partition("=")[0] == name}
        if said:
            only = said.pop()
            return float(only[:15]) if not said and only.isascii() and only.isdecimal() else 0.0
    return None


def varied(fields: Iterable[str]) -> frozenset[str]:
    """The reads that `Vary` fields admit to, in the names of capture: `header:accept-language`."""
    names = {part.strip().lower() for field in fields for part in field.split(",")} - {""}
    return frozenset(_ALL if name == "*" else f"header:{name}" for name in names)
