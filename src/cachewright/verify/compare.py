"""Comparing answers to one request: two from the application itself, one from the cached application."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

Headers = tuple[tuple[str, str], ...]

#: Never compared: the server's clock.
_IGNORED = frozenset({"date"})
_EXCERPT = 48


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response; header names in lower case, in order."""

    status: int
    headers: Headers
    body: bytes

    def values(self, name: str) -> tuple[str, ...]:
        """All values of one header."""
        return tuple(value for key, value in self.headers if key == name)


class Verdict(StrEnum):
    """What a comparison says. `unsteady`: the application itself gave two answers."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNSTEADY = "unsteady"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict, where the first difference is, and the headers that are volatile by themselves."""

    verdict: Verdict
    where: str | None = None
    uncached: str | None = None
    cached: str | None = None
    volatile: frozenset[str] = frozenset()


def compare(first: Reply, cached: Reply, second: Reply, volatile: Collection[str] = ()) -> Comparison:
    """Hold the cached answer against the uncached ones asked before and after it.

    Body and status must agree between the uncached ones, else the application is unsteady. A header on which
    they disagree is volatile and left out, as are those already known as `volatile`.
    """
    names = dict.fromkeys(name for reply in (first, cached, second) for name, _ in reply.headers)
    moving = frozenset(name for name in names if first.values(name) != second.values(name)) - _IGNORED
    if (first.status, first.body) != (second.status, second.body):
        return Comparison(Verdict.UNSTEADY, volatile=moving)
    if first.status != cached.status:
        return Comparison(Verdict.DIFFERENT, "status", str(first.status), str(cached.status), moving)
    if first.body != cached.body:
        return _bodies(first.body, cached.body, moving)
    for name in names:
        if name in _IGNORED or name in moving or name in volatile:
            continue
        if first.values(name) != cached.values(name):
            return Comparison(
                Verdict.DIFFERENT,
                f"header {name}",
                ", ".join(first.values(name)) or None,
                ", ".join(cached.values(name)) or None,
                moving,
            )
    return Comparison(Verdict.EQUAL, volatile=moving)


def _bodies(uncached: bytes, cached: bytes, volatile: frozenset[str]) -> Comparison:
    at = next(
        (at for at, (one, other) in enumerate(zip(uncached, cached, strict=False)) if one != other),
        min(len(uncached), len(cached)),
    )
    start = max(0, at - _EXCERPT // 2)
    return Comparison(
        Verdict.DIFFERENT,
        f"body at byte {at}",
        _excerpt(uncached, start),
        _excerpt(cached, start),
        volatile,
    )


def _excerpt(body: bytes, start: int) -> str:
    return body[start : start + _EXCERPT].decode("utf-8", "replace")
