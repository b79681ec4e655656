"""The calling convention: what may stand in a written request for a design."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.configuration import Configuration
from cachewright.spec.implementation import Implementation
from cachewright.spec.invalidation import Invalidation
from cachewright.spec.model import CacheKeys, Consistency, Namespace
from cachewright.spec.observing import Alerts, Metrics
from cachewright.spec.section import (
    Flag,
    Frequency,
    Number,
    Positive,
    Ratio,
    Section,
    Text,
    Texts,
    Writes,
    reject,
)
from cachewright.spec.strategy import StrategyOverride, TtlOverride
from cachewright.spec.tenancy import Identity, MultiTenant, MultiUser, OnTenantDelete, OnUserDelete
from cachewright.spec.warming import CacheWarming

SKILL = "backend-caching"
OUTPUT = "caching_specification"

DataKind = Literal["session", "hot", "list", "single", "profile", "search", "statistics", "logs", "static"]
Volatility = Literal["high", "medium", "low", "none"]
#: A document: a path, its text, or its content.
Source = Annotated[str | dict[str, Any] | list[Any] | None, Field(json_schema_extra={"x-document": True})]


def _as_action(value: Any) -> Any:
    """`on_tenant_delete: delete_keys` as the specification writes it."""
    return {"action": value} if isinstance(value, str) else value


class AskedTarget(CacheTarget):
    """A target that is asked for: every field of a specification's target, and what is known about its use."""

    writes: ClassVar[Writes] = "set"

    parameters: Texts = ()
    """Query parameters of the endpoint or query; each becomes part of the key."""
    ignored_parameters: Texts = ()
    """Parameters that change nothing in the answer, and stay out of the key."""
    resource_type: Text | None = None
    """What it is about (`task`, `user`, `settings`): the resource part of the key."""
    data_kind: DataKind | None = None
    """What kind of data it is; decides levels and lifetime where nothing else does."""
    volatility: Volatility | None = None
    """How often the data changes: high (30-60 s), medium (5-15 min), low (1-24 h), none (no expiration)."""
    ttl_seconds: Positive | None = None
    """The lifetime of this target; beats the designed one and `cache_strategy`."""
    write_frequency: Frequency | None = None
    """How often its data is written, such as `2/min`."""
    distinct_keys: Positive | None = None
    """How many keys share the requests (users × pages, say); without it no hit rate is forecast."""
    hit_ratio_target: Ratio | None = None
    """The hit rate to reach, from 0 to 1."""
    critical: Flag = False
    """Whether it is warmed when the application starts."""
    warm_top_users: Positive | None = None
    """For how many of the most active users it is warmed at start."""
    p95_ms: Number | None = None
    """The 95th percentile of its response time without a cache, in milliseconds."""


