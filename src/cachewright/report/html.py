"""The report: one HTML file that needs nothing else, for people who decide and for people who check.

It loads nothing from anywhere: style and drawings stand inside it, and its content policy forbids the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cachewright.report import curves, plots
from cachewright.report.markup import Child, Markup, element
from cachewright.report.style import CSS
from cachewright.report.words import (
    UNKNOWN,
    Summary,
    change,
    count,
    milliseconds,
    percent,
    plural,
    size,
    summary_of,
)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_MOST_DETAILS = 20

#: What the runtime's reasons mean, for readers who do not know them.
REASONS: Mapping[str, str] = {
    "absent": "not asked for before",
    "expired": "too old",
    "invalidated": "the data had changed",
    "not_predicted": "it was stored for another target",
    "not_accepted": "the application had not yet accepted this credential for it",
    "foreign": "it was stored under other claims",
    "held": "a write to its data was under way",
    "refresh": "it was getting old, and this request fetched it anew",
    "status": "the answer was not a success",
    "set_cookie": "the answer set a cookie",
    "set_header": "what the application says beside the answer had changed",
    "requested": "the request asked for a fresh answer",
    "cache_control": "the application forbade it",
    "stream": "the answer was streamed",
    "too_large": "the answer was too large",
    "wrote": "the request wrote to the database",
    "background": "the request started a background task",
    "no_dependency": "nothing says what the answer depends on",
    "dependency_drift": "it read data that the specification does not name",
    "unkeyed_read": "it read a part of the request that the key lacks",
    "early_sql": "it read the database before the lookup",
    "snapshot": "its database transaction was older than the lookup",
    "unowned_sql": "SQL ran meanwhile that belongs to no request",
    "nested_cache": "it used a cached value of which nobody can tell when it changes",
    "changed": "its data changed meanwhile",
    "object_decides": "access depends on the object, not on the target alone",
    "negative": "too many entries of this kind already say that there is nothing",
    "too_many_tags": "it depends on more data than an entry may name",
    "too_many_keys": "whoever asked has used too many keys within a minute",
    "on_loop": "a function that cannot wait was called where nothing may wait",
    "bypass_condition": "the specification leaves it out",
    "unbound_key": "the request does not say who is asking",
}


def report(
    figures: Mapping[str, Any], design: Mapping[str, Any] | None = None, *, title: str = "Cache report"
) -> str:
    """The whole page.

    `figures` are those of a forecast (`Outcome.to_json()`) or of a measured job: `routes` and `database`, and
    as far as they are known `verify`, `simulate` and `details`. `design` is what a design says beside its
    specification (`Design.to_json()`). What is missing is left out; what is unknown is a dash.
    """
    routes = sorted(figures.get("routes", ()), key=_weight)
    summary = summary_of(figures)
    said = design or {}
    body = element(
        "main",
        element("h1", title),
        element("p", summary.sentence, class_="lead"),
        _cards(summary),
        element("div", plots.durations(routes), plots.hit_rates(routes), class_="plots"),
        _routes(routes),
        _database(figures.get("database") or {}),
        _moved(figures.get("bytes") or {}),
        _correctness(figures),
        _cached(said),
        curves.curves(said.get("shapes") or {}),
        curves.invalidation(said.get("invalidation_map") or {}),
        _not_cached(said.get("not_cached", ())),
        _not_kept(routes),
        _remarks(said),
        element(
            "footer",
            f"{UNKNOWN} means unknown or not applicable. Predictions come from a replay of recorded traffic.",
        ),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(CSS)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', body), lang='en')}\n"


def _weight(route: Mapping[str, Any]) -> tuple[float, str]:
    """Routes that gain most come first, then those that are asked most."""
    before, after = route.get("mean_before_ms") or 0, route.get("mean_after_ms")
    gained = (before - after) * route["requests"] if after is not None else 0
    return (-max(gained, 0), f"{-route['requests']:012}{route['route']}")


def _cards(summary: Summary) -> Markup:
    kind = "measured" if summary.measured else "predicted"
    wrong = UNKNOWN if summary.wrong is None else count(summary.wrong)
    compared = f"of {count(summary.compared)} compared" if summary.compared else "in the replayed traffic"
    shown = [
        (percent(summary.hit_rate), f"of lookups answered from the cache ({kind})", ""),
        (change(summary.mean_before_ms, summary.mean_after_ms), "mean time of a request", ""),
        (percent(summary.queries_saved), "of database queries saved", ""),
        (wrong, f"wrong answers {compared}", "bad" if summary.wrong else "good"),
    ]
    return element(
        "div",
        [
            element("div", element("b", figure, class_=look), element("span", words), class_="card")
            for figure, words, look in shown
        ],
        class_="cards",
    )


def _routes(routes: Sequence[Mapping[str, Any]]) -> Child:
    if not routes:
        return None
    measured = any(route.get("hit_rate_measured") is not None for route in routes)
    heads = ["Route", "Requests", "Hit rate predicted", *(["Hit rate measured"] if measured else [])]
    heads += ["Mean", "Median", "95th percentile"]
    rows = []
    for route in routes:
        cells: list[Child] = [count(route["requests"]), _predicted(route)]
        if measured:
            cells.append(percent(route.get("hit_rate_measured"), 1))
        cells += [_change(route, name) for name in ("mean", "p50", "p95")]
        rows.append((element("code", route["route"]), cells))
    return [
        element("h2", "Routes"),
        element("p", "Times are without → with the cache.", class_="soft small"),
        _table(heads, rows),
    ]


def _predicted(route: Mapping[str, Any]) -> Child:
    low, high = route.get("hit_rate_low"), route.get("hit_rate_high")
    bracket = None
    if low is not None and high is not None and round(low, 3) != round(high, 3):
        bracket = element("small", f"{percent(low, 1)} to {percent(high, 1)}")
    return [percent(route.get("hit_rate_predicted"), 1), bracket]


def _change(route: Mapping[str, Any], name: str) -> str:
    return change(route.get(f"{name}_before_ms"), route.get(f"{name}_after_ms"))


def _database(database: Mapping[str, Any]) -> Child:
    if not database:
        return None
    rows: list[tuple[Child, list[Child]]] = []
    for words, name, unit, shown in (
        ("Queries", "queries", "", count),
        ("Time in the database", "time", "_ms", milliseconds),
    ):
        before, after = database.get(f"{name}_before{unit}"), database.get(f"{name}_after{unit}")
        saved = None if not before or after is None else 1 - after / before
        rows.append((words, [shown(before), shown(after), percent(saved, 1)]))
    return [element("h2", "Database"), _table(["", "Without cache", "With cache", "Saved"], rows)]


_MOVES = (
    ("served", "Answers from the cache"),
    ("stored", "Stored in the cache"),
    ("from_shared", "Sent by Redis"),
    ("to_shared", "Taken by Redis"),
)


def _moved(found: Mapping[str, Any]) -> Child:
    """The bytes of answers that moved; where they lay is known of a replay with workers alone."""
    rows: list[tuple[Child, list[Child]]] = [
        (words, [size(found[name])]) for name, words in _MOVES if found.get(name) is not None
    ]
    return [element("h2", "Bytes moved"), _table(["", "In all"], rows)] if rows else None


def _correctness(figures: Mapping[str, Any]) -> Child:
    """What comparing and replaying found."""
    verified, simulated = figures.get("verify"), figures.get("simulate") or figures
    said: list[Child] = []
    if verified is not None:
        differences, responses = verified.get("differences"), verified.get("responses") or 0
        words = f"{plural(responses, 'answer')} were compared with uncached ones, byte for byte: "
        said.append(element("p", words, _judgement(differences, "difference"), _undecided(verified)))
    wrong = simulated.get("wrong_answers")
    if wrong is not None:
        said.append(
            element(
                "p",
                "The replay of the recording found ",
                _judgement(wrong, "wrong answer"),
                _undecided(simulated),
            )
        )
    details = [*(verified or {}).get("details", ()), *simulated.get("details", ())][:_MOST_DETAILS]
    if details:
        said.append(element("ul", [element("li", _detail(detail)) for detail in details]))
    return [element("h2", "Were the answers right?"), said] if said else None


def _judgement(number: int | None, thing: str) -> Child:
    if number is None:
        return UNKNOWN
    words = f"no {thing}" if number == 0 else plural(number, thing)
    return element("b", words, class_="bad" if number else "good")


def _undecided(found: Mapping[str, Any]) -> str:
    number = found.get("undecided") or 0
    return f"; {number:,} could not be decided, because a write was under way." if number else "."


def _detail(detail: Mapping[str, Any]) -> Child:
    """One wrong answer, told from either source."""
    said: list[Child] = [
        element("b", str(detail.get("kind", "wrong"))),
        " ",
        element("code", str(detail.get("route", ""))),
    ]
    if "filled_by" in detail:
        said.append(
            f": request {detail['answered_to']} would have got the answer to request {detail['filled_by']}"
        )
        last = detail.get("last_write")
        said.append(
            f"; {', '.join(last['tables'])} was written {milliseconds(last['milliseconds_before'])} before."
            if last
            else "."
        )
    else:
        said += [": ", element("code", str(detail.get("path", ""))), f", {detail.get('where', 'somewhere')}"]
    return said


def _cached(design: Mapping[str, Any]) -> Child:
    chosen: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for decision in design.get("decisions", ()):
        chosen[decision["subject"]].append(decision)
    if not chosen:
        return None
    rates = design.get("hit_rates", {})
    return [
        element("h2", "What is cached, and how"),
        [
            element(
                "details",
                element("summary", element("code", subject), _expected(rates.get(subject))),
                element(
                    "ul", [element("li", element("code", d["choice"]), f": {d['reason']}") for d in decisions]
                ),
            )
            for subject, decisions in chosen.items()
        ],
    ]


def _expected(rate: float | None) -> Child:
    return None if rate is None else element("span", f" expected hit rate {percent(rate)}", class_="soft")


def _not_cached(refused: Iterable[Mapping[str, Any]]) -> Child:
    rows: list[tuple[Child, list[Child]]] = [
        (element("code", item["endpoint"]), [element("code", item["code"]), item["reason"]])
        for item in refused
    ]
    if not rows:
        return None
    return [
        element("h2", "What is not cached, and why"),
        _table(["Endpoint", "Code", "Reason"], rows, numbers=False),
    ]


def _not_kept(routes: Iterable[Mapping[str, Any]]) -> Child:
    """Answers of cached routes that were not kept, by reason."""
    rows: list[tuple[Child, list[Child]]] = [
        (
            element("code", route["route"]),
            [[_counted(REASONS.get(reason, reason), number) for reason, number in found.items()]],
        )
        for route in routes
        if (found := route.get("refused"))
    ]
    if not rows:
        return None
    return [
        element("h2", "Answers that were not kept"),
        element(
            "p",
            "Of cached routes: each was given to the one who asked, and to nobody else.",
            class_="soft small",
        ),
        _table(["Route", "Why"], rows, numbers=False),
    ]


def _counted(words: str, number: int) -> Markup:
    return element("div", f"{number:,} \N{MULTIPLICATION SIGN} {words}")


def _remarks(design: Mapping[str, Any]) -> Child:
    titles = {
        "clarifications_needed": "Questions to you",
        "warnings": "Warnings",
        "assumptions": "Assumptions",
        "sources": "Sources",
    }
    return [
        [element("h2", title), element("ul", [element("li", str(item)) for item in design[name]])]
        for name, title in titles.items()
        if design.get(name)
    ]


def _table(
    heads: Sequence[str], rows: Iterable[tuple[Child, Sequence[Child]]], *, numbers: bool = True
) -> Markup:
    look = "n" if numbers else "wide"
    head = [
        element("th", heads[0], scope="col"),
        *(element("th", name, scope="col", class_=look) for name in heads[1:]),
    ]
    body = [
        element(
            "tr",
            element("th", first, scope="row"),
            [
                element("td", cell, class_=look, data_label=name)
                for name, cell in zip(heads[1:], cells, strict=True)
            ],
        )
        for first, cells in rows
    ]
    return element(
        "div",
        element("table", element("thead", element("tr", head)), element("tbody", body)),
        class_="scroll",
    )
