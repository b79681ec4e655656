"""How complex a query is, by a published rule (C45)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import sqlglot
from sqlglot import exp

Complexity = Literal["low", "medium", "high"]

#: From so many points on a query is of high complexity; from one point on it is medium.
HIGH = 4


@dataclass(frozen=True, slots=True)
class Operations:
    """The expensive operations of a query: one point each, a window or a subquery two."""

    joins: int = 0
    aggregates: int = 0
    subqueries: int = 0
    windows: int = 0

    @property
    def points(self) -> int:
        """What they add up to."""
        return self.joins + self.aggregates + 2 * (self.subqueries + self.windows)

    @property
    def complexity(self) -> Complexity:
        """Low without any, high from four points on, medium between."""
        return "low" if self.points == 0 else "high" if self.points >= HIGH else "medium"


def operations(sql: str) -> Operations | None:
    """Count the expensive operations of a query, None for a text that is no query of SQL."""
    try:
        tree = sqlglot.parse_one(sql)
    except (sqlglot.errors.SqlglotError, ValueError, RecursionError):
        return None
    if not isinstance(tree, exp.Query):
        return None
    selects = len(list(tree.find_all(exp.Select)))
    distinct = len(list(tree.find_all(exp.Distinct)))
    grouped = len(list(tree.find_all(exp.Group)))
    return Operations(
        joins=len(list(tree.find_all(exp.Join))),
        aggregates=len(list(tree.find_all(exp.AggFunc))) + distinct + grouped,
        subqueries=max(0, selects - 1),
        windows=len(list(tree.find_all(exp.Window))),
    )


def digest(sql: str) -> str:
    """Twelve characters for a query, the same for any blanks and any case of its keywords, in every process."""
    try:
        text = sqlglot.parse_one(sql).sql()
    except (sqlglot.errors.SqlglotError, ValueError, RecursionError):
        text = " ".join(sql.split())
    return hashlib.sha256(text.encode()).hexdigest()[:12]
