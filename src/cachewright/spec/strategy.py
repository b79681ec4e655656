"""How values are kept: pattern, lifetime, eviction, compression; and a target's own words on it (C3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cachewright.spec.section import (
    Ext,
    Flag,
    ImportPath,
    Number,
    Positive,
    Ratio,
    Section,
    Whole,
    Writes,
    reject,
)

Level = Literal["l1", "l2", "l3", "l4"]
Pattern = Literal["cache_through", "cache_aside", "write_through", "write_back"]
StoreType = Annotated[
    Literal["redis", "in_memory", "file"], Field(json_schema_extra={"x-extension-values": ["file"]})
]
EvictionType = Literal["lru", "lfu", "fifo", "ttl"]
PriorityStrategy = Literal["access_time", "access_count", "custom"]
Algorithm = Literal["snappy", "gzip", "none"]
Retries = Annotated[int, Field(strict=True, ge=0, le=10)]

#: What a `priority_strategy` may say beside a `type` without contradicting it (C17).
AGREEING: Mapping[str, tuple[str, ...]] = {
    "lru": ("access_time", "custom"),
    "lfu": ("access_count", "custom"),
    "fifo": ("custom",),
    "ttl": ("custom",),
}


def _no_zero(value: object) -> None:
    if value == 0 and not isinstance(value, bool):
        raise reject(
            "an entry that lives 0 seconds is none",
            hint="write null for no expiration, or use `mode: off` for a target that must not be cached",
            at=("duration_seconds",),
        )


class Ttl(Section):
    """The lifetime of an entry."""

    duration_seconds: Positive | None = 300
    """Seconds after which an entry expires; null: it never does (C22)."""
    max_duration_seconds: Positive | None = None
    """Seconds from the first store after which an entry expires however often it is read (C23)."""
    sliding_window: Flag = False
    """Whether a read prolongs the lifetime, up to `max_duration_seconds`."""
    soft_duration_seconds: Ext[Positive | None] = None
    """Seconds after which an entry is served once more and loaded anew; null: it is loaded at its end."""
    early_refresh: Ext[Number] = 0.0
    """How much earlier, by chance, a load may begin (XFetch's beta, 1 is usual): not all readers meet the end."""
    stale_if_error_seconds: Ext[Whole] = 0
    """Seconds after its end in which an entry stands in for a load that failed (RFC 5861)."""
    negative_duration_seconds: Ext[Positive | None] = None
    """Seconds for which it is remembered that there is nothing (404, 410; None in code); null: an endpoint's is not."""
    jitter: Ext[Ratio] = 0.1
    """The share by which lifetimes vary, so that entries stored together do not end together."""

    @model_validator(mode="before")
    @classmethod
    def _zero_is_not_none(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            _no_zero(data.get("duration_seconds"))
        return data

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        cap = self.max_duration_seconds
        if self.sliding_window and (cap is None or self.duration_seconds is None):
            raise reject(
                "sliding_window needs duration_seconds and max_duration_seconds",
                hint="without a cap, a hot entry could stay stale for ever",
                at=("sliding_window",),
            )
        if cap is not None and (self.duration_seconds is None or cap < self.duration_seconds):
            raise reject(
                f"max_duration_seconds is {cap}, less than duration_seconds "
                f"({'no expiration' if self.duration_seconds is None else self.duration_seconds})",
                at=("max_duration_seconds",),
            )
        self._refuse_what_never_happens()
        return self

    def _refuse_what_never_happens(self) -> None:
        soft, hard = self.soft_duration_seconds, self.max_duration_seconds or self.duration_seconds
        if soft is not None and hard is not None and soft >= hard:
            raise reject(
                f"soft_duration_seconds is {soft}, not less than the {hard} s an entry lives",
                hint="an entry is refreshed between its soft end and its end",
                at=("soft_duration_seconds",),
            )
        if self.sliding_window and self.stale_if_error_seconds:
            raise reject(
                "stale_if_error_seconds does not go together with sliding_window",
                hint="that a store still holds a sliding entry is what says that it was read: leave one of them out",
                at=("stale_if_error_seconds",),
            )


class EvictionPolicy(Section):
    """Which entry leaves when there is no room. Null sizes mean the runtime's own bounds, never no bound."""

    type: EvictionType = "lru"
    """lru least recently used, lfu least frequently used, fifo oldest first, ttl soonest to expire (C68)."""
    max_items: Positive | None = None
    """The most entries kept in one process."""
    max_memory_bytes: Positive | None = None
    """The most bytes kept in one process."""
    priority_strategy: PriorityStrategy | None = None
    """Derived from `type` where null; a value that contradicts `type` is refused (C17)."""
    priority_callable: Ext[ImportPath | None] = None
    """The import path of the function that ranks entries, for `priority_strategy: custom`."""

    @model_validator(mode="after")
    def _agreeing(self) -> Self:
        priority = self.priority_strategy
        if priority is not None and priority not in AGREEING[self.type]:
            raise reject(
                f"priority_strategy {priority} contradicts type {self.type}",
                hint="leave priority_strategy out: it follows from type",
                at=("priority_strategy",),
            )
        if (priority == "custom") != (self.priority_callable is not None):
            raise reject(
                "priority_strategy: custom and priority_callable go together",
                hint="for example `priority_callable: app.caching:priority`",
                at=("priority_strategy",) if priority == "custom" else ("priority_callable",),
            )
        return self


class Compression(Section):
    """Whether and how entries are compressed. A reader decides by the entry, never by this setting."""

    enabled: Flag = False
    """Whether entries of at least `threshold_bytes` are compressed."""
    algorithm: Algorithm = "snappy"
    """snappy is fast, gzip is small."""
    threshold_bytes: Whole = 1024
    """Smaller values are stored as they are."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.enabled and self.algorithm == "none":
            raise reject(
                "compression is enabled with algorithm none",
                hint="choose snappy or gzip, or set `enabled: false`",
                at=("algorithm",),
            )
        return self


class CacheStrategy(Section):
    """The default of all targets."""

    pattern: Pattern = "cache_through"
    """cache_through and cache_aside load on a miss; write_through and write_back also store writes."""
    hierarchy_level: Level = "l2"
    """The level of targets without `levels`: l1 process, l2 Redis, l3 file, l4 HTTP (C1)."""
    cache_type: StoreType = "redis"
    """The store behind that level."""
    ttl: Ttl = Ttl()
    """The lifetime of an entry."""
    eviction_policy: EvictionPolicy = EvictionPolicy()
    """Which entry leaves when there is no room."""
    compression: Compression = Compression()
    """Whether and how entries are compressed."""
    retries: Ext[Retries] = 0
    """How often a load of a query or computed value that failed is repeated; requests to endpoints go through once."""
    populate_on_write: Ext[Flag] = False
    """With `cache_aside`: a write stores the new value instead of only invalidating (C7)."""

    def overridden_by(self, override: StrategyOverride | None) -> CacheStrategy:
        """Return this strategy with the fields that `override` sets, null included.

        Raises pydantic's `ValidationError` where the two together contradict each other.
        """
        if override is None:
            return self
        return CacheStrategy.model_validate(_merged(_given(self), _given(override, only_set=True)))


class TtlOverride(Section):
    """The parts of `ttl` that a target says differently. What is left out is inherited; a null is not."""

    writes: ClassVar[Writes] = "set"

    duration_seconds: Positive | None = None
    """See `cache_strategy.ttl`."""
    max_duration_seconds: Positive | None = None
    """See `cache_strategy.ttl`."""
    sliding_window: Flag | None = None
    """See `cache_strategy.ttl`."""
    soft_duration_seconds: Ext[Positive | None] = None
    """See `cache_strategy.ttl`."""
    early_refresh: Ext[Number | None] = None
    """See `cache_strategy.ttl`."""
    stale_if_error_seconds: Ext[Whole | None] = None
    """See `cache_strategy.ttl`."""
    negative_duration_seconds: Ext[Positive | None] = None
    """See `cache_strategy.ttl`."""
    jitter: Ext[Ratio | None] = None
    """See `cache_strategy.ttl`."""

    @model_validator(mode="before")
    @classmethod
    def _zero_is_not_none(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            _no_zero(data.get("duration_seconds"))
        return data


class EvictionOverride(Section):
    """The parts of `eviction_policy` that a target says differently."""

    writes: ClassVar[Writes] = "set"

    type: EvictionType | None = None
    """See `cache_strategy.eviction_policy`."""
    max_items: Positive | None = None
    """The most entries of this target kept in one process."""
    max_memory_bytes: Positive | None = None
    """The most bytes of this target kept in one process."""
    priority_strategy: PriorityStrategy | None = None
    """See `cache_strategy.eviction_policy`."""
    priority_callable: Ext[ImportPath | None] = None
    """See `cache_strategy.eviction_policy`."""


class CompressionOverride(Section):
    """The parts of `compression` that a target says differently."""

    writes: ClassVar[Writes] = "set"

    enabled: Flag | None = None
    """See `cache_strategy.compression`."""
    algorithm: Algorithm | None = None
    """See `cache_strategy.compression`."""
    threshold_bytes: Whole | None = None
    """See `cache_strategy.compression`."""


class StrategyOverride(Section):
    """What one target says differently from `cache_strategy`: the same fields, all of them optional."""

    writes: ClassVar[Writes] = "set"

    pattern: Pattern | None = None
    """See `cache_strategy`."""
    hierarchy_level: Level | None = None
    """See `cache_strategy`; `levels` of the target is the better place."""
    cache_type: StoreType | None = None
    """See `cache_strategy`."""
    ttl: TtlOverride | None = None
    """See `cache_strategy`."""
    eviction_policy: EvictionOverride | None = None
    """See `cache_strategy`."""
    compression: CompressionOverride | None = None
    """See `cache_strategy`."""
    retries: Ext[Retries | None] = None
    """See `cache_strategy`."""
    populate_on_write: Ext[Flag | None] = None
    """See `cache_strategy`."""


_NULL_HAS_A_MEANING = frozenset(
    {
        "duration_seconds",
        "max_duration_seconds",
        "soft_duration_seconds",
        "negative_duration_seconds",
        "max_items",
        "max_memory_bytes",
        "priority_strategy",
        "priority_callable",
    }
)


def _given(section: Section, *, only_set: bool = False) -> dict[str, Any]:
    """The fields of `section` as nested dicts; a null that means nothing else is an absence."""
    found: dict[str, Any] = {}
    for name in section.model_fields_set if only_set else type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            found[name] = _given(value, only_set=only_set)
        elif value is not None or name in _NULL_HAS_A_MEANING:
            found[name] = value
    return found


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for name, value in over.items():
        both[name] = _merged(base[name], value) if isinstance(value, Mapping) else value
    return both
