"""What a specification accepts, what it refuses, and what it means where it says nothing."""

import pytest
from pydantic import ValidationError

from cachewright.spec.model import CachingSpecification
from cachewright.spec.strategy import CacheStrategy, StrategyOverride

ENDPOINT = {"endpoint": "GET /api/tasks"}
TWELVE = [
    "meta",
    "cache_targets",
    "cache_strategy",
    "cache_keys",
    "invalidation",
    "cache_warming",
    "metrics",
    "alerts",
    "multi_tenant",
    "multi_user",
    "configuration",
    "implementation",
]


def nested(path, value):
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def refusal(data):
    with pytest.raises(ValidationError) as caught:
        CachingSpecification.model_validate(data)
    return caught.value.errors()


@pytest.mark.requirement("#179", "C42")
def test_an_empty_specification_is_valid_and_writes_exactly_the_twelve_sections_in_order():
    assert list(CachingSpecification().model_dump()) == TWELVE


def test_our_own_sections_are_written_when_they_differ_from_their_default():
    spec = CachingSpecification.model_validate(
        {
            "namespace": "todo",
            "identity": {"user": "claim:sub"},
            "consistency": {"strict": True},
            "enabled": False,
        }
    )
    written = spec.model_dump()
    assert written["identity"] == {"user": "claim:sub"}
    assert written["consistency"] == {"strict": True}
    assert (written["namespace"], written["enabled"]) == ("todo", False)


def test_a_specification_cannot_be_changed():
    with pytest.raises(ValidationError):
        CachingSpecification().namespace = "other"


def test_keys_that_begin_with_x_are_kept_everywhere_and_others_are_refused():
    data = {"x-a": 1, "meta": {"x-b": [1, {"c": None}]}, "cache_targets": [{**ENDPOINT, "x-c": "d"}]}
    spec = CachingSpecification.model_validate(data)
    written = spec.model_dump()
    assert (written["x-a"], written["meta"]["x-b"], written["cache_targets"][0]["x-c"]) == (
        1,
        [1, {"c": None}],
        "d",
    )
    assert spec.meta.extensions == {"x-b": [1, {"c": None}]}
    assert [error["loc"] for error in refusal({"meta": {"y": 1}, "x": 1})] == [("meta", "y"), ("x",)]


@pytest.mark.parametrize(
    "kinds",
    [
        {},
        {"endpoint": "GET /a", "database_query": "SELECT 1"},
        {"database_query": "SELECT 1", "computed_data": "stats"},
    ],
)
@pytest.mark.requirement("#185")
def test_a_target_has_exactly_one_kind(kinds):
    assert refusal({"cache_targets": [kinds]})[0]["type"] == "rejected"


@pytest.mark.parametrize(
    ("data", "kind", "subject"),
    [
        ({"endpoint": "GET /a/{id}"}, "endpoint", "GET /a/{id}"),
        ({"endpoint": "/a"}, "endpoint", "/a"),
        (
            {"database_query": "SELECT 1", "complexity": "low", "execution_count": 3},
            "database_query",
            "SELECT 1",
        ),
        (
            {"computed_data": "stats", "computation_cost_ms": 3, "update_frequency": "hourly"},
            "computed_data",
            "stats",
        ),
    ],
)
def test_targets_know_their_kind_and_subject(data, kind, subject):
    target = CachingSpecification.model_validate({"cache_targets": [data]}).cache_targets[0]
    assert (target.kind, target.subject) == (kind, subject)


@pytest.mark.parametrize(
    "extra",
    [
        {"complexity": "low"},
        {"computation_cost_ms": 3},
        {"avg_query_time_ms": -1},
        {"avg_query_time_ms": "5"},
        {"query_frequency": "often"},
        {"cache_type": "memcached"},
        {"levels": ["l1", "l1"]},
        {"levels": ["l5"]},
        {"percent": 101},
        {"percent": True},
        {"max_staleness_seconds": -1},
        {"mode": "on"},
        {"ignored_reads": ["user-agent"]},
        {"depends_on": "tasks"},
        {"depends_on": [""]},
        {"scope": "user", "shared": "public"},
        {"shared": "tenant"},
        {"endpoint": "tasks"},
        {"endpoint": "GET /a?b=1"},
        {"endpoint": "FETCH /a"},
        {"refresh": "now and then"},
        {"strategy": {"ttl": {"duration_seconds": 0}}},
        {"strategy": {"ttl": {"sliding_window": True}}},
        {"strategy": {"eviction_policy": {"priority_strategy": "access_count"}}},
    ],
)
def test_a_target_refuses(extra):
    assert refusal({"cache_targets": [{**ENDPOINT, **extra}]})


@pytest.mark.requirement("C25")
def test_shared_public_is_the_public_scope():
    spec = CachingSpecification.model_validate({"cache_targets": [{**ENDPOINT, "shared": "public"}]})
    assert spec.cache_targets[0].scope == "public"
    assert spec.model_dump()["cache_targets"] == ({"endpoint": "GET /api/tasks", "scope": "public"},)


