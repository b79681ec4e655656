"""Indexes that come before a cache: it would hide what the database should not have to do at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from cachewright.design.result import Design
from cachewright.evidence.readers.plans import WholeTable
from cachewright.evidence.trace import Trace


def with_indexes(found: Design, trace: Trace, scans: Sequence[WholeTable]) -> Design:
    """`found` with the indexes that the plans of recorded queries ask for."""
    routes = {route.id: f"{route.method} {route.template}" for route in trace.routes}
    of_request = {request.id: request.route for request in trace.requests}
    asking: dict[tuple[str, tuple[str, ...], int], set[str]] = defaultdict(set)
    by_text: dict[int, list[WholeTable]] = defaultdict(list)
    for scan in scans:
        by_text[scan.text].append(scan)
    for statement in trace.statements:
        route = of_request.get(statement.request) if statement.request is not None else None
        for scan in by_text.get(statement.text, ()):
            asking[scan.table, scan.columns, scan.rows].add("other work" if route is None else routes[route])
    told = tuple(
        f"{', '.join(sorted(names))}: all {rows:,} rows of {table} are read to find those of its "
        f"{', '.join(columns)}. Add the index first (CREATE INDEX ON {table} ({', '.join(columns)})): a cache would "
        "hide it, and every miss still pays for it."
        for (table, columns, rows), names in sorted(asking.items())
    )
    return replace(found, warnings=(*found.warnings, *told))
