"""Figures as tables for a screen; an unknown is a dash, never a zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from cachewright.cli.demo_targets import Target
    from cachewright.design.result import Design

UNKNOWN = "-"


def table(title: str, *columns: str, right: Iterable[str] = ()) -> Table:
    """An empty table; the columns named in `right` hold numbers."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    aligned = set(right)
    for name in columns:
        made.add_column(
            name, justify="right" if name in aligned else "left", no_wrap=name in aligned, overflow="fold"
        )
    return made


def texts(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts, taken as they are."""
    made = table(title, *columns)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def choices(found: Design) -> Table:
    """The targets of a design."""
    made = table("Cached", "route", "scope", "hit rate", "key", right=("hit rate",))
    for target in found.spec.cache_targets:
        rate = percent(found.hit_rates.get(target.subject))
        made.add_row(Text(target.subject), target.scope, rate, Text(target.cache_key_pattern or ""))
    return made


def refusals(found: Design) -> Table:
    """What a design refuses to cache, and why."""
    rows = ((refused.endpoint, refused.code, refused.reason) for refused in found.not_cached)
    return texts("Not cached", ("route", "code", "reason"), rows)


def percent(share: float | None) -> str:
    """A share from 0 to 1 as a percentage."""
    return UNKNOWN if share is None else f"{share * 100:.1f} %"


def milliseconds(value: float | None) -> str:
    """A duration in ms, with as many digits as one reads."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def pair(before: str, after: str) -> str:
    """`12.3 → 0.9`."""
    return f"{before} → {after}"


def forecast(document: Mapping[str, Any]) -> Table:
    """The routes of a forecast: what was looked up and hit, what it saved, what would have been wrong."""
    numbers = ("requests", "hit rate", "p50 ms", "p95 ms", "queries", "wrong")
    made = table("Forecast", "route", *numbers, right=numbers)
    for route in document["routes"]:
        made.add_row(
            Text(route["route"]),
            f"{route['requests']:,}",
            percent(route["hit_rate_predicted"]) if route["cached"] else UNKNOWN,
            pair(milliseconds(route["p50_before_ms"]), milliseconds(route["p50_after_ms"])),
            pair(milliseconds(route["p95_before_ms"]), milliseconds(route["p95_after_ms"])),
            pair(_whole(route["queries_before"]), _whole(route["queries_after"])),
            _whole(route["wrong_answers"]) if route["cached"] else UNKNOWN,
        )
    return made


def moved(document: Mapping[str, Any]) -> str:
    """The bytes that the answers of a forecast move, in a line."""
    found = document["bytes"]
    if found is None:
        return ""
    from cachewright.report.words import size

    text = f"served from the cache {size(found['served'])}, stored in it {size(found['stored'])}"
    if found["from_shared"] is not None:
        text += f"; sent by Redis {size(found['from_shared'])}, taken by it {size(found['to_shared'])}"
    return text


def written(found: Sequence[Mapping[str, Any]]) -> Table:
    """How the writes to each table were seen."""
    columns = ("table", "by row", "as a whole", "outside of requests")
    made = table("Transactions that wrote", *columns, right=columns[1:])
    for seen in found:
        made.add_row(
            seen["table"], f"{seen['by_row']:,}", f"{seen['as_a_whole']:,}", f"{seen['outside_requests']:,}"
        )
    return made


def _whole(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def options(found: Sequence[Mapping[str, Any]]) -> Table:
    """Several forecasts beside each other, one a line."""
    numbers = ("hit rate", "queries", "database ms", "peak bytes", "wrong")
    made = table("What if", "option", *numbers, right=numbers)
    for one in found:
        work = one["database"]
        made.add_row(
            Text(one["option"]),
            percent(one["hit_rate"]),
            f"{work['queries_after']:,}",
            milliseconds(work["time_after_ms"]),
            f"{one['peak_bytes']:,}",
            str(one["wrong_answers"]),
        )
    return made


def measured(document: Mapping[str, Any]) -> Table:
    """The figures of a whole job: each route predicted and measured, before and after."""
    numbers = ("requests", "predicted", "measured", "mean ms", "p50 ms", "p95 ms")
    made = table("Hit rate predicted and measured, times before → after", "route", *numbers, right=numbers)
    for route in document["routes"]:
        made.add_row(
            Text(route["route"]),
            f"{route['requests']:,}",
            percent(route["hit_rate_predicted"]),
            percent(route["hit_rate_measured"]),
            *(
                pair(milliseconds(route[f"{name}_before_ms"]), milliseconds(route[f"{name}_after_ms"]))
                for name in ("mean", "p50", "p95")
            ),
        )
    return made


def database(document: Mapping[str, Any]) -> Table:
    """The database's work before and after, and what the two proofs found."""
    work, verdict = document["database"], document["verify"]
    made = table("Database and proofs", "", "before", "after", right=("before", "after"))
    made.add_row("queries", f"{work['queries_before']:,}", f"{work['queries_after']:,}")
    made.add_row("time ms", milliseconds(work["time_before_ms"]), milliseconds(work["time_after_ms"]))
    made.add_row("wrong answers (simulate)", "", str(document["simulate"]["wrong_answers"]))
    made.add_row(f"differences of {verdict['responses']:,} answers (verify)", "", str(verdict["differences"]))
    return made


def targets(found: Iterable[Target]) -> Table:
    """What a job set out to reach and what it reached; the word says what the mark and its colour say."""
    made = table("Targets", "", "target", "reached", "required", right=("reached", "required"))
    marks = {True: ("✓ met", "green"), False: ("✗ missed", "red"), None: ("- not measured", "")}
    for target in found:
        word, style = marks[target.met]
        reached, required = _bounded(target, 2)
        made.add_row(Text(word, style=style), Text(target.name), reached, required)
    return made


def missed(found: Iterable[Target]) -> list[str]:
    """A line for each target that was missed, with digits enough to tell by how much."""
    lines = []
    for target in found:
        if target.met is False:
            reached, required = _bounded(target, 3)
            lines.append(f"missed: {target.name}: reached {reached}, required {required}")
    return lines


def _bounded(target: Target, digits: int) -> tuple[str, str]:
    """What was reached and what was required, in words."""
    reached, required = (_figure(value, target.unit, digits) for value in (target.reached, target.required))
    if not target.required:  # nothing to compare with, or nothing at all is allowed
        return reached, required
    return reached, f"{'≤' if target.at_most else '≥'} {required}"


def _figure(value: float | None, unit: str, digits: int) -> str:
    if value is None:
        return UNKNOWN
    shown = f"{value:,.0f}" if value == int(value) else f"{value:,.{digits}f}"
    return f"{shown} {unit}".rstrip()


def verdict(document: Mapping[str, Any]) -> list[str]:
    """What a comparison found, a line for each difference and each undecided answer that is shown."""
    found = f"{document['differences']} differences, {document['undecided']} undecided"
    lines = [f"{document['responses']:,} answers compared: {found}"]
    for detail in document["details"]:
        lines.append("")
        lines.extend(f"  {name}: {value}" for name, value in detail.items())
    return lines