def test_two_targets_must_not_have_one_name():
    error = refusal({"cache_targets": [{**ENDPOINT, "name": "a"}, {"endpoint": "/b", "name": "a"}]})[0]
    assert error["ctx"]["at"] == ("cache_targets", 1, "name")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("cache_strategy.ttl.duration_seconds", 0),
        ("cache_strategy.ttl.sliding_window", True),
        ("cache_strategy.ttl.max_duration_seconds", 299),
        ("cache_strategy.ttl", {"duration_seconds": None, "max_duration_seconds": 5}),
        (
            "cache_strategy.ttl",
            {"duration_seconds": None, "max_duration_seconds": None, "sliding_window": True},
        ),
        ("cache_strategy.eviction_policy.priority_strategy", "access_count"),
        ("cache_strategy.eviction_policy", {"type": "fifo", "priority_strategy": "access_time"}),
        ("cache_strategy.eviction_policy", {"type": "lfu", "priority_strategy": "access_time"}),
        ("cache_strategy.eviction_policy.priority_strategy", "custom"),
        ("cache_strategy.eviction_policy.priority_callable", "app:rank"),
        ("cache_strategy.eviction_policy.max_items", 0),
        ("cache_strategy.compression", {"enabled": True, "algorithm": "none"}),
        ("cache_strategy.cache_type", "cdn"),
        ("cache_keys.collection.ttl", 0),
        ("cache_keys.computed.refresh_schedule", "x"),
        ("invalidation.triggers", [{}]),
        ("invalidation.triggers", [{"event": "e", "time_based": {"schedule": "5m"}}]),
        ("invalidation.triggers", [{"table": "t", "time_based": {"schedule": "5m"}}]),
        ("invalidation.rules", [{"operation": "update"}]),
        ("cache_warming.scheduled.schedule", "61 * * * *"),
        ("cache_warming.scheduled.execution_window", "2-4"),
        ("cache_warming.monitoring.progress_threshold", 90),
        ("cache_warming.monitoring.progress_threshold", 1.01),
        ("metrics.performance.hit_rate", 1.5),
        ("metrics.operations.avg_operation_latency_ms", float("nan")),
        ("alerts.low_hit_rate.threshold", 50),
        ("alerts.low_hit_rate.action", []),
        ("alerts.low_hit_rate.action", "evict_oldest"),
        ("alerts.high_memory_usage.action", ["warn", "disable_caching"]),
        ("multi_tenant.key_prefix", "tenant:"),
        ("multi_user.key_prefix", "user:"),
        ("configuration.redis.port", 65536),
        ("configuration.redis.pool_size", 51),
        ("configuration.redis.max_connections", 5),
        ("configuration.redis.persistence.enabled", True),
        ("configuration.redis.cluster.slots", 1024),
        ("configuration.redis.cluster.replicas", ["host"]),
        ("configuration.redis", {"db_index": 1, "cluster": {"enabled": True}}),
        ("configuration.redis.replica_reads.enabled", True),
        ("configuration.redis.sentinel", {"service_name": "m", "nodes": []}),
        ("configuration.in_memory.compression", {"enabled": True, "algorithm": "none"}),
        ("implementation.cache_interceptor", [{"name": "a", "type": "proxy"}]),
        ("namespace", "a:b"),
        ("schema_version", 2),
        ("identity.user", "path:user_id"),
        ("consistency.ignore_writes", ["last_seen"]),
        ("consistency.l1_lease_ms", 0),
        ("meta.generated_at", "2026-01-31T12:00:00"),
        ("meta.version", "1"),
    ],
)
@pytest.mark.requirement(
    "#178",
    "#203",
    "#208",
    "#292",
    "#293",
    "#298",
    "#301",
    "#304",
    "C17",
    "C22",
    "C23",
    "C36",
    "C37",
    "C49",
    "C71",
)
def test_it_refuses(path, value):
    assert refusal(nested(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("cache_strategy.ttl.duration_seconds", None),
        ("cache_strategy.ttl", {"sliding_window": True, "max_duration_seconds": 300}),
        ("cache_strategy.eviction_policy", {"type": "lfu", "priority_strategy": "access_count"}),
        (
            "cache_strategy.eviction_policy",
            {"priority_strategy": "custom", "priority_callable": "app.caching:rank"},
        ),
        ("cache_strategy.cache_type", "file"),
        ("cache_warming.strategies", [{"type": "user_specific"}]),
        ("cache_warming.monitoring.progress_threshold", 1),
        ("alerts.low_hit_rate.action", ["warn", "disable_caching"]),
        ("configuration.redis.persistence", {"enabled": True, "strategy": "aof"}),
        ("configuration.redis.cluster.nodes", ["10.0.0.1:6379", "[::1]:6380"]),
        ("configuration.redis.password_env_var", "REDIS_PASSWORD"),
        ("identity.tenant", "claim:https://example.com/tenant"),
        ("identity.user", "dependency:app.auth.current_user.id"),
        ("identity.user", "header:X-User"),
        ("identity.tenant", "host"),
        ("metrics.performance.avg_response_time_with_cache_ms", 0.2),
    ],
)
def test_it_accepts(path, value):
    CachingSpecification.model_validate(nested(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("configuration.redis.password_env_var", "hunter2"),
        ("configuration.redis.password", "hunter2"),
        ("configuration.redis.host", "redis://app:hunter2@cache"),
        ("x-password", "hunter2"),
        ("meta.x-broker-url", "amqp://app:hunter2@queue/"),
        ("cache_warming.on_startup.queries", [{"name": "q", "params": {"api_key": "hunter2"}}]),
    ],
)
@pytest.mark.requirement("#294", "C38")
def test_secrets_are_refused_and_not_repeated(path, value):
    with pytest.raises(ValidationError) as caught:
        CachingSpecification.model_validate(nested(path, value))
    assert "hunter2" not in str(caught.value)


