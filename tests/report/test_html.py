"""The report is well-formed, escapes everything, loads nothing, and says what the figures say."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from cachewright.report import report
from cachewright.report.html import REASONS
from cachewright.report.markup import Markup, element
from cachewright.report.words import Summary, change, milliseconds, percent, summary_of
from cachewright.spec.semantics import Reason

VOID = {"meta", "br", "hr", "col"}
EVIL = "<script>alert('x')</script>\"&"

FORECAST: dict[str, Any] = {
    "routes": [
        {
            "route": "GET /api/tasks",
            "requests": 900,
            "hit_rate_predicted": 0.612,
            "hit_rate_low": 0.58,
            "hit_rate_high": 0.63,
            "hit_rate_measured": None,
            "refused": {"dependency_drift": 12, "status": 3},
            "mean_before_ms": 12.3,
            "mean_after_ms": 5.1,
            "p50_before_ms": 10.0,
            "p50_after_ms": 0.6,
            "p95_before_ms": 31.0,
            "p95_after_ms": 28.0,
        },
        {
            "route": "POST /api/tasks",
            "requests": 100,
            "hit_rate_predicted": None,
            "hit_rate_measured": None,
            "mean_before_ms": 8.0,
            "mean_after_ms": 8.0,
            "p50_before_ms": 8.0,
            "p50_after_ms": 8.0,
            "p95_before_ms": 9.0,
            "p95_after_ms": 9.0,
        },
    ],
    "database": {
        "queries_before": 4000,
        "queries_after": 1800,
        "time_before_ms": 9000.0,
        "time_after_ms": 4100.0,
    },
    "hit_rate": 0.612,
    "wrong_answers": 0,
    "undecided": 2,
    "details": [],
}
DESIGN: dict[str, Any] = {
    "decisions": [
        {
            "subject": "GET /api/tasks",
            "choice": "scope: user",
            "reason": "two users got two answers",
            "because": ["F1"],
        }
    ],
    "hit_rates": {"GET /api/tasks": 0.6},
    "not_cached": [
        {"endpoint": "GET /api/login", "code": "sensitive", "reason": "Its path says login.", "figures": {}}
    ],
    "assumptions": ["one host"],
    "clarifications_needed": ["Who is the tenant?"],
    "warnings": ["a trigger was seen"],
    "sources": ["traffic.trace"],
}


class Strict(HTMLParser):
    """Follows the nesting, and remembers texts and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(page: str) -> Strict:
    parser = Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def text_of(page: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(" ".join(parsed(body).texts).split())


@pytest.mark.parametrize("design", [None, DESIGN], ids=["figures alone", "with a design"])
@pytest.mark.parametrize(
    "figures", [FORECAST, {"routes": [], "database": {}}, {}], ids=["forecast", "empty", "nothing"]
)
def test_every_element_is_closed(figures: dict[str, Any], design: dict[str, Any] | None) -> None:
    page = report(figures, design)
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert {"html", "head", "title", "style", "body", "main", "h1"} <= set(parsed(page).tags)


def poisoned(value: Any) -> Any:
    """The same data with every text replaced."""
    match value:
        case dict():
            return {name: poisoned(item) for name, item in value.items()}
        case list():
            return [poisoned(item) for item in value]
        case str():
            return EVIL
    return value


def test_texts_from_outside_stay_texts() -> None:
    detail = {
        "kind": "stale",
        "route": "x",
        "filled_by": 1,
        "answered_to": 2,
        "last_write": {"tables": ["x"], "milliseconds_before": 3.0},
    }
    figures = poisoned(
        {
            **FORECAST,
            "details": [detail],
            "verify": {
                "responses": 3,
                "differences": 1,
                "details": [{"kind": "x", "route": "x", "path": "x", "where": "x"}],
            },
        }
    )
    figures["routes"][0]["refused"] = {EVIL: 1}
    parser = parsed(report(figures, poisoned(DESIGN), title=EVIL))
    assert "script" not in parser.tags
    assert not any(name.startswith("on") for name, _ in parser.attributes)
    assert any(EVIL in text for text in parser.texts)
    assert any(value is not None and EVIL in value for _, value in parser.attributes)


def test_nothing_is_loaded_from_anywhere() -> None:
    page = report(FORECAST, DESIGN)
    parser = parsed(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(parser.tags)
    assert not {"src", "href", "xlink:href", "style"} & {name for name, _ in parser.attributes}
    assert "url(" not in page
    assert "@import" not in page
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in parser.attributes


def test_a_forecast_is_told_as_one() -> None:
    text = text_of(report(FORECAST, DESIGN))
    assert "With this cache, 61 % of lookups would be answered without the application" in text
    assert "a request would take 5.39 ms on average instead of 11.9 ms" in text
    assert "the database would run 55 % fewer queries" in text
    assert "Replaying the recorded traffic found no wrong answer." in text
    assert "58.0 % to 63.0 %" in text
    assert "12 \N{MULTIPLICATION SIGN} it read data that the specification does not name" in text
    assert "2 could not be decided" in text
    for item in (
        "Its path says login.",
        "two users got two answers",
        "Who is the tenant?",
        "one host",
        "traffic.trace",
    ):
        assert item in text


def test_a_measurement_is_told_as_one() -> None:
    measured = {**FORECAST["routes"][0], "hit_rate_measured": 0.6}
    figures = {
        "routes": [measured, FORECAST["routes"][1]],
        "database": FORECAST["database"],
        "simulate": {"wrong_answers": 0},
        "verify": {"responses": 2802, "differences": 0, "undecided": 0},
    }
    text = text_of(report(figures))
    assert "60 % of lookups were answered without the application" in text
    assert "a request took 5.39 ms on average" in text
    assert "2,802 answers were compared with uncached ones, and none differed." in text


def test_wrong_answers_come_first_in_words_and_are_shown() -> None:
    detail = {
        "kind": "foreign",
        "route": "GET /me",
        "filled_by": 4,
        "answered_to": 9,
        "filled_by_credential": "h1",
        "answered_to_credential": "h2",
        "age_ms": 3.0,
        "last_write": None,
    }
    text = text_of(report({**FORECAST, "wrong_answers": 1, "details": [detail]}))
    assert "1 answer would have been wrong: do not use it as it is." in text
    assert "request 9 would have got the answer to request 4" in text


def test_unknown_is_a_dash_and_not_a_zero() -> None:
    route = {**FORECAST["routes"][0], "mean_after_ms": None, "hit_rate_predicted": None}
    page = report({"routes": [route], "database": {"queries_before": 3, "queries_after": None}})
    assert "12.3 ms → \N{EN DASH}" in text_of(page)
    assert summary_of({"routes": [route]}) == Summary(900, None, False, 12.3, None, None, None, None)


def test_every_route_that_is_drawn_has_words_for_those_who_do_not_see_it() -> None:
    attributes = parsed(report(FORECAST)).attributes
    labels = [plain(value or "") for name, value in attributes if name == "aria-label"]
    assert "GET /api/tasks: 12.3 ms without, 5.10 ms with cache" in labels
    assert "GET /api/tasks: predicted 61 %, measured \N{EN DASH}" in labels


def test_many_routes_are_drawn_in_part_and_listed_in_full() -> None:
    routes = [{**FORECAST["routes"][0], "route": f"GET /r{number}"} for number in range(20)]
    text = text_of(report({"routes": routes}))
    assert "6 more routes are in the table." in text
    assert all(f"GET /r{number}" in text for number in range(20))


def test_every_reason_of_the_runtime_has_words() -> None:
    assert set(REASONS) == {reason.value for reason in Reason} - {"off", "no_store"}


@pytest.mark.parametrize(
    ("share", "shown"),
    [(None, "\N{EN DASH}"), (0.0, "0 %"), (0.001, "< 1 %"), (0.5, "50 %"), (0.999, "> 99 %"), (1.0, "100 %")],
)
def test_percent(share: float | None, shown: str) -> None:
    assert plain(percent(share)) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "\N{EN DASH}"),
        (0.05, "0.05 ms"),
        (12.34, "12.3 ms"),
        (1234.5, "1,234 ms"),
        (65_000.0, "65.0 s"),
    ],
)
def test_milliseconds(value: float | None, shown: str) -> None:
    assert plain(milliseconds(value)) == shown


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (12.34, 0.9, "12.3 → 0.90 ms"),
        (65_000.0, 900.0, "65.0 s → 900 ms"),
        (3.0, None, "3.00 ms → \N{EN DASH}"),
    ],
)
def test_change(before: float, after: float | None, shown: str) -> None:
    assert plain(change(before, after)) == shown


def test_markup_escapes_what_is_not_markup() -> None:
    inner = element("b", "<i>", class_='"x"')
    assert inner == '<b class="&quot;x&quot;">&lt;i&gt;</b>'
    assert (
        element("p", [inner, None, ["&"]], data_label="1 < 2", hidden=None)
        == f'<p data-label="1 &lt; 2">{inner}&amp;</p>'
    )
    assert element("br") == Markup("<br>")


def test_bytes_that_moved_are_told_where_they_are_known():
    page = report(
        {**FORECAST, "bytes": {"served": 12_345_678, "stored": 900, "from_shared": None, "to_shared": None}}
    )
    assert "12.3 MB" in page
    assert "900 B" in page
    assert "Sent by Redis" not in page
    assert "Sent by Redis" in report(
        {**FORECAST, "bytes": {"served": 1, "stored": 1, "from_shared": 1, "to_shared": 1}}
    )
    assert "Bytes moved" not in report(FORECAST)