class AskedStrategy(StrategyOverride):
    """The strategy that is asked for: the convention's short names, or the specification's own."""

    ttl_duration_seconds: Positive | None = None
    """The lifetime of entries; the same fact as `ttl.duration_seconds`."""
    max_items: Positive | None = None
    """The most entries; the same fact as `eviction_policy.max_items`."""
    max_memory_bytes: Positive | None = None
    """The most bytes; the same fact as `eviction_policy.max_memory_bytes`."""
    compression_enabled: Flag | None = None
    """Whether entries are compressed; the same fact as `compression.enabled`."""

    @model_validator(mode="before")
    @classmethod
    def _short_names(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        policy = data.get("eviction_policy")
        return {**data, "eviction_policy": {"type": policy}} if isinstance(policy, str) else data

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        for short, section, name in SHORT_NAMES:
            here, there = getattr(self, short), getattr(getattr(self, section), name, None)
            if here is not None and there is not None and here != there:
                raise reject(
                    f"{short} is {here}, but {section}.{name} is {there}", hint="say it once", at=(short,)
                )
        return self


#: The convention's short names, and where a specification has the same fact (C21).
SHORT_NAMES = (
    ("ttl_duration_seconds", "ttl", "duration_seconds"),
    ("max_items", "eviction_policy", "max_items"),
    ("max_memory_bytes", "eviction_policy", "max_memory_bytes"),
    ("compression_enabled", "compression", "enabled"),
)


class AskedTenants(MultiTenant):
    """Tenants, with `on_tenant_delete` as a word or as the specification has it."""

    on_tenant_delete: Annotated[OnTenantDelete, BeforeValidator(_as_action)] = OnTenantDelete()
    """invalidate_all or delete_keys."""


class AskedUsers(MultiUser):
    """Users, with `on_user_delete` as a word or as the specification has it."""

    on_user_delete: Annotated[OnUserDelete, BeforeValidator(_as_action)] = OnUserDelete()
    """invalidate_all or delete_keys."""


class Inputs(Section):
    """What is known, and what is wanted."""

    task: Text | None = None
    """What is asked for, in words; decides nothing."""
    reason: Text | None = None
    """Why it is asked for (`users report slow lists`); kept in the answer, decides nothing."""
    feature_spec: Text | None = None
    """The feature's specification, as a path."""
    backend_spec: Source = None
    """The API: a path, YAML or JSON text, or its content (`api_specification`, OpenAPI, Markdown)."""
    database_spec: Source = None
    """The tables: a path, text or content (`database_schema`, Markdown, SQL's CREATE TABLE)."""
    performance_spec: Source = None
    """Targets for response times: a path or text with sentences such as `<200ms p95`."""
    architecture_spec: Source = None
    """The architecture: a path or text."""
    logic_spec: Source = None
    """How tasks are read (`task_result`): a path, text or content."""
    notification_spec: Source = None
    """When reminders are sent (`backend_notification_specification`): a path, text or content."""
    constitution: Source = None
    """Rules of the project: a path or text; what it forbids is not designed."""
    observed: Metrics | None = None
    """What was measured of the cache that runs, in the fields of `metrics`, as `cachewright stats` prints it."""
    database_load: Ratio | None = None
    """The share of its time, from 0 to 1, for which the database is busy; the busier, the more a hit is worth."""
    workers: Positive | None = None
    """How many processes serve the application."""
    namespace: Namespace | None = None
    """The namespace of all keys."""
    identity: Identity | None = None
    """Where user and tenant ids stand; nothing is inferred."""
    consistency: Consistency | None = None
    """How fresh answers must be."""
    cache_targets: tuple[AskedTarget, ...] = ()
    """What to cache; without it, the endpoints of `backend_spec`."""
    cache_strategy: AskedStrategy | None = None
    """How to cache it."""
    cache_keys: CacheKeys | None = None
    """Key patterns of targets that have none of their own."""
    invalidation: Invalidation | None = None
    """Rules and triggers to add to the designed ones."""
    cache_warming: CacheWarming | None = None
    """What to load before anybody asks."""
    metrics: Metrics | None = None
    """Figures to reach."""
    alerts: Alerts | None = None
    """Alarms."""
    multi_tenant: AskedTenants | None = None
    """Whether and how tenants are kept apart."""
    multi_user: AskedUsers | None = None
    """Whether and how users are kept apart."""
    configuration: Configuration | None = None
    """The stores."""
    implementation: Implementation | None = None
    """How the cache meets the application."""
    output_format: Literal["caching_specification"] = "caching_specification"
    """Always caching_specification."""


class Request(Section):
    """A written request for a design."""

    skill: Literal["backend-caching"] = "backend-caching"
    """The name that the request is addressed to."""
    inputs: Inputs
    """What is known, and what is wanted."""
    output_format: Literal["caching_specification"] = "caching_specification"
    """Always caching_specification."""


def ttl_of(strategy: AskedStrategy | None) -> TtlOverride | None:
    """The lifetime that a strategy asks for, whichever name it uses; None where it says nothing."""
    if strategy is None:
        return None
    if strategy.ttl_duration_seconds is not None:
        said = {} if strategy.ttl is None else strategy.ttl.model_dump()
        return TtlOverride.model_validate({**said, "duration_seconds": strategy.ttl_duration_seconds})
    return strategy.ttl
