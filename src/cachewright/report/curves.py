"""Curves of each target: what a longer life or more room would bring, with the point that was chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cachewright.report.markup import Child, Markup, element
from cachewright.report.words import percent

_SECONDS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_BYTES = ((2**30, "GB"), (2**20, "MB"), (2**10, "KB"), (1, "B"))


def curves(shapes: Mapping[str, Any]) -> Child:
    """A row of two drawings for each target; nothing where nothing is known."""
    if not shapes:
        return None
    return [
        element("h2", "What more would bring"),
        element(
            "p",
            "Share of lookups that hit, replayed from the recording: over the life of an entry with unlimited room, "
            "and over the room with the chosen life. The dot is what was chosen.",
            class_="soft small",
        ),
        element("div", [_target(name, shape) for name, shape in shapes.items()], class_="plots"),
    ]


def _target(name: str, shape: Mapping[str, Any]) -> Markup:
    life, room = shape["over_life"], shape["over_room"]
    return element(
        "figure",
        element("h3", element("code", name)),
        element(
            "div",
            _drawing("life of an entry", life, shape.get("life"), lasting),
            _drawing("room in a process", room, shape.get("room"), size),
            class_="pair",
        ),
        _trust(shape),
    )


def _trust(shape: Mapping[str, Any]) -> Child:
    """How far to trust the chosen points: what the first half of the recording promised, and the second kept."""
    gaps = [
        _between(list(zip(curve["points"], curve["held_out"], strict=True)), chosen)
        for curve, chosen in (
            (shape["over_life"], shape.get("life")),
            (shape["over_room"], shape.get("room")),
        )
        if curve.get("held_out") and chosen is not None
    ]
    if not gaps:
        return None
    words = f"There the two halves of the recording differ by {percent(max(gaps), 1)} of lookups at most."
    return element("p", words, class_="soft small")


def _drawing(
    title: str, curve: Mapping[str, Any], chosen: float | None, words: Callable[[float], str]
) -> Markup:
    points, hits = curve["points"], curve["hits"]
    shown = [(x, y) for x, y in zip(points, hits, strict=True) if x > 0]
    at = _scale([x for x, _ in shown])
    line = " ".join(f"{at(x):.2f},{100 - 100 * y:.2f}" for x, y in shown)
    told = f"Hits over the {title}: " + ", ".join(f"{words(x)} {percent(y)}" for x, y in shown)
    dot: Child = None
    if chosen is not None:
        share = _between(shown, chosen)
        place = f"left: {at(chosen):.1f}%; bottom: {100 * share:.1f}%"
        dot = [
            element("i", class_="chosen", style=place),
            element(
                "b", f"{words(chosen)}: {percent(share)}", class_="said", style=_beside(at(chosen), share)
            ),
        ]
    return element(
        "div",
        element("div", title, class_="soft small"),
        element(
            "div",
            element(
                "svg",
                element("title", told),
                element("line", x1=0, x2=100, y1=50, y2=50, class_="axis thin"),
                element("polyline", points=line, class_="curve"),
                viewBox="0 0 100 100",
                preserveAspectRatio="none",
                role="img",
                aria_label=told,
            ),
            element("span", f"100{chr(160)}%", class_="top"),
            dot,
            class_="drawing",
        ),
        element(
            "div",
            element("span", words(shown[0][0])),
            element("span", words(shown[-1][0])),
            class_="ends soft small",
        ),
        class_="half",
    )


def _beside(left: float, share: float) -> str:
    """Where the words of a point stand: inside the drawing, and not on the curve."""
    side = f"right: {100 - left:.1f}%" if left > 50 else f"left: {left:.1f}%"
    height = f"top: {100 - 100 * share:.1f}%" if share > 0.4 else f"bottom: {100 * share:.1f}%"
    return f"{side}; {height}"


def _scale(points: Sequence[float]) -> Callable[[float], float]:
    """Percent of the width, in equal steps for equal factors."""
    low, high = math.log(points[0]), math.log(points[-1])
    span = (high - low) or 1.0
    return lambda point: min(100.0, max(0.0, 100 * (math.log(max(point, points[0])) - low) / span))


def _between(points: Sequence[tuple[float, float]], at: float) -> float:
    before = points[0]
    for after in points:
        if after[0] >= at:
            width = after[0] - before[0]
            return before[1] + (after[1] - before[1]) * ((at - before[0]) / width if width else 1)
        before = after
    return before[1]


def lasting(seconds: float) -> str:
    """A life in words: `5 min`."""
    return _in_units(seconds, _SECONDS)


def size(number: float) -> str:
    """Bytes in words: `1.2 MB`."""
    return _in_units(number, _BYTES)


def _in_units(value: float, units: Sequence[tuple[int, str]]) -> str:
    factor, unit = next(((factor, unit) for factor, unit in units if value >= factor), units[-1])
    shown = value / factor
    return (
        f"{shown:.0f}{chr(160)}{unit}"
        if shown >= 10 or shown == int(shown)
        else f"{shown:.1f}{chr(160)}{unit}"
    )


def invalidation(changes: Mapping[str, Sequence[Mapping[str, str]]]) -> Child:
    """Which writes end which entries."""
    if not changes:
        return None
    return [
        element("h2", "What a write ends"),
        element(
            "p",
            "A committed write to a table ends the entries that hold its tags, in every process, before the "
            "request that wrote is answered.",
            class_="soft small",
        ),
        element(
            "div",
            [
                element(
                    "div",
                    element("code", table, class_="from"),
                    element(
                        "ul",
                        [
                            element("li", element("code", item["target"]), _which(item["tag"]))
                            for item in ended
                        ],
                    ),
                    class_="flow",
                )
                for table, ended in changes.items()
            ],
            class_="flows",
        ),
    ]


def _which(tag: str) -> Child:
    table, bracket, rest = tag.partition("(")
    if not bracket:
        return element("span", f" whenever any row of {table} changes", class_="soft small")
    return element("span", " where ", element("code", rest.rstrip(")")), class_="soft small")
