"""What is known of one target of a written request: its SQL, its tables, its parameters, its traffic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cachewright.request.backend import Backend, Endpoint, Table
from cachewright.request.model import AskedTarget
from cachewright.spec.rates import parse_frequency, parse_interval
from cachewright.spec.tags import Source, TagTemplate
from cachewright.sql.complexity import Operations, operations
from cachewright.sql.facts import Bind, Literal, StatementFacts
from cachewright.sql.parse import parse

_WORD = re.compile(r"[A-Za-z_]\w*")
_STYLES = (("?", "qmark"), ("$1", "numeric_dollar"), ("%(", "pyformat"), ("%s", "format"), (":", "named"))
_USERS = ("user", "users", "accounts", "account", "auth_user")
_FILE = re.compile(
    r"(?:^/(?:static|assets)/|\.(?:png|jpe?g|gif|svg|webp|ico|css|js|woff2?|ttf|pdf|txt|map)$)", re.IGNORECASE
)
#: The seconds in which executions were counted, where nobody says which.
DAY = 86_400
_BUSIEST = 0.95
_OWNERS = ("user_id", "owner_id", "userid", "ownerid")


@dataclass(frozen=True, slots=True)
class Known:
    """One target with what request and documents say of it; `named` says that it was asked for by name."""

    asked: AskedTarget
    index: int
    named: bool
    endpoint: Endpoint | None = None
    facts: StatementFacts | None = None
    operations: Operations | None = None

    @property
    def subject(self) -> str:
        """Method and path of an endpoint; otherwise the query or value itself."""
        return " ".join(self.place) if self.asked.endpoint is not None else self.asked.subject

    @property
    def place(self) -> tuple[str, str]:
        """Method and path of an endpoint."""
        method, _, path = (self.asked.endpoint or "").strip().rpartition(" ")
        return (method.strip() or "GET").upper(), path

    @property
    def resource(self) -> str:
        """What it is about: the resource part of its key."""
        asked = self.asked
        if asked.resource_type is not None:
            return asked.resource_type
        if asked.endpoint is not None:
            parts = [part for part in self.place[1].split("/") if part and "{" not in part]
            parts = [part for part in parts if part != "api" and not re.fullmatch(r"v\d+", part)] or ["root"]
            return ":".join(parts)
        if self.facts is not None and self.facts.reads:
            return self.facts.reads[0].table
        return "_".join(_WORD.findall(asked.name or asked.subject)[:4]).lower() or "value"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Query parameters that belong in the key, those of request and documents, in their order."""
        described = (
            [one.name for one in self.endpoint.parameters if one.where == "query"] if self.endpoint else []
        )
        named = dict.fromkeys((*self.asked.parameters, *described))
        in_path = set(self.path_fields)
        return tuple(name for name in named if name not in {*self.asked.ignored_parameters, *in_path})

    @property
    def path_fields(self) -> tuple[str, ...]:
        """Parameters of the path."""
        return tuple(re.findall(r"\{([^{}:]+)", self.asked.endpoint or ""))

    @property
    def single(self) -> bool:
        """Whether it answers with one thing rather than with a list."""
        return self.subject.rstrip("/").endswith("}")

    @property
    def per_second(self) -> float | None:
        """Requests a second, as far as it is said: a frequency, or a count in a window."""
        asked = self.asked
        if asked.query_frequency is not None:
            return parse_frequency(asked.query_frequency)
        if asked.execution_count is not None:
            return asked.execution_count / (asked.window_seconds or DAY)
        return None

    @property
    def milliseconds(self) -> float | None:
        """What one request costs without a cache."""
        asked = self.asked
        return asked.avg_query_time_ms if asked.avg_query_time_ms is not None else asked.computation_cost_ms

    @property
    def seconds_between_changes(self) -> float | None:
        """How often its data changes, as far as that is said and understood."""
        if self.asked.write_frequency is not None:
            rate = parse_frequency(self.asked.write_frequency)
            return 1 / rate if rate else None
        return change_interval(self.asked.update_frequency or "")


