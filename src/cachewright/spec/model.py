"""The `caching_specification`: its twelve sections in the request's order, and what stands around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AwareDatetime, ModelWrapValidatorHandler, ValidationError, model_validator

from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.configuration import Configuration
from cachewright.spec.implementation import Implementation
from cachewright.spec.invalidation import Invalidation
from cachewright.spec.observing import Alerts, Metrics
from cachewright.spec.section import (
    Ext,
    Flag,
    Path,
    Positive,
    ScheduleText,
    Section,
    Shape,
    Text,
    Texts,
    Writes,
    reject,
)
from cachewright.spec.strategy import CacheStrategy
from cachewright.spec.tenancy import Identity, MultiTenant, MultiUser
from cachewright.spec.warming import CacheWarming

SCHEMA_VERSION: Final = 1
ROOT = "caching_specification"
STRICT_LEASE_MS = 250
MEBIBYTE = 1024 * 1024

SemVer = Annotated[
    str, Shape(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?", "a version, such as `1.0.0`")
]
Namespace = Annotated[
    str, Shape(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "a namespace of letters, digits, `_`, `.` and `-`")
]
ColumnName = Annotated[str, Shape(r"(?:[^\s.]+\.)?[^\s.]+\.[^\s.]+", "a column, such as `users.last_seen`")]

_URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.\-]*://[^\s/@:]*:[^\s/@]+@", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(?:^|[-_])(?:password|passwd|pwd|secret|token|api[-_]?key)$", re.IGNORECASE)
_VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


class Meta(Section):
    """Where the specification comes from."""

    feature_spec: str | None = None
    """The feature's specification; null where unknown."""
    backend_spec: str | None = None
    """The backend's specification; null where unknown."""
    generated_at: AwareDatetime | None = None
    """When it was made, in ISO 8601 with a zone."""
    version: SemVer = "1.0.0"
    """The version of this document, a SemVer (C48)."""
    sources: Ext[Texts] = ()
    """What it was made from: traces, files, requests (C57)."""


class Consistency(Section):
    """How fresh answers are, and what a write waits for."""

    writes: ClassVar[Writes] = "changed"

    strict: Ext[Flag] = False
    """Whether an invalidation waits for the other processes; the lease is then 250 ms at most."""
    l1_lease_ms: Ext[Positive] = 1000
    """Milliseconds an entry in a process may be used without asking for its tokens."""
    identity_ttl_seconds: Ext[Positive] = 300
    """Seconds an accepted credential is accepted again without asking the application."""
    write_ack: Ext[Literal["none", "hold"]] = "none"
    """hold delays a write's response until its invalidation returned."""
    crash_safe: Ext[Flag] = False
    """Whether written tags are held in the shared store from before the commit."""
    ignore_writes: Ext[tuple[ColumnName, ...]] = ()
    """Columns whose writes invalidate nothing, as `table.column`."""
    single_host: Ext[Flag] = False
    """Whether the service has one scheme and host, which then stay out of keys."""

    @property
    def lease_ms(self) -> int:
        """The lease that applies, in milliseconds."""
        return min(self.l1_lease_ms, STRICT_LEASE_MS) if self.strict else self.l1_lease_ms


class ResourceKeys(Section):
    """Keys of single resources."""

    pattern: Text | None = None
    """Such as `task:{task_id}`."""
    includes_user_id: Flag = False
    """Whether the pattern has the user."""
    includes_tenant_id: Flag = False
    """Whether the pattern has the tenant."""
    version_in_key: Flag = False
    """Whether the key holds the version of the data."""


class CollectionKeys(Section):
    """Keys of lists."""

    pattern: Text | None = None
    """Such as `user:{user_id}:tasks`."""
    invalidate_on: Texts = ()
    """Operations that invalidate."""
    ttl: Positive | None = None
    """Seconds; beats the strategy's ttl, and is beaten by a target's (C21)."""


class QueryResultKeys(Section):
    """Keys of query results."""

    pattern: Text | None = None
    """Such as `query:{hash}:{params}`."""
    includes_user_id: Flag = False
    """Whether the pattern has the user."""
    includes_tenant_id: Flag = False
    """Whether the pattern has the tenant."""
    depends_on: Texts = ()
    """Data whose change invalidates."""


class ComputedKeys(Section):
    """Keys of computed values."""

    pattern: Text | None = None
    """Such as `stats:{date}:user:{user_id}`."""
    refresh_schedule: ScheduleText | None = None
    """When values are computed anew: a cron expression or an interval (C50)."""
    depends_on: Texts = ()
    """Data whose change invalidates."""


class CacheKeys(Section):
    """Key patterns of targets that have none of their own."""

    resource: ResourceKeys = ResourceKeys()
    """Single resources."""
    collection: CollectionKeys = CollectionKeys()
    """Lists."""
    query_result: QueryResultKeys = QueryResultKeys()
    """Query results."""
    computed: ComputedKeys = ComputedKeys()
    """Computed values."""


