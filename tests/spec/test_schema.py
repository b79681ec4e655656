"""The JSON Schema holds every field of the request with its name, type and values, and marks every one of ours."""

import json

import jsonschema
import pytest
import yaml

from cachewright.spec.document import dumps_spec
from cachewright.spec.model import CachingSpecification
from cachewright.spec.schema import json_schema

STRING, WHOLE, NUMBER, FLAG, STRINGS, OBJECT = "string", "integer", "number", "boolean", "strings", "object"

PATTERNS = ("cache_through", "cache_aside", "write_through", "write_back")
LEVELS = ("l1", "l2", "l3", "l4")
ALGORITHMS = ("snappy", "gzip", "none")
DELETE = ("invalidate_all", "delete_keys")

#: number, path, type or the values of an enum, values of ours beside them. Milliseconds may have a fraction (C15).
FIELDS = [
    (181, "meta.feature_spec", STRING),
    (182, "meta.backend_spec", STRING),
    (183, "meta.generated_at", "date-time"),
    (184, "meta.version", STRING),
    (185, "cache_targets[]", OBJECT),
    (186, "cache_targets[].endpoint", STRING),
    (187, "cache_targets[].cache_key_pattern", STRING),
    (188, "cache_targets[].cache_type", ("redis", "in_memory", "cdn", "database_query_cache"), ("file",)),
    (189, "cache_targets[].query_frequency", STRING),
    (190, "cache_targets[].avg_query_time_ms", NUMBER),
    (191, "cache_targets[].database_query", STRING),
    (192, "cache_targets[].cache_key_pattern", STRING),
    (193, "cache_targets[].complexity", ("low", "medium", "high")),
    (194, "cache_targets[].execution_count", WHOLE),
    (195, "cache_targets[].computed_data", STRING),
    (196, "cache_targets[].cache_key_pattern", STRING),
    (197, "cache_targets[].computation_cost_ms", NUMBER),
    (198, "cache_targets[].update_frequency", STRING),
    (199, "cache_strategy.pattern", PATTERNS),
    (200, "cache_strategy.hierarchy_level", LEVELS),
    (201, "cache_strategy.cache_type", ("redis", "in_memory"), ("file",)),
    (202, "cache_strategy.ttl.duration_seconds", WHOLE),
    (203, "cache_strategy.ttl.max_duration_seconds", WHOLE),
    (204, "cache_strategy.ttl.sliding_window", FLAG),
    (205, "cache_strategy.eviction_policy.type", ("lru", "lfu", "fifo", "ttl")),
    (206, "cache_strategy.eviction_policy.max_items", WHOLE),
    (207, "cache_strategy.eviction_policy.max_memory_bytes", WHOLE),
    (208, "cache_strategy.eviction_policy.priority_strategy", ("access_time", "access_count", "custom")),
    (209, "cache_strategy.compression.enabled", FLAG),
    (210, "cache_strategy.compression.algorithm", ALGORITHMS),
    (211, "cache_strategy.compression.threshold_bytes", WHOLE),
    (212, "cache_keys.resource.pattern", STRING),
    (213, "cache_keys.resource.includes_user_id", FLAG),
    (214, "cache_keys.resource.includes_tenant_id", FLAG),
    (215, "cache_keys.resource.version_in_key", FLAG),
    (216, "cache_keys.collection.pattern", STRING),
    (217, "cache_keys.collection.invalidate_on", STRINGS),
    (218, "cache_keys.collection.ttl", WHOLE),
    (219, "cache_keys.query_result.pattern", STRING),
    (220, "cache_keys.query_result.includes_user_id", FLAG),
    (221, "cache_keys.query_result.includes_tenant_id", FLAG),
    (222, "cache_keys.query_result.depends_on", STRINGS),
    (223, "cache_keys.computed.pattern", STRING),
    (224, "cache_keys.computed.refresh_schedule", STRING),
    (225, "cache_keys.computed.depends_on", STRINGS),
    (226, "invalidation.rules[].operation", ("create", "update", "delete", "bulk_update")),
    (227, "invalidation.rules[].invalidate_patterns", STRINGS),
    (228, "invalidation.rules[].scope", ("specific", "collection", "pattern", "global")),
    (229, "invalidation.rules[].cascades", STRINGS),
    (230, "invalidation.triggers[].event", STRING),
    (231, "invalidation.triggers[].table", STRING),
    (232, "invalidation.triggers[].action", ("insert", "update", "delete")),
    (233, "invalidation.triggers[].entity_id", STRING),
    (234, "invalidation.triggers[].time_based.schedule", STRING),
    (235, "invalidation.triggers[].time_based.ttl_check", FLAG),
    (236, "invalidation.versioning.enabled", FLAG),
    (237, "invalidation.versioning.version_field", STRING),
    (238, "invalidation.versioning.strategy", ("invalidate_on_change", "compare_versions")),
    (239, "cache_warming.enabled", FLAG),
    (240, "cache_warming.strategies[].type", ("on_startup", "scheduled", "predictive"), ("user_specific",)),
    (241, "cache_warming.strategies[].trigger", STRING),
    (242, "cache_warming.strategies[].warmup_queries", STRINGS),
    (243, "cache_warming.on_startup.queries[].name", STRING),
    (244, "cache_warming.on_startup.queries[].key_pattern", STRING),
    (245, "cache_warming.on_startup.queries[].params", OBJECT),
    (246, "cache_warming.on_startup.queries[].expected_results", WHOLE),
    (247, "cache_warming.scheduled.schedule", STRING),
    (248, "cache_warming.scheduled.queries[]", OBJECT),
    (249, "cache_warming.scheduled.execution_window", STRING),
    (250, "cache_warming.predictive.user_based", FLAG),
    (251, "cache_warming.predictive.behavior_pattern", STRING),
    (252, "cache_warming.predictive.cache_keys", STRINGS),
    (253, "cache_warming.monitoring.track_warming", FLAG),
    (254, "cache_warming.monitoring.progress_threshold", NUMBER),
    (255, "metrics.performance.hit_rate", NUMBER),
    (256, "metrics.performance.miss_rate", NUMBER),
    (257, "metrics.performance.avg_response_time_with_cache_ms", NUMBER),
    (258, "metrics.performance.avg_response_time_without_cache_ms", NUMBER),
    (259, "metrics.performance.cache_performance_ratio", NUMBER),
    (260, "metrics.cache_size.items_count", WHOLE),
    (261, "metrics.cache_size.memory_used_bytes", WHOLE),
    (262, "metrics.cache_size.max_items", WHOLE),
    (263, "metrics.cache_size.max_memory_bytes", WHOLE),
    (264, "metrics.operations.get_operations_per_second", NUMBER),
    (265, "metrics.operations.set_operations_per_second", NUMBER),
    (266, "metrics.operations.delete_operations_per_second", NUMBER),
    (267, "metrics.operations.avg_operation_latency_ms", NUMBER),
    (268, "metrics.health.cache_status", ("healthy", "degraded", "down")),
    (269, "metrics.health.error_rate", NUMBER),
    (270, "metrics.health.connection_pool_status", STRING),
    (271, "metrics.health.memory_pressure", ("low", "medium", "high", "critical")),
    (272, "alerts.low_hit_rate.enabled", FLAG),
    (273, "alerts.low_hit_rate.threshold", NUMBER),
    (274, "alerts.low_hit_rate.action", ("warn", "alert", "disable_caching")),
    (275, "alerts.high_memory_usage.enabled", FLAG),
    (276, "alerts.high_memory_usage.threshold", NUMBER),
    (277, "alerts.high_memory_usage.action", ("warn", "alert", "evict_oldest")),
    (278, "alerts.slow_operations.enabled", FLAG),
    (279, "alerts.slow_operations.threshold_ms", NUMBER),
    (280, "alerts.slow_operations.action", ("warn", "alert", "investigate")),
    (281, "alerts.cache_unavailable.enabled", FLAG),
    (282, "alerts.cache_unavailable.action", ("fallback_to_db", "alert_admin", "retry")),
    (283, "multi_tenant.enabled", FLAG),
    (284, "multi_tenant.key_prefix", STRING),
    (285, "multi_tenant.isolation", FLAG),
    (286, "multi_tenant.on_tenant_delete.action", DELETE),
    (287, "multi_user.enabled", FLAG),
    (288, "multi_user.key_prefix", STRING),
    (289, "multi_user.isolation", FLAG),
    (290, "multi_user.on_user_delete.action", DELETE),
    (291, "configuration.redis.host", STRING),
    (292, "configuration.redis.port", WHOLE),
    (293, "configuration.redis.db_index", WHOLE),
    (294, "configuration.redis.password_env_var", STRING),
    (295, "configuration.redis.pool_size", WHOLE),
    (296, "configuration.redis.socket_timeout_ms", WHOLE),
    (297, "configuration.redis.socket_connect_timeout_ms", WHOLE),
    (298, "configuration.redis.max_connections", WHOLE),
    (299, "configuration.redis.retry_on_timeout", FLAG),
    (300, "configuration.redis.persistence.enabled", FLAG),
    (301, "configuration.redis.persistence.strategy", ("rdb", "aof", "none")),
    (302, "configuration.redis.persistence.save_interval_seconds", WHOLE),
    (303, "configuration.redis.cluster.enabled", FLAG),
    (304, "configuration.redis.cluster.slots", WHOLE),
    (305, "configuration.redis.cluster.replicas", STRINGS),
    (306, "configuration.in_memory.max_items", WHOLE),
    (307, "configuration.in_memory.max_memory_mb", WHOLE),
    (308, "configuration.in_memory.cleanup_interval_seconds", WHOLE),
    (309, "configuration.in_memory.compression.enabled", FLAG),
    (310, "configuration.in_memory.compression.algorithm", ALGORITHMS),
    (311, "configuration.in_memory.compression.min_size_bytes", WHOLE),
    (312, "implementation.cache_layer[].name", STRING),
    (313, "implementation.cache_layer[].methods", STRINGS),
    (314, "implementation.cache_layer[].dependencies", STRINGS),
    (315, "implementation.cache_interceptor[].name", STRING),
    (316, "implementation.cache_interceptor[].type", ("middleware", "dependency", "decorator")),
    (317, "implementation.cache_interceptor[].endpoints", STRINGS),
    (318, "implementation.cache_interceptor[].cache_key_generator", STRING),
    (319, "implementation.cache_interceptor[].skip_condition", STRING),
    (320, "implementation.background_warming.enabled", FLAG),
    (321, "implementation.background_warming.implementation", STRING),
    (322, "implementation.background_warming.schedule", STRING),
]