def change_interval(text: str) -> float | None:
    """Seconds between two changes in `hourly`, `5/min` or `every 10 minutes`; None where that is no figure."""
    for understand in (parse_interval, lambda words: 1 / parse_frequency(words)):
        try:
            return understand(text)
        except (ValueError, ZeroDivisionError):
            continue
    return None


def weight(load: float | None) -> float:
    """What a second spared is worth in a database that is busy for the share `load` of its time: waits grow so."""
    return 1.0 if load is None else 1 / (1 - min(load, _BUSIEST))


def known(asked: AskedTarget, index: int, backend: Backend, *, named: bool) -> Known:
    """Gather what is known of a target."""
    bare = Known(asked, index, named)
    if asked.endpoint is not None:
        return Known(asked, index, named, endpoint=backend.endpoint(*bare.place))
    if asked.database_query is not None:
        counted = operations(asked.database_query)
        facts = None if counted is None else understood(asked.database_query, backend)
        return Known(asked, index, named, facts=facts, operations=counted)
    return bare


def understood(sql: str, backend: Backend) -> StatementFacts | None:
    """The facts of a query, None where it is not understood."""
    style = next((style for mark, style in _STYLES if mark in sql), "qmark")
    schema = {table.name: table.columns for table in backend.tables} or None
    for dialect in ("postgresql", "sqlite", "mysql"):
        for columns in (schema, None):
            facts = parse(sql, dialect=dialect, paramstyle=style, schema=columns)
            if not facts.unknown and not facts.harmless:
                return facts
    return None


def columns_of(facts: StatementFacts, backend: Backend) -> Iterator[str]:
    """The columns that a query answers with or looks at, as far as they are known."""
    for read in facts.reads:
        table = backend.table(read.table)
        yield from read.columns if read.columns is not None else table.columns if table is not None else ()


def tags_of(facts: StatementFacts) -> tuple[TagTemplate, ...]:
    """The tags of the rows that a query reads: by the columns it pins, or the whole table."""
    return tuple(dict.fromkeys(_tag(read.table, read.pinned) for read in facts.reads))


def _tag(table: str, pinned: tuple[tuple[str, Bind | Literal], ...]) -> TagTemplate:
    columns = []
    for column, operand in pinned:
        if isinstance(operand, Bind):
            named = operand.key if isinstance(operand.key, str) else column
            columns.append((column, Source("user_id" if is_owner(column) else named)))
    return TagTemplate(table, tuple(columns))


def is_owner(column: str) -> bool:
    """Whether a column says whose a row is."""
    return column.lower() in _OWNERS


def is_file(target: Known) -> bool:
    """Whether a target is a file of the application, by its path."""
    return target.asked.endpoint is not None and _FILE.search(target.place[1]) is not None


def tables_of(target: Known, backend: Backend) -> tuple[str, ...]:
    """The tables that an endpoint seems to read: those its document names, else the one its path speaks of."""
    if target.endpoint is not None and target.endpoint.tables:
        return target.endpoint.tables
    for word in reversed(re.split(r"[:/_\-]", target.resource)):
        found = next((table.name for table in backend.tables if _same(table, word)), None)
        if found is not None:
            return (found,)
    return ()


def users_table(backend: Backend) -> str | None:
    """The table that authentication most likely reads."""
    return next((table.name for table in backend.tables if table.name.lower() in _USERS), None)


def _same(table: Table, word: str) -> bool:
    """Whether a word names a table, in singular or plural."""
    return stem(table.name) == stem(word)


def stem(word: str) -> str:
    """A word without its plural, in lower case."""
    text = word.lower()
    if text.endswith("ies"):
        return f"{text[:-3]}y"
    return text[:-2] if re.search(r"(?:s|x|z|ch|sh)es\Z", text) else text.removesuffix("s")
