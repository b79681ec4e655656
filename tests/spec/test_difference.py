"""What follows when one specification replaces another, by cases and for the whole."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cachewright.spec.change import RISKS
from cachewright.spec.difference import difference, worst
from cachewright.spec.document import dumps_spec, loads_spec
from cachewright.spec.model import CachingSpecification

CASES = YAML(typ="safe").load((Path(__file__).parent / "cases_difference.yml").read_text())
TARGET = {
    "endpoint": "GET /tasks",
    "scope": "user",
    "cache_key_pattern": "user:{user_id}:tasks",
    "depends_on": ["tasks(user_id={user_id})"],
}


def document(target=None, **fields):
    whole = {"identity": {"user": "claim:sub"}, "cache_targets": [{**TARGET, **(target or {})}], **fields}
    return loads_spec(dumps_spec(CachingSpecification.model_validate(whole)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_change_of_a_target(case):
    found = difference(document(case["from"]), document(case["to"]))
    if "first" in case:
        shown = found.changes[0].to_json()
        assert {name: shown[name] for name in case["first"]} == case["first"]
    else:
        assert found.changes == ()
    assert found.cold == (("GET /tasks",) if case.get("cold") else ())
    assert bool(found.new_namespace) == ("namespace" in case)
    assert case.get("namespace", "") in "".join(found.new_namespace)


@pytest.mark.parametrize(
    ("fields", "risk", "what"),
    [
        ({"identity": {"user": "claim:email"}}, "high", "identity.user"),
        ({"namespace": "other"}, "medium", "namespace"),
        ({"enabled": False}, "medium", "enabled"),
        ({"consistency": {"ignore_writes": ["tasks.seen"]}}, "high", "ignore_writes"),
        ({"consistency": {"l1_lease_ms": 5000}}, "medium", "lease_ms"),
        ({"consistency": {"strict": True}}, "low", "lease_ms"),
        ({"multi_user": {"isolation": False}}, "high", "multi_user.isolation"),
        ({"configuration": {"redis": {"pool_size": 20}}}, "low", "configuration.redis.pool_size"),
        ({"meta": {"feature_spec": "tasks.md"}}, "none", "meta.feature_spec"),
        ({"cache_targets": []}, "medium", "removed"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_change_of_the_whole(fields, risk, what):
    first = difference(document(), document(**fields)).changes[0]
    assert (first.risk, first.what) == (risk, what)


def test_what_invalidated_or_alarmed_and_is_gone_is_worth_a_look():
    rules = {"rules": [{"operation": "update", "invalidate_patterns": ["tasks"]}]}
    before = document(invalidation=rules, alerts={"low_hit_rate": {"enabled": True}})
    changes = difference(before, document()).changes
    assert {(change.subject, change.risk) for change in changes} == {
        ("invalidation", "medium"),
        ("alerts", "medium"),
    }


def test_the_most_dangerous_change_comes_first():
    before = document(consistency={"l1_lease_ms": 1000})
    after = document({"scope": "tenant", "cache_key_pattern": "tenant:{tenant_id}:tasks"}, namespace="new")
    ranks = [RISKS.index(change.risk) for change in difference(before, after).changes]
    assert ranks == sorted(ranks)
    assert worst(difference(before, after).changes) == "high"
    assert worst(()) == "none"


def test_another_namespace_is_a_cold_cache_by_itself():
    found = difference(document(), document({"depends_on": ["tasks(owner_id={user_id})"]}, namespace="new"))
    assert found.new_namespace == ()
    assert found.cold == ("GET /tasks",)


def test_queries_are_compared_by_name():
    query = {"database_query": "SELECT 1", "name": "one", "cache_key_pattern": "one", "depends_on": ["tasks"]}
    before = document(cache_targets=[query])
    after = document(cache_targets=[{**query, "depends_on": ["labels"]}])
    (change,) = difference(before, after).changes
    assert (change.risk, change.subject, change.what) == ("high", "one", "depends_on")


def test_another_order_and_what_is_written_out_are_no_change():
    rule = {"operation": "update", "invalidate_patterns": ["tasks", "labels"]}
    other = {"operation": "delete", "invalidate_patterns": ["tasks"]}
    before = document(
        {
            "depends_on": ["tasks(user_id={user_id})", "labels"],
            "bypass_when": ["query.a present", "query.b present"],
        },
        invalidation={"rules": [rule, other]},
    )
    after = document(
        {
            "depends_on": ["labels", "tasks(user_id={user_id})"],
            "bypass_when": ["query.b present", "query.a present"],
            "strategy": {"compression": {"threshold_bytes": 1024}},
            "levels": ["l2"],
        },
        invalidation={"rules": [other, {**rule, "invalidate_patterns": ["labels", "tasks"]}]},
        alerts={"low_hit_rate": {"enabled": False, "threshold": 0.5}},
    )
    assert difference(before, after).changes == ()


def test_a_change_shows_what_was_usual_before_it():
    (change,) = difference(document(), document(alerts={"low_hit_rate": {"threshold": 0.4}})).changes
    assert (change.what, change.before, change.after) == ("alerts.low_hit_rate.threshold", 0.5, 0.4)


def test_items_of_a_list_are_known_by_their_names():
    query = {"name": "GET /tasks", "params": {"top_users": 5}}
    old = {"enabled": True, "on_startup": {"queries": [query]}}
    new = {"enabled": True, "on_startup": {"queries": [{"name": "labels"}, {**query, "expected_results": 5}]}}
    found = difference(document(cache_warming=old), document(cache_warming=new)).changes
    assert [change.what for change in found] == [
        "cache_warming.on_startup.queries[labels]",
        "cache_warming.on_startup.queries[GET /tasks].expected_results",
    ]


def test_what_a_targets_own_strategy_changes_is_said_once():
    own = {"strategy": {"ttl": {"duration_seconds": 60}, "compression": {"enabled": True}}}
    found = difference(document(), document(own)).changes
    assert [change.what for change in found] == ["ttl_seconds", "strategy.compression.enabled"]
