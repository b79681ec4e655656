"""What is loaded before anybody asks: at start, on a schedule, by prediction."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from cachewright.spec.section import (
    Flag,
    Ratio,
    ScheduleText,
    Section,
    Text,
    Texts,
    Whole,
    WindowText,
    Writes,
)

WarmingType = Annotated[
    Literal["on_startup", "scheduled", "predictive", "user_specific"],
    Field(json_schema_extra={"x-extension-values": ["user_specific"]}),
]


class WarmingStrategy(Section):
    """One occasion to warm, and what it loads."""

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
    """Parameters of the load."""
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


class Predictive(Section):
    """Warming of what is likely to be asked for next."""

    user_based: Flag = False
    """Whether the prediction is made for each user."""
    behavior_pattern: Text | None = None
    """The behaviour predicted from, in words."""
    cache_keys: Texts = ()
    """Key patterns to warm."""


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
    monitoring: WarmingMonitoring = WarmingMonitoring()
    """When warming counts as done."""