#: Fields of ours, by the schema's definition.
_LIFETIMES = {
    "soft_duration_seconds",
    "early_refresh",
    "stale_if_error_seconds",
    "negative_duration_seconds",
    "jitter",
}
EXTENSIONS = {
    "Ttl": _LIFETIMES,
    "TtlOverride": _LIFETIMES,
    "CachingSpecification": {
        "schema_version",
        "generator",
        "enabled",
        "namespace",
        "identity",
        "consistency",
    },
    "Meta": {"sources"},
    "Identity": {"user", "tenant"},
    "CacheWarming": {"ahead"},
    "Predictive": {"transitions"},
    "Consistency": {
        "strict",
        "l1_lease_ms",
        "identity_ttl_seconds",
        "write_ack",
        "crash_safe",
        "ignore_writes",
        "single_host",
    },
    "CacheTarget": {
        "name",
        "role",
        "window_seconds",
        "scope",
        "shared",
        "levels",
        "strategy",
        "depends_on",
        "max_staleness_seconds",
        "allow_stale_after_invalidation",
        "authorization",
        "bypass_when",
        "ignored_reads",
        "single_flight",
        "refresh",
        "mode",
        "percent",
        "because",
    },
    "CacheStrategy": {"populate_on_write", "retries"},
    "StrategyOverride": {"populate_on_write", "retries"},
    "EvictionPolicy": {"priority_callable"},
    "EvictionOverride": {"priority_callable"},
    "PerformanceMetrics": {"speedup"},
    "LowHitRateAlert": {"for_seconds", "min_requests"},
    "HighMemoryAlert": {"for_seconds", "min_requests"},
    "SlowOperationsAlert": {"for_seconds", "min_requests"},
    "CacheUnavailableAlert": {"for_seconds", "min_requests"},
    "Redis": {
        "url_env_var",
        "username",
        "client_name",
        "tls",
        "sentinel",
        "replica_reads",
        "maxmemory_bytes",
        "maxmemory_policy",
    },
    "Cluster": {"nodes", "routing"},
    "Tls": {"enabled", "ca_file", "cert_file", "key_file", "check_hostname"},
    "Sentinel": {"service_name", "nodes", "username", "password_env_var"},
    "ReplicaReads": {"enabled", "max_lag_ms"},
    "Configuration": {"http", "cdn"},
    "Http": {"etag", "age", "cache_status", "request_no_cache"},
    "Cdn": {"purge_url", "purge_method", "tag_header", "token_env_var"},
}

