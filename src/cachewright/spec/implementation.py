"""How the cache meets the application: layers, interceptors, background work."""

from __future__ import annotations

from typing import ClassVar, Literal

from cachewright.spec.section import Flag, ScheduleText, Section, Text, Texts, Writes

InterceptorType = Literal["middleware", "dependency", "decorator"]


class CacheLayer(Section):
    """A class that holds entries."""

    writes: ClassVar[Writes] = "changed"

    name: Text
    """The class, such as `RedisCache` or `InMemoryCache`."""
    methods: Texts = ()
    """Its methods: get, set, delete, invalidate (or invalidate_pattern and invalidate_all, C55)."""
    dependencies: Texts = ()
    """Packages it needs."""


class CacheInterceptor(Section):
    """The place where requests meet the cache."""

    writes: ClassVar[Writes] = "changed"

    name: Text
    """The interceptor's name, such as `CacheInterceptor`."""
    type: InterceptorType
    """middleware around the application, dependency or decorator at a route."""
    endpoints: Texts = ()
    """The endpoints it applies to."""
    cache_key_generator: Text | None = None
    """The name of a registered key builder, or its import path; never code (C54)."""
    skip_condition: Text | None = None
    """When the cache is skipped, in the closed vocabulary of conditions; never code (C53)."""


class BackgroundWarming(Section):
    """Warming outside requests."""

    enabled: Flag = False
    """Agrees with `cache_warming.enabled`."""
    implementation: Text | None = None
    """What runs it: a Celery task, a scheduler."""
    schedule: ScheduleText | None = None
    """A cron expression of five fields, or an interval."""


class Implementation(Section):
    """How the cache meets the application."""

    cache_layer: tuple[CacheLayer, ...] = ()
    """Classes that hold entries."""
    cache_interceptor: tuple[CacheInterceptor, ...] = ()
    """Places where requests meet the cache."""
    background_warming: BackgroundWarming = BackgroundWarming()
    """Warming outside requests."""
