"""What is set and not executed is named; what is executed or only describes is not."""

from cachewright.spec.executed import DESCRIPTIVE, EXECUTED, INSTEAD, PARTLY, pattern_of, unexecuted
from cachewright.spec.model import CachingSpecification
from cachewright.spec.schema import json_schema
from cachewright.spec.strategy import CacheStrategy


def named(**data):
    return [pattern_of(path) for path, _ in unexecuted(CachingSpecification.model_validate(data))]


def test_the_empty_specification_promises_nothing_that_is_not_executed():
    assert named() == []


def test_what_is_executed_is_not_named():
    assert (
        named(
            enabled=False,
            namespace="todo",
            identity={"user": "claim:sub", "tenant": "header:X-Tenant"},
            consistency={
                "l1_lease_ms": 10,
                "identity_ttl_seconds": 10,
                "ignore_writes": ["a.b"],
                "single_host": True,
            },
            cache_targets=[
                {
                    "endpoint": "GET /a",
                    "cache_key_pattern": "a",
                    "levels": ["l1", "l2"],
                    "scope": "user",
                    "strategy": {
                        "ttl": {"duration_seconds": 60, "sliding_window": True, "max_duration_seconds": 900}
                    },
                    "depends_on": ["a"],
                    "bypass_when": ["query.a == 'b'"],
                    "ignored_reads": ["client"],
                    "mode": "off",
                    "cache_type": "redis",
                    "max_staleness_seconds": 5,
                    "allow_stale_after_invalidation": True,
                    "single_flight": "fleet",
                },
                {
                    "endpoint": "GET /b",
                    "strategy": {"hierarchy_level": "l3", "eviction_policy": {"max_items": 5}},
                },
            ],
            cache_strategy={
                "hierarchy_level": "l1",
                "ttl": {"duration_seconds": 1},
                "eviction_policy": {
                    "type": "lfu",
                    "max_items": 1,
                    "max_memory_bytes": 1,
                    "priority_strategy": "access_count",
                },
                "compression": {"enabled": True, "algorithm": "gzip", "threshold_bytes": 1},
            },
            configuration={
                "redis": {"socket_timeout_ms": 1, "socket_connect_timeout_ms": 1, "max_connections": 90},
                "in_memory": {"cleanup_interval_seconds": 5},
            },
            multi_tenant={"enabled": True},
            multi_user={"enabled": True},
        )
        == []
    )


def test_descriptions_are_not_named():
    target = {
        "endpoint": "/a",
        "query_frequency": "5/s",
        "avg_query_time_ms": 3,
        "because": ["F1"],
        "role": "query",
    }
    assert (
        named(
            meta={"feature_spec": "a", "sources": ["t"]},
            generator="us",
            cache_targets=[target],
            cache_keys={"resource": {"pattern": "a:{b}", "includes_user_id": True}},
            metrics={"performance": {"hit_rate": 0.9}},
        )
        == []
    )


def test_what_is_set_and_not_executed_is_named_with_its_path():
    found = unexecuted(
        CachingSpecification.model_validate(
            {
                "identity": {"user": "dependency:app.auth.user.id", "tenant": "host"},
                "cache_strategy": {"hierarchy_level": "l4"},
                "cache_targets": [
                    {"endpoint": "/a"},
                    {"endpoint": "/b", "percent": 50, "mode": "shadow", "levels": ["l1", "l4"]},
                    {"database_query": "SELECT 1", "percent": 5},
                ],
                "invalidation": {"rules": [{"operation": "update", "invalidate_patterns": ["a"]}]},
            }
        )
    )
    assert [path for path, _ in found] == [
        ("cache_targets", 2),
        ("cache_strategy", "hierarchy_level"),
        ("invalidation", "rules", 0),
    ]
    assert all(reason for _, reason in found)


def test_a_value_that_equals_the_default_is_not_set():
    assert (
        named(cache_strategy=CacheStrategy().model_dump(), alerts={"low_hit_rate": {"threshold": 0.5}}) == []
    )


def test_every_entry_of_the_tables_is_a_field():
    schema = json_schema()

    def exists(pattern):
        node = schema["properties"]["caching_specification"]
        for part in pattern.replace("[]", ".[]").split("."):
            options = [node, *node.get("anyOf", [])]
            options = [schema["$defs"][o["$ref"].rpartition("/")[2]] if "$ref" in o else o for o in options]
            inner = [
                o["items"] if part == "[]" else o["properties"][part]
                for o in options
                if ("items" in o if part == "[]" else part in o.get("properties", {}))
            ]
            if not inner:
                return False
            node = inner[0]
        return True

    missing = [
        pattern
        for table in (EXECUTED, DESCRIPTIVE, PARTLY, INSTEAD)
        for pattern in table
        if not exists(pattern)
    ]
    assert missing == []
