"""What caching a target is worth, by the figures that a request gives; they are said, and decide nothing alone."""

from __future__ import annotations

from collections.abc import Iterator

from cachewright.design.result import Decision
from cachewright.design.written.choices import Said
from cachewright.design.written.facts import Known, weight
from cachewright.request.backend import Backend
from cachewright.spec.words import count

#: From this many milliseconds on a query counts as slow: more, not as many (#42).
SLOW_MS = 100.0
#: From so many requests a minute on an endpoint counts as frequent, from so many reads to a change as read-heavy.
FREQUENT_PER_MINUTE = 60
READ_HEAVY = 10


def value_of(target: Known, ttl: int | None, busy: float | None, said: Said) -> float | None:
    """Say what the target costs; the forecast hit rate where the number of keys is said, by the closed formula."""
    subject, rate, cost = target.subject, target.per_second, target.milliseconds
    if target.operations is not None:
        counted = target.operations
        if target.asked.complexity not in (None, counted.complexity):
            said.warnings.append(
                f"{subject}: said to be of {target.asked.complexity} complexity; by its joins ({counted.joins}), "
                f"aggregates ({counted.aggregates}), subqueries ({counted.subqueries}) and windows ({counted.windows}) "
                f"it is {counted.complexity}."
            )
    if rate is None or cost is None:
        missing = "how often it is asked for" if rate is None else "what it costs"
        said.assumptions.append(f"{subject}: {missing} was not said; that it is worth caching is assumed.")
        return None
    load = rate * cost / 1000
    slow = f", slow (more than {SLOW_MS:g} ms)" if cost > SLOW_MS else ""
    text = (
        f"{rate * 60:g} requests a minute of {cost:g} ms{slow}: {load:.2f} seconds of work in every second."
    )
    if busy is not None:
        text += f" A database that is busy for {busy:.0%} of its time gains {weight(busy):.1f} times that."
    keys = target.asked.distinct_keys
    if keys is None:
        said.decisions.append(Decision(subject, "value", text))
        said.assumptions.append(
            f"{subject}: over how many keys its requests spread was not said; no hit rate is forecast."
        )
        return None
    per_key = rate / keys * (ttl or 86_400)
    share = per_key / (1 + per_key)
    text += f" Spread evenly over {count(keys, 'key')}, {share:.0%} would be hits and {load * share:.2f} of it spared."
    said.decisions.append(Decision(subject, "value", text))
    said.assumptions.append(
        f"{subject}: requests come at random and evenly over its {count(keys, 'key')} (no recording shows them)."
    )
    return share


def categories_of(target: Known, said: Said) -> None:
    """Say of which kind the target's load is, by published bounds; the bounds decide nothing, the figures do."""
    rate, cost, gap = target.per_second, target.milliseconds, target.seconds_between_changes
    counted = target.operations
    computed = target.asked.computed_data is not None
    reads = rate * gap if rate is not None and gap is not None else 0.0
    found = {
        f"slow (more than {SLOW_MS:g} ms)": cost is not None and cost > SLOW_MS,
        f"frequent ({FREQUENT_PER_MINUTE} a minute or more)": rate is not None
        and 60 * rate >= FREQUENT_PER_MINUTE,
        "complex (joins, aggregations, subqueries)": counted is not None and counted.complexity != "low",
        f"expensive (computed in more than {SLOW_MS:g} ms)": computed and cost is not None and cost > SLOW_MS,
        f"read-heavy ({READ_HEAVY} reads or more to a change)": reads >= READ_HEAVY,
    }
    names = [name for name, holds in found.items() if holds]
    if names:
        short = ", ".join(name.partition(" (")[0] for name in names)
        said.decisions.append(Decision(target.subject, f"category: {short}", f"It is {'; '.join(names)}."))
    counted_only = target.asked.query_frequency is None and target.asked.execution_count is not None
    if counted_only and target.asked.window_seconds is None:
        said.assumptions.append(f"{target.subject}: its executions were counted within one day.")


def granularity_of(target: Known, tags: tuple[str, ...], said: Said) -> None:
    """Weigh rows against whole tables where reads, writes and keys are known, by the closed formula of hits."""
    rate, gap, keys = target.per_second, target.seconds_between_changes, target.asked.distinct_keys
    rows = [tag for tag in tags if "(" in tag]
    if not (rate and gap and keys and tags):
        return
    fine, coarse = (per / (1 + per) for per in (rate / keys * gap * keys, rate / keys * gap))
    chosen = "rows" if rows else "whole tables"
    reason = (
        f"A write ends every entry of a table about each {gap:g} s, {coarse:.0%} hits at most; where it ends those of "
        f"its rows alone, each about every {gap * keys:g} s, {fine:.0%}. "
        + (
            "Rows take a tag for each key."
            if rows
            else "Whole tables are simpler; rows need `depends_on` with columns."
        )
    )
    said.decisions.append(Decision(target.subject, f"granularity: {chosen}", reason))


def limits_met(target: Known, backend: Backend) -> Iterator[str]:
    """Sentences of the documents that a target breaks."""
    seen = target.asked.p95_ms
    for limit in backend.limits:
        if seen is not None and limit.percentile in (95, None) and seen > limit.milliseconds:
            yield f'{target.subject}: its p95 is {seen:g} ms; {limit.source} asks for "{limit.text}".'