class CachingSpecification(Section):
    """What to cache and how. Without targets it caches nothing."""

    meta: Meta = Meta()
    """Where it comes from."""
    schema_version: Ext[Literal[1]] = SCHEMA_VERSION
    """The version of this schema."""
    generator: Ext[Text | None] = None
    """The program that wrote it."""
    enabled: Ext[Flag] = True
    """False: the application runs as if there were no cache (C42)."""
    namespace: Ext[Namespace] = "cachewright"
    """The prefix of everything stored; applications that share a server need different ones."""
    identity: Ext[Identity] = Identity()
    """Where the ids of scopes come from."""
    consistency: Ext[Consistency] = Consistency()
    """How fresh answers are."""
    cache_targets: tuple[CacheTarget, ...] = ()
    """What to cache."""
    cache_strategy: CacheStrategy = CacheStrategy()
    """How to cache it."""
    cache_keys: CacheKeys = CacheKeys()
    """Key patterns of targets that have none of their own."""
    invalidation: Invalidation = Invalidation()
    """What makes entries invalid."""
    cache_warming: CacheWarming = CacheWarming()
    """What is loaded before anybody asks."""
    metrics: Metrics = Metrics()
    """Figures to reach."""
    alerts: Alerts = Alerts()
    """Alarms."""
    multi_tenant: MultiTenant = MultiTenant()
    """How tenants are kept apart."""
    multi_user: MultiUser = MultiUser()
    """How users are kept apart."""
    configuration: Configuration = Configuration()
    """The stores."""
    implementation: Implementation = Implementation()
    """How the cache meets the application."""

    def strategy_of(self, target: CacheTarget) -> CacheStrategy:
        """The strategy that applies to `target`: its own words, then `cache_strategy` (C3)."""
        return self.cache_strategy.overridden_by(target.strategy)

    def key_pattern_of(self, target: CacheTarget) -> str | None:
        """The key pattern that applies to `target`: its own, then the one of its kind in `cache_keys`."""
        if target.cache_key_pattern is not None:
            return target.cache_key_pattern
        match target.kind:
            case "endpoint":
                single = target.subject.rstrip("/").endswith("}")
                return self.cache_keys.resource.pattern if single else self.cache_keys.collection.pattern
            case "database_query":
                return self.cache_keys.query_result.pattern
            case "computed_data":
                return self.cache_keys.computed.pattern

    @property
    def max_items(self) -> int | None:
        """The most entries of one process, from whichever place says it (C20)."""
        own = self.cache_strategy.eviction_policy.max_items
        return own if own is not None else self.configuration.in_memory.max_items

    @property
    def max_memory_bytes(self) -> int | None:
        """The most bytes of one process, from whichever place says it (C20)."""
        own = self.cache_strategy.eviction_policy.max_memory_bytes
        megabytes = self.configuration.in_memory.max_memory_mb
        return own if own is not None or megabytes is None else megabytes * MEBIBYTE

    @model_validator(mode="wrap")
    @classmethod
    def _holds_no_secret(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        for path, name, text in _texts(data, (), ""):
            named = _SECRET_NAME.search(name) is not None and _VARIABLE_NAME.fullmatch(text) is None
            if named or _URL_WITH_PASSWORD.search(text) is not None:
                raise reject(
                    "this looks like a secret, and a specification holds none",
                    hint="put it into an environment variable and its NAME into password_env_var",
                    at=path,
                )
        return handler(data)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._refuse_equal_names()
        self._refuse_contradicting_overrides()
        self._refuse_contradicting_memory()
        return self

    def _refuse_equal_names(self) -> None:
        seen: dict[str, int] = {}
        for index, target in enumerate(self.cache_targets):
            if target.name is not None and seen.setdefault(target.name, index) != index:
                raise reject(f"two targets are named {target.name!r}", at=("cache_targets", index, "name"))

    def _refuse_contradicting_overrides(self) -> None:
        for index, target in enumerate(self.cache_targets):
            try:
                self.strategy_of(target)
            except ValidationError as error:
                first = error.errors()[0]
                context = first.get("ctx", {})
                raise reject(
                    f"with cache_strategy: {first['msg']}",
                    hint=context.get("hint"),
                    at=("cache_targets", index, "strategy", *first["loc"], *context.get("at", ())),
                ) from None

    def _refuse_contradicting_memory(self) -> None:
        strategy, memory = self.cache_strategy, self.configuration.in_memory
        eviction, ours = strategy.eviction_policy, strategy.compression
        megabytes = None if memory.max_memory_mb is None else memory.max_memory_mb * MEBIBYTE
        pairs: list[tuple[str, object, object]] = [
            ("max_items", memory.max_items, eviction.max_items),
            ("max_memory_mb", megabytes, eviction.max_memory_bytes),
        ]
        for name, there, here in pairs:
            if there is not None and here is not None and there != here:
                raise _twice(("in_memory", name), there, here)
        theirs = memory.compression
        if theirs.enabled is not None and theirs.enabled != ours.enabled:
            raise _twice(("in_memory", "compression", "enabled"), theirs.enabled, ours.enabled)
        if ours.enabled:
            if theirs.algorithm not in (None, ours.algorithm):
                raise _twice(("in_memory", "compression", "algorithm"), theirs.algorithm, ours.algorithm)
            if theirs.min_size_bytes not in (None, ours.threshold_bytes):
                raise _twice(
                    ("in_memory", "compression", "min_size_bytes"),
                    theirs.min_size_bytes,
                    ours.threshold_bytes,
                )


def _twice(place: Path, there: object, here: object) -> Exception:
    return reject(
        f"the same fact is said twice, differently: {there} here, {here} in cache_strategy",
        hint="cache_strategy decides: change it there and leave this one out (C20)",
        at=("configuration", *place),
    )


def _texts(data: Any, path: Path, name: str) -> Iterator[tuple[Path, str, str]]:
    """Every text in `data` with its path and the key it stands under."""
    if isinstance(data, str):
        yield path, name, data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _texts(value, (*path, key), str(key))
    elif isinstance(data, Sequence) and not isinstance(data, bytes):
        for index, value in enumerate(data):
            yield from _texts(value, (*path, index), name)