SCHEMA = json_schema()
OVERRIDES = {"StrategyOverride", "TtlOverride", "EvictionOverride", "CompressionOverride"}


def resolved(node):
    """The node behind a reference, or the only choice beside null."""
    if "$ref" in node:
        return SCHEMA["$defs"][node["$ref"].rpartition("/")[2]]
    choices = [choice for choice in node.get("anyOf", []) if choice.get("type") != "null"]
    return resolved(choices[0]) if choices else node


def at(path):
    node = resolved(SCHEMA["properties"]["caching_specification"])
    for part in path.replace("[]", ".[]").split("."):
        node = resolved(node["items"] if part == "[]" else node["properties"][part])
    return node


@pytest.mark.parametrize(("number", "path", "expected", "ours"), [(*field, ())[:4] for field in FIELDS])
@pytest.mark.requirement("#180", "#181-#322", "C15")
def test_every_field_of_the_request_has_its_name_type_and_values(number, path, expected, ours):
    node = at(path)
    if isinstance(expected, tuple):
        assert tuple(node["enum"]) == expected + ours
        assert tuple(node.get("x-extension-values", ())) == ours
    elif expected == STRINGS:
        assert (node["type"], node["items"]["type"]) == ("array", "string")
    elif expected == "date-time":
        assert (node["type"], node["format"]) == ("string", "date-time")
    else:
        assert node["type"] == expected


