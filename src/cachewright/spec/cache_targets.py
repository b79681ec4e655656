"""One endpoint, database query or computed value to cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cachewright.spec.section import (
    Ext,
    Flag,
    Frequency,
    Number,
    Percent,
    Positive,
    ScheduleText,
    Section,
    Shape,
    Text,
    Texts,
    Whole,
    Writes,
    reject,
)
from cachewright.spec.strategy import Level, StrategyOverride

TargetKind = Literal["endpoint", "database_query", "computed_data"]
ScopeName = Literal["public", "tenant", "user", "credential"]
TargetCacheType = Annotated[
    Literal["redis", "in_memory", "cdn", "database_query_cache", "file"],
    Field(json_schema_extra={"x-extension-values": ["file"]}),
]
Complexity = Literal["low", "medium", "high"]
Role = Literal["query", "application", "session", "cdn"]
Authorization = Literal["object", "target"]
SingleFlight = Literal["process", "fleet"]
Mode = Literal["live", "shadow", "off"]

KINDS: tuple[TargetKind, ...] = ("endpoint", "database_query", "computed_data")
_ONLY_FOR: Mapping[str, TargetKind] = {
    "complexity": "database_query",
    "execution_count": "database_query",
    "window_seconds": "database_query",
    "computation_cost_ms": "computed_data",
    "update_frequency": "computed_data",
}

Endpoint = Annotated[
    str,
    Shape(
        r"(?:(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)\s+)?/[^\s?#]*",
        "an endpoint, such as `GET /api/tasks/{task_id}`; query parameters belong in cache_key_pattern",
    ),
]
IgnoredRead = Annotated[
    str,
    Shape(
        r"(?:header|cookie):[^\s:]+|client|url|headers",
        "`header:NAME`, `cookie:NAME`, `client`, `url` or `headers`",
    ),
]


def _different(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    if len(set(levels)) != len(levels):
        raise reject("a level is named twice")
    return levels


class CacheTarget(Section):
    """What to cache: exactly one of `endpoint`, `database_query` and `computed_data`, and how."""

    writes: ClassVar[Writes] = "changed"

    endpoint: Endpoint | None = None
    """An API endpoint: `METHOD /path`, or a path (then GET)."""
    database_query: Text | None = None
    """An SQL or ORM query."""
    computed_data: Text | None = None
    """A computed result or aggregation."""
    cache_key_pattern: Text | None = None
    """The pattern of keys, such as `user:{user_id}:tasks:page={page}`; it beats `cache_keys`."""
    cache_type: TargetCacheType | None = None
    """The store; `levels` is more precise (C4)."""
    query_frequency: Frequency | None = None
    """How often it is asked for, such as `100 req/min` (C44)."""
    avg_query_time_ms: Number | None = None
    """Mean milliseconds without a cache."""
    complexity: Complexity | None = None
    """low, medium or high, by joins, aggregates, subqueries and windows (C45)."""
    execution_count: Whole | None = None
    """How often the query ran."""
    computation_cost_ms: Number | None = None
    """Milliseconds to compute."""
    update_frequency: Text | None = None
    """How often it changes: `hourly`, `on write`, `5/min` (C46)."""

    name: Ext[Text | None] = None
    """The target's name, for tags, commands and reports."""
    role: Ext[Role | None] = None
    """The function it serves: query, application, session, cdn (C1)."""
    window_seconds: Ext[Positive | None] = None
    """The seconds in which `execution_count` was counted (C44)."""
    scope: Ext[ScopeName | None] = None
    """Who may share an entry; null: credential, which cannot leak."""
    shared: Ext[Literal["public"] | None] = None
    """Another way to write `scope: public` (C25)."""
    levels: Ext[Annotated[tuple[Level, ...], AfterValidator(_different)]] = ()
    """Where entries live: l1 process, l2 Redis, l3 file, l4 HTTP; empty: the strategy's level (C2)."""
    strategy: Ext[StrategyOverride | None] = None
    """What this target says differently from `cache_strategy` (C3)."""
    depends_on: Ext[Texts] = ()
    """Tag templates of the data an entry depends on, such as `tasks(user_id={user_id})`. In
    `comments(article_id={*})` the value is learned from the SQL of each load; `sessions(token={*hashed})` is learned
    too, and stands in no tag as it is."""
    max_staleness_seconds: Ext[Whole] = 0
    """Seconds an answer may be out of date; 0: not at all (C8)."""
    allow_stale_after_invalidation: Ext[Flag] = False
    """Whether an invalidated entry may be served when the application fails."""
    authorization: Ext[Authorization] = "object"
    """object: access is proven for each full key; target: for all of the target that one scope may ask for."""
    bypass_when: Ext[Texts] = ()
    """Conditions that leave the cache unread, such as `query.due == 'overdue'`."""
    ignored_reads: Ext[tuple[IgnoredRead, ...]] = ()
    """Reads by middleware that do not matter: `header:NAME`, `cookie:NAME`, `client`, `url`, `headers`."""
    single_flight: Ext[SingleFlight] = "process"
    """Whether concurrent misses load once per process or once per fleet."""
    refresh: Ext[ScheduleText | None] = None
    """When entries are loaded anew: a cron expression or an interval; beats `cache_keys.computed`."""
    mode: Ext[Mode] = "live"
    """live serves, shadow only counts what it would have served, off does nothing."""
    percent: Ext[Percent] = 100
    """The share of keys, in percent, for which the target is on."""
    because: Ext[Texts] = ()
    """Findings that are the reason for this target."""

    @property
    def kind(self) -> TargetKind:
        """Which of the three kinds it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def subject(self) -> str:
        """The endpoint, query or computed value itself."""
        return str(getattr(self, self.kind))

    @model_validator(mode="before")
    @classmethod
    def _shared_is_a_scope(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("shared") != "public":
            return data
        if data.get("scope") not in (None, "public"):
            raise reject(f"shared: public contradicts scope: {data['scope']}", at=("shared",))
        return {**{name: value for name, value in data.items() if name != "shared"}, "scope": "public"}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise reject(
                f"a target has exactly one of {', '.join(KINDS)}, not {' and '.join(given) or 'none'}",
                hint="for example `endpoint: GET /api/tasks`",
                at=(given[1],) if given else (),
            )
        for name, kind in _ONLY_FOR.items():
            if getattr(self, name) is not None and kind != given[0]:
                raise reject(f"{name} belongs to {kind} targets, not to {given[0]}", at=(name,))
        return self