@pytest.mark.requirement("C20", "#307", "#309", "#311")
def test_one_fact_in_two_places_must_agree():
    def both(in_memory, **strategy):
        return {"configuration": {"in_memory": in_memory}, "cache_strategy": strategy}

    for data in (
        both({"max_items": 5}, eviction_policy={"max_items": 6}),
        both({"max_memory_mb": 1}, eviction_policy={"max_memory_bytes": 1_000_000}),
        both({"compression": {"enabled": True}}),
        both({"compression": {"algorithm": "gzip"}}, compression={"enabled": True}),
        both({"compression": {"min_size_bytes": 1}}, compression={"enabled": True}),
    ):
        assert "cache_strategy" in refusal(data)[0]["ctx"]["hint"]
    agreeing = CachingSpecification.model_validate(
        both({"max_items": 5, "max_memory_mb": 2}, eviction_policy={"max_memory_bytes": 2 * 1024 * 1024})
    )
    assert (agreeing.max_items, agreeing.max_memory_bytes) == (5, 2 * 1024 * 1024)
    alone = CachingSpecification.model_validate(both({"max_memory_mb": 3}))
    assert (alone.max_items, alone.max_memory_bytes) == (None, 3 * 1024 * 1024)


@pytest.mark.requirement("C3", "#76", "#202")
def test_a_target_overrides_only_what_it_says_and_null_is_a_word():
    base = CacheStrategy.model_validate({"ttl": {"duration_seconds": 60, "max_duration_seconds": 600}})
    override = StrategyOverride.model_validate(
        {"ttl": {"sliding_window": True}, "compression": {"enabled": True}}
    )
    both = base.overridden_by(override)
    assert (both.ttl.duration_seconds, both.ttl.max_duration_seconds, both.ttl.sliding_window) == (
        60,
        600,
        True,
    )
    assert (both.compression.enabled, both.compression.algorithm) == (True, "snappy")
    for_ever = CacheStrategy().overridden_by(
        StrategyOverride.model_validate({"ttl": {"duration_seconds": None}})
    )
    assert for_ever.ttl.duration_seconds is None
    assert base.overridden_by(None) is base
    assert base.overridden_by(StrategyOverride()) == base


def test_a_contradiction_between_override_and_default_names_the_target():
    error = refusal({"cache_targets": [ENDPOINT | {"strategy": {"ttl": {"sliding_window": True}}}]})[0]
    assert error["ctx"]["at"] == ("cache_targets", 0, "strategy", "ttl", "sliding_window")


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ({"endpoint": "GET /tasks", "cache_key_pattern": "own"}, "own"),
        ({"endpoint": "GET /tasks/{id}"}, "task:{id}"),
        ({"endpoint": "GET /tasks"}, "tasks"),
        ({"database_query": "SELECT 1"}, "query:{hash}"),
        ({"computed_data": "stats"}, None),
    ],
)
@pytest.mark.requirement("#187", "C21")
def test_a_targets_own_key_pattern_beats_the_patterns_of_its_kind(target, pattern):
    keys = {
        "resource": {"pattern": "task:{id}"},
        "collection": {"pattern": "tasks"},
        "query_result": {"pattern": "query:{hash}"},
    }
    spec = CachingSpecification.model_validate({"cache_keys": keys, "cache_targets": [target]})
    assert spec.key_pattern_of(spec.cache_targets[0]) == pattern


@pytest.mark.parametrize(
    ("consistency", "lease"), [({}, 1000), ({"strict": True}, 250), ({"strict": True, "l1_lease_ms": 50}, 50)]
)
def test_a_strict_lease_is_short(consistency, lease):
    assert CachingSpecification.model_validate({"consistency": consistency}).consistency.lease_ms == lease