def test_the_list_of_fields_has_no_gap():
    assert [number for number, *_ in FIELDS] == list(range(181, 323))


def test_exactly_our_own_fields_are_marked():
    marked = {
        name: {
            field for field, schema in definition.get("properties", {}).items() if schema.get("x-extension")
        }
        for name, definition in SCHEMA["$defs"].items()
    }
    assert {name: fields for name, fields in marked.items() if fields} == EXTENSIONS


@pytest.mark.requirement("C38")
def test_every_field_is_either_the_requests_or_marked_as_ours():
    requested = {path for _, path, *_ in FIELDS}
    requested |= {path.replace("on_startup", "scheduled") for path in requested}  # one query object (C50)
    unknown = []

    def walk(node, path):
        for name, inner in node.get("properties", {}).items():
            if inner.get("x-extension"):
                continue
            child, place = resolved(inner), f"{path}.{name}".lstrip(".")
            if child.get("type") == "array" and "properties" in resolved(child["items"]):
                walk(resolved(child["items"]), f"{place}[]")
            elif "properties" in child:
                walk(child, place)
            elif place not in requested:
                unknown.append(place)

    walk(resolved(SCHEMA["properties"]["caching_specification"]), "")
    assert unknown == []


def test_every_field_and_section_is_described():
    silent = [
        f"{name}.{field}"
        for name, definition in SCHEMA["$defs"].items()
        for field, schema in definition.get("properties", {}).items()
        if not schema.get("description") and not ("$ref" in schema and resolved(schema).get("description"))
    ]
    assert silent == []
    assert all(definition.get("description") for definition in SCHEMA["$defs"].values())


@pytest.mark.requirement("C70")
def test_it_is_a_json_schema_of_2020_12_with_an_id():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    assert SCHEMA["$id"]
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize(
    "data",
    [
        {},
        {
            "x-own": 1,
            "cache_targets": [
                {
                    "endpoint": "GET /a",
                    "x-own": 1,
                    "strategy": {"ttl": {"duration_seconds": None}},
                    "levels": ["l1"],
                },
                {"database_query": "SELECT 1", "shared": "public"},
            ],
            "alerts": {"low_hit_rate": {"action": ["warn", "alert"]}},
            "configuration": {"redis": {"tls": {"enabled": True}, "cluster": {"nodes": ["a:1"]}}},
        },
    ],
)
@pytest.mark.requirement("#179")
def test_what_we_write_satisfies_the_schema(data):
    document = yaml.safe_load(dumps_spec(CachingSpecification.model_validate(data)))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


@pytest.mark.parametrize(
    "data",
    [
        {"other": 1},
        {"meta": {"other": 1}},
        {"cache_targets": [{"endpoint": "/a", "computed_data": "b"}]},
        {"cache_targets": [{}]},
        {"cache_strategy": {"ttl": {"duration_seconds": 0}}},
        {"configuration": {"redis": {"cluster": {"slots": 5}}}},
        {"configuration": {"redis": {"password_env_var": "hunter2"}}},
        {"alerts": {"low_hit_rate": {"action": []}}},
    ],
)
def test_the_schema_refuses_what_the_model_refuses(data):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert not validator.is_valid({"caching_specification": data})
