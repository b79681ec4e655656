"""Plots as inline SVG, one small drawing a route.

Lengths are percentages and texts have the page's size, so a plot is as readable on a telephone as on paper; a
plotting library would add megabytes of script to every report and say no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cachewright.report.markup import Markup, element
from cachewright.report.words import milliseconds, percent

#: Share of the width that the longest bar takes; the rest is for its number.
_LONGEST = 78.0
_MOST_ROUTES = 14
_RATE_LEFT, _RATE_WIDTH = 2.0, 96.0


def durations(routes: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Mean time of each route that is cached before and after, as bars; None where nothing is known."""
    timed = [r for r in routes if r.get("mean_before_ms") is not None]
    known = [route for route in timed if _rates(route)] or timed
    known.sort(key=lambda route: -route["mean_before_ms"])
    shown = known[:_MOST_ROUTES]
    if not shown:
        return None
    longest = max(max(route["mean_before_ms"], route.get("mean_after_ms") or 0) for route in shown) or 1
    return element(
        "figure",
        element("h3", "Mean time of a request to a cached route"),
        element("figcaption", _key("before", "without cache"), _key("after", "with cache"), _rest(known)),
        [
            element("div", element("code", route["route"]), _bars(route, longest), class_="row")
            for route in shown
        ],
    )


def hit_rates(routes: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Hit rates of each route: the bracket of the forecast, the forecast, the measurement."""
    known = [r for r in routes if _rates(r)]
    known.sort(key=lambda route: -max(_rates(route)))
    shown = known[:_MOST_ROUTES]
    if not shown:
        return None
    keys = [_key("hollow", "predicted")]
    if any(route.get("hit_rate_low") is not None for route in shown):
        keys.append(_key("before", "bracket of the prediction"))
    if any(route.get("hit_rate_measured") is not None for route in shown):
        keys.append(_key("after dot", "measured"))
    return element(
        "figure",
        element("h3", "Hit rate"),
        element("figcaption", keys, _rest(known)),
        [element("div", element("code", route["route"]), _dots(route), class_="row") for route in shown],
        element(
            "svg",
            [
                element("text", percent(share), x=_at(share), y=9, text_anchor="middle", class_="soft")
                for share in (0.0, 0.5, 1.0)
            ],
            height=18,
            aria_hidden="true",
        ),
    )


def _bars(route: Mapping[str, Any], longest: float) -> Markup:
    before, after = route["mean_before_ms"], route.get("mean_after_ms")
    words = f"{route['route']}: {milliseconds(before)} without, {milliseconds(after)} with cache"
    return element(
        "svg",
        element("title", words),
        _bar(before, longest, 1, "fill-before"),
        _bar(after, longest, 19, "fill-after") if after is not None else None,
        height=36,
        role="img",
        aria_label=words,
    )


def _bar(value: float, longest: float, top: int, kind: str) -> list[Markup]:
    width = _LONGEST * value / longest
    return [
        element("rect", x=0, y=top, width=f"{max(width, 0.4):.2f}%", height=14, rx=3, class_=kind),
        element("text", milliseconds(value), x=f"{width:.2f}%", dx=8, y=top + 7),
    ]


def _dots(route: Mapping[str, Any]) -> Markup:
    predicted, measured = route.get("hit_rate_predicted"), route.get("hit_rate_measured")
    low, high = route.get("hit_rate_low"), route.get("hit_rate_high")
    words = f"{route['route']}: predicted {percent(predicted)}, measured {percent(measured)}"
    return element(
        "svg",
        element("title", words),
        element("line", x1=_at(0), x2=_at(1), y1=10, y2=10, class_="axis"),
        None
        if low is None or high is None
        else element("line", x1=_at(low), x2=_at(high), y1=10, y2=10, class_="range"),
        None if measured is None else element("circle", cx=_at(measured), cy=10, r=6, class_="fill-after"),
        None if predicted is None else element("circle", cx=_at(predicted), cy=10, r=4.5, class_="ring"),
        height=20,
        role="img",
        aria_label=words,
    )


def _at(share: float) -> str:
    return f"{_RATE_LEFT + _RATE_WIDTH * share:.2f}%"


def _rates(route: Mapping[str, Any]) -> list[float]:
    rates = (route.get("hit_rate_predicted"), route.get("hit_rate_measured"))
    return [rate for rate in rates if rate is not None]


def _key(kind: str, words: str) -> Markup:
    return element("span", element("i", class_=kind), words, class_="key")


def _rest(known: Sequence[Mapping[str, Any]]) -> str | None:
    return f"{len(known) - _MOST_ROUTES} more routes are in the table." if len(known) > _MOST_ROUTES else None
