"""How complex the queries of a route are, by the published rule."""

from __future__ import annotations

from collections.abc import Iterator

from cachewright.analysis.exchanges import RouteEvidence
from cachewright.analysis.findings import Observation
from cachewright.evidence.trace import Trace
from cachewright.sql.complexity import Operations, operations
from cachewright.sql.placeholders import normalise


def observations(route: RouteEvidence, trace: Trace) -> Iterator[Observation]:
    """Tell of the most complex query of `route`, and how many different ones it runs."""
    texts = {statement.text for exchange in route.exchanges for statement in exchange.statements}
    counted = [found for text in sorted(texts) if (found := _operations(trace, text)) is not None]
    if not counted:
        return
    worst = max(counted, key=lambda found: found.points)
    parts = ("joins", "aggregates", "subqueries", "windows")
    shown = (
        ", ".join(f"{getattr(worst, part)} {part}" for part in parts if getattr(worst, part))
        or "one table alone"
    )
    text = f"{len(counted)} different queries; the most complex one is of {worst.complexity} complexity ({shown})."
    figures = {"queries": len(counted), "complexity": worst.complexity, "points": worst.points}
    yield Observation("complexity", route.subject, text, figures)


def _operations(trace: Trace, number: int) -> Operations | None:
    def count() -> Operations | None:
        text = trace.texts[number]
        plain, _ = normalise(text.sql, text.paramstyle, dialect=text.dialect)
        return operations(plain)

    return trace.once(("operations", number), count)
