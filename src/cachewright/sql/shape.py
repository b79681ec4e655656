"""The shape of a statement: what is left where values, spelling and lengths of lists are taken away."""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from cachewright.sql.lexer import family_of
from cachewright.sql.placeholders import normalise

_LONGEST = 100_000


def shape(sql: str, *, dialect: str, paramstyle: str) -> str | None:
    """The same for all spellings of one statement, and free of data; None for what cannot be parsed."""
    if len(sql) > _LONGEST:
        return None
    try:
        text, _ = normalise(sql, paramstyle, dialect=dialect)
        tree = sqlglot.parse_one(text, dialect=family_of(dialect).value)
    except (sqlglot.errors.SqlglotError, ValueError, KeyError, RecursionError):
        return None
    return tree.transform(_plain).sql(comments=False, normalize=True)


def _plain(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.In) and node.expressions:
        return exp.In(this=node.this, expressions=[exp.Placeholder()])
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal | exp.Placeholder | exp.Parameter):
        return exp.Placeholder()  # drivers tell the types of what they bind
    if isinstance(node, exp.Literal | exp.Placeholder | exp.Parameter):
        return exp.Placeholder()
    if isinstance(node, exp.Ordered):  # where a database puts NULL is no choice of whoever wrote the text
        node.set("nulls_first", not node.args.get("desc"))
    if isinstance(node, exp.Identifier):
        return exp.to_identifier(node.name.lower())
    return node
