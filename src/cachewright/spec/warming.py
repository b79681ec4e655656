"""What is loaded before anybody asks: at start, on a schedule, by prediction."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from cachewright.spec.section import (
    Ext,
    Flag,
    Positive,
    Ratio,
    ScheduleText,
    Section,
    Shape,
    Text,
    Texts,
    Whole,
    WindowText,
    Writes,
)

PREDICTIVE = "predictive"
#: A parameter of a query: it is loaded for so many of the most active users.
TOP_USERS = "top_users"
EndpointText = Annotated[str, Shape(r"[A-Z]+ /\S*", "a method and a path, such as `POST /api/tasks`")]
Hour = Annotated[int, Field(strict=True, ge=0, le=23)]

WarmingType = Annotated[
    Literal["on_startup", "scheduled", "predictive", "user_specific"],
    Field(json_schema_extra={"x-extension-values": ["user_specific"]}),
]


class WarmingStrategy(Section):
    """One occasion to warm, and what it loads. What a predictive one names may be predicted, and nothing else."""

    writes: ClassVar[Writes] = "changed"

    type: WarmingType
    """user_specific warms for the most active users (C50)."""
    trigger: Text | None = None
    """When to warm, in words."""
    warmup_queries: Texts = ()
    """Names of registered loaders."""


class WarmupQuery(Section):
    """One load: a registered loader with its parameters. The same shape everywhere (C50)."""

    writes: ClassVar[Writes] = "changed"

    name: Text
    """The name of a registered loader, or of a target."""
    key_pattern: Text | None = None
    """The key the result is stored under; the target's own where null."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the load. `top_users: N` loads it for each of the N most active users."""
    expected_results: Whole | None = None
    """With fewer results, warming is reported as incomplete."""


class OnStartup(Section):
    """Warming when the application starts. It never delays readiness."""

    queries: tuple[WarmupQuery, ...] = ()
    """What to load."""


class Scheduled(Section):
    """Warming on a schedule."""

    schedule: ScheduleText | None = None
    """A cron expression of five fields, or an interval."""
    queries: tuple[WarmupQuery, ...] = ()
    """What to load."""
    execution_window: WindowText | None = None
    """`HH:MM-HH:MM [TZ]`, over midnight too; outside it nothing is warmed (C52)."""


class Transition(Section):
    """What a client asks for next, after a request of its own that went well."""

    writes: ClassVar[Writes] = "changed"

    after: EndpointText
    """The endpoint of the request before: a target or not, a read or a write."""
    load: Text
    """The target to load, by its name or endpoint."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the load; `"{name}"` is the parameter of that name of the request before."""
    probability: Ratio | None = None
    """How often it followed where it was seen, from 0 to 1; for people."""
    hours: tuple[Hour, ...] = ()
    """The hours of the day (UTC) in which it holds; all where there are none."""


class Predictive(Section):
    """Warming of what is likely to be asked for next."""

    user_based: Flag = False
    """Whether the prediction is made for each user."""
    behavior_pattern: Text | None = None
    """The behaviour predicted from, in words."""
    cache_keys: Texts = ()
    """Key patterns to warm: targets with other ones are left out. All where there are none."""
    transitions: Ext[tuple[Transition, ...]] = ()
    """What follows what."""


class Ahead(Section):
    """Loads that nobody asked for yet: what was invalidated is refilled, what is predicted is loaded."""

    refill: Flag = False
    """Whether hot keys that everybody shares are loaded again as soon as they are invalidated."""
    hot_keys: Positive = 20
    """So many of the keys that are asked for most are refilled."""
    loads_per_minute: Positive = 60
    """The most loads ahead of one process in a minute, for each of the two."""
    least_used: Ratio = 0.3
    """Hits that a load ahead must bring, at least; with fewer it rests for ten minutes."""


class WarmingMonitoring(Section):
    """When warming counts as done."""

    track_warming: Flag = False
    """Whether progress is kept: done, total, failed, start, end."""
    progress_threshold: Ratio = 0.9
    """The share from 0 to 1 that must be loaded; below it warming has failed (C49)."""


class CacheWarming(Section):
    """Everything that is loaded before anybody asks."""

    enabled: Flag = False
    """False: nothing is warmed."""
    strategies: tuple[WarmingStrategy, ...] = ()
    """Occasions to warm."""
    on_startup: OnStartup = OnStartup()
    """Warming when the application starts."""
    scheduled: Scheduled = Scheduled()
    """Warming on a schedule."""
    predictive: Predictive = Predictive()
    """Warming of what is likely to be asked for next."""
    ahead: Ext[Ahead] = Ahead()
    """Refilling what was invalidated, and what loading ahead may cost."""
    monitoring: WarmingMonitoring = WarmingMonitoring()
    """When warming counts as done."""
