"""What is measured, and what raises an alarm. In a specification figures are targets; null: none (C14)."""

from __future__ import annotations

from typing import Literal

from cachewright.spec.section import Ext, Flag, Number, OneOrMore, Ratio, Section, Text, Whole

CacheStatus = Literal["healthy", "degraded", "down"]
MemoryPressure = Literal["low", "medium", "high", "critical"]
LowHitRateAction = Literal["warn", "alert", "disable_caching"]
HighMemoryAction = Literal["warn", "alert", "evict_oldest"]
SlowOperationsAction = Literal["warn", "alert", "investigate"]
UnavailableAction = Literal["fallback_to_db", "alert_admin", "retry"]


class PerformanceMetrics(Section):
    """How well the cache serves."""

    hit_rate: Ratio | None = None
    """hits / (hits + misses), from 0 to 1."""
    miss_rate: Ratio | None = None
    """misses / (hits + misses), from 0 to 1."""
    avg_response_time_with_cache_ms: Number | None = None
    """Mean milliseconds of answers from the cache."""
    avg_response_time_without_cache_ms: Number | None = None
    """Mean milliseconds of answers from the application."""
    cache_performance_ratio: Number | None = None
    """With / without the cache: lower is better (C15)."""
    speedup: Ext[Number | None] = None
    """Without / with the cache: higher is better."""


class CacheSizeMetrics(Section):
    """How much the cache holds."""

    items_count: Whole | None = None
    """Entries held."""
    memory_used_bytes: Whole | None = None
    """Bytes held."""
    max_items: Whole | None = None
    """The most entries it may hold."""
    max_memory_bytes: Whole | None = None
    """The most bytes it may hold."""


class OperationMetrics(Section):
    """How hard the cache works."""

    get_operations_per_second: Number | None = None
    """Reads a second."""
    set_operations_per_second: Number | None = None
    """Stores a second."""
    delete_operations_per_second: Number | None = None
    """Deletions a second."""
    avg_operation_latency_ms: Number | None = None
    """Mean milliseconds of an operation."""


class HealthMetrics(Section):
    """How the cache is."""

    cache_status: CacheStatus | None = None
    """Whether it answers."""
    error_rate: Ratio | None = None
    """errors / operations, from 0 to 1."""
    connection_pool_status: Text | None = None
    """Connections in use / size."""
    memory_pressure: MemoryPressure | None = None
    """How full it is."""


class Metrics(Section):
    """Figures to reach; at run time the same fields hold what was measured."""

    performance: PerformanceMetrics = PerformanceMetrics()
    """How well the cache serves."""
    cache_size: CacheSizeMetrics = CacheSizeMetrics()
    """How much it holds."""
    operations: OperationMetrics = OperationMetrics()
    """How hard it works."""
    health: HealthMetrics = HealthMetrics()
    """How it is."""


class LowHitRateAlert(Section):
    """Fires while the hit rate is under the threshold."""

    enabled: Flag = False
    """False: silent."""
    threshold: Ratio = 0.5
    """The hit rate, from 0 to 1, under which it fires."""
    action: OneOrMore[LowHitRateAction] = ("warn",)
    """One action or several (C16)."""
    for_seconds: Ext[Whole] = 300
    """How long the condition must last."""
    min_requests: Ext[Whole] = 100
    """With fewer requests in that time, nothing fires (C65)."""


class HighMemoryAlert(Section):
    """Fires while memory use is over the threshold."""

    enabled: Flag = False
    """False: silent."""
    threshold: Ratio = 0.8
    """The share of the memory limit, from 0 to 1, over which it fires (C62)."""
    action: OneOrMore[HighMemoryAction] = ("warn",)
    """One action or several; evict_oldest follows the policy's own order (C16)."""
    for_seconds: Ext[Whole] = 0
    """How long the condition must last."""
    min_requests: Ext[Whole] = 0
    """With fewer requests in that time, nothing fires."""


class SlowOperationsAlert(Section):
    """Fires while cache operations are slower than the threshold."""

    enabled: Flag = False
    """False: silent."""
    threshold_ms: Number = 10.0
    """Milliseconds of a cache operation over which it fires."""
    action: OneOrMore[SlowOperationsAction] = ("warn",)
    """One action or several; investigate records operation, key pattern, latency and size."""
    for_seconds: Ext[Whole] = 0
    """How long the condition must last."""
    min_requests: Ext[Whole] = 0
    """With fewer requests in that time, nothing fires."""


class CacheUnavailableAlert(Section):
    """Fires while the cache does not answer. Falling back to the database happens in any case."""

    enabled: Flag = False
    """False: silent; the fallback stays."""
    action: OneOrMore[UnavailableAction] = ("fallback_to_db",)
    """One action or several (C16)."""
    for_seconds: Ext[Whole] = 0
    """How long the condition must last."""
    min_requests: Ext[Whole] = 0
    """With fewer requests in that time, nothing fires."""


class Alerts(Section):
    """Alarms by name."""

    low_hit_rate: LowHitRateAlert = LowHitRateAlert()
    """Too few hits."""
    high_memory_usage: HighMemoryAlert = HighMemoryAlert()
    """Too much memory."""
    slow_operations: SlowOperationsAlert = SlowOperationsAlert()
    """Too slow."""
    cache_unavailable: CacheUnavailableAlert = CacheUnavailableAlert()
    """Not there."""
