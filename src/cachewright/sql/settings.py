"""Settings of a session that decide which rows it sees: what `SET` and `set_config` say, as reads of `pg_settings`.

Row-level security, roles and search paths choose rows by values that stand in no query. A statement that sets one is
therefore a read whose pin is that value: it has to be covered like any other, by something that the request says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp

from cachewright.spec.tags import SETTINGS
from cachewright.sql.facts import Literal, Operand, Read, StatementFacts
from cachewright.sql.lexer import Family, family_of
from cachewright.sql.operands import Operands

_SET = re.compile(
    r"set\s+(?:session\s+(?!authorization|characteristics)|local\s+)?"
    r"(?P<name>time\s+zone|session\s+(?:authorization|characteristics)|[\w.\"]+)\s*(?:=|\bto\b)?\s*(?P<value>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_TEXT = re.compile(r"'((?:[^'\\]|'')*)'\Z")
_WORD = re.compile(r"[\w.-]+\Z")
#: Settings that change how a query runs and not what it finds.
_HARMLESS = re.compile(
    r"(?:application_name|client_min_messages|constraints|cpu_\w+|cursor_tuple_fraction|debug_\w+|deadlock_timeout|"
    r"effective_\w+|enable_\w+|from_collapse_limit|geqo\w*|hash_mem_multiplier|idle_\w+|jit\w*|join_collapse_limit|"
    r"lock_timeout|log_\w+|maintenance_work_mem|max_parallel\w+|min_parallel\w+|parallel_\w+|plan_cache_mode|"
    r"random_page_cost|seq_page_cost|session characteristics|statement_timeout|synchronous_commit|tcp_\w+|"
    r"temp_buffers|track_\w+|transaction\w*|wal_\w+|work_mem)\Z"
)


def of_set(statement: str, dialect: str, operands: Operands) -> StatementFacts | None:
    """The facts of a SET statement; None where it is none, or sets nothing that a query would notice."""
    found = _SET.match(statement) if family_of(dialect) is Family.POSTGRES else None
    if found is None:
        return None
    name = re.sub(r"\s+", " ", found["name"].lower().replace('"', ""))
    if _HARMLESS.match(name):
        return None
    return StatementFacts(reads=(_read(name, _operand(found["value"].strip(), operands)),))


def of_calls(root: exp.Expr, operands: Operands) -> Iterator[Read]:
    """The reads that the calls of `set_config` in a statement stand for."""
    for node in root.find_all(exp.Anonymous):
        if node.name.lower() != "set_config" or len(node.expressions) < 2:
            continue
        name, value = node.expressions[:2]
        known = operands.read(name)
        if not isinstance(known, Literal):
            yield Read(SETTINGS, (), frozenset())
        elif not _HARMLESS.match(str(known.value).lower()):
            yield _read(str(known.value).lower(), operands.read(value))


def _read(name: str, operand: Operand | None) -> Read:
    return Read(SETTINGS, () if operand is None else ((name, operand),), frozenset({name}))


def _operand(value: str, operands: Operands) -> Operand | None:
    text = _TEXT.match(value)
    if text is not None:
        return Literal(text[1].replace("''", "'"))
    if value.startswith(":"):
        return operands.read(exp.Placeholder(this=value[1:].strip()))
    return Literal(value) if _WORD.match(value) else None
