"""A specification that stands, changed by a request: what the request leaves out stays, what follows is added."""

import difflib
from datetime import UTC, datetime

import pytest
import yaml

from cachewright.checks import check
from cachewright.design.written.revision import revise
from cachewright.errors import RequestError
from cachewright.request.backend import Backend, Endpoint, Prohibition, Table
from cachewright.request.reading import loads_request
from cachewright.spec.document import loads_spec

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
STANDING = """\
# ours
caching_specification:
  namespace: todo  # short
  identity: {user: "claim:sub"}
  cache_targets:
    # the hot one
    - endpoint: GET /tasks
      name: tasks
      cache_key_pattern: user:{user_id}:tasks
      scope: user
      depends_on: [tasks]
      strategy:
        ttl: {soft_duration_seconds: 30, duration_seconds: 600}
    - endpoint: GET /labels  # for everybody
      cache_key_pattern: labels
      scope: public
      depends_on: [labels]
  cache_strategy:
    ttl:
      duration_seconds: 300
  invalidation:
    rules:
      - operation: update
        invalidate_patterns: [tasks, labels]
        scope: pattern
  implementation:
    cache_interceptor:
      - name: CacheInterceptor
        type: middleware
        endpoints: [GET /tasks, GET /labels]
"""


def revised(inputs, backend=Backend(), standing=STANDING):
    text = yaml.safe_dump({"inputs": inputs}, sort_keys=False)
    found = revise(loads_request(text, "change.yaml"), backend, loads_spec(standing, "caching.yaml"), now=NOW)
    assert found.kept
    assert loads_spec(found.text).spec == found.design.spec
    return found


def lines(found, standing=STANDING):
    """The lines that went, and those that came."""
    both = list(difflib.ndiff(standing.splitlines(), found.text.splitlines()))
    return tuple([line[2:].strip() for line in both if line[0] == mark] for mark in "-+")


def asked(**fields):
    return {"cache_targets": [fields]}


@pytest.mark.requirement("#8", "#9")
def test_a_lifetime_changes_and_nothing_else():
    found = revised(asked(endpoint="GET /tasks", ttl_seconds=120))
    assert lines(found) == (
        ["ttl: {soft_duration_seconds: 30, duration_seconds: 600}"],
        ["ttl: {soft_duration_seconds: 30, duration_seconds: 120}"],
    )
    (change,) = found.difference.changes
    assert (change.subject, change.what, change.before, change.after) == ("tasks", "ttl_seconds", 600, 120)


@pytest.mark.requirement("#9", "#30")
def test_a_size_changes_and_nothing_else():
    found = revised({"cache_strategy": {"max_items": 500}})
    assert lines(found) == ([], ["eviction_policy:", "max_items: 500"])


def test_nothing_asked_is_nothing_changed():
    found = revised({})
    assert found.text == STANDING
    assert found.difference.changes == ()


@pytest.mark.requirement("#8")
def test_a_new_target_brings_what_follows_from_it():
    found = revised(
        {
            "cache_targets": [
                {"endpoint": "GET /stats", "depends_on": ["tasks", "visits"], "warm_top_users": 5}
            ]
        }
    )
    spec = found.design.spec
    assert [target.subject for target in spec.cache_targets] == ["GET /tasks", "GET /labels", "GET /stats"]
    new = spec.cache_targets[2]
    assert new.scope == "user"
    assert spec.strategy_of(new).ttl.duration_seconds == 300, "what stands counts for new targets too"
    assert spec.implementation.cache_interceptor[0].endpoints == ("GET /tasks", "GET /labels", "GET /stats")
    assert [query.name for query in spec.cache_warming.on_startup.queries] == ["GET /stats"]
    written = {pattern for rule in spec.invalidation.rules for pattern in rule.invalidate_patterns}
    assert {"visits", "user:{user_id}:stats"} <= written
    assert spec.invalidation.rules[0] == loads_spec(STANDING).spec.invalidation.rules[0]
    gone, _ = lines(found)
    assert gone == ["endpoints: [GET /tasks, GET /labels]"]
    doubts = [finding for finding in check(loads_spec(found.text)) if finding.severity != "info"]
    assert not any("stats" in finding.message or "visits" in finding.message for finding in doubts)


def test_a_new_key_is_none_of_those_that_stand():
    found = revised(asked(endpoint="GET /api/labels", scope="public", depends_on=["labels"]))
    patterns = [target.cache_key_pattern for target in found.design.spec.cache_targets]
    assert patterns[1:] == ["labels", "labels:target=2"]


def test_a_parameter_enters_the_key_that_stands():
    found = revised(asked(endpoint="GET /tasks", parameters=["page"]))
    assert found.design.spec.cache_targets[0].cache_key_pattern == "user:{user_id}:tasks:page={page}"
    assert lines(found)[0] == ["cache_key_pattern: user:{user_id}:tasks"]


def test_what_is_dangerous_is_taken_out():
    text = STANDING.replace("GET /labels", "GET /auth/token")
    found = revised(asked(endpoint="GET /auth/token", ttl_seconds=5), standing=text)
    assert [target.subject for target in found.design.spec.cache_targets] == ["GET /tasks"]
    assert found.design.not_cached[0].code == "sensitive"
    assert found.design.spec.implementation.cache_interceptor[0].endpoints == ("GET /tasks",)
    assert "# the hot one" in found.text


def test_a_contradiction_is_blamed_on_the_request():
    with pytest.raises(RequestError) as caught:
        revised(
            asked(endpoint="GET /tasks", ttl_seconds=10)
        )  # entries would be refreshed after they are gone
    assert caught.value.path == "change.yaml"
    assert caught.value.line == 3


@pytest.mark.requirement("#18")
def test_an_endpoint_that_is_new_in_the_api_is_named_and_not_designed():
    api = Backend(
        endpoints=(
            Endpoint("GET", "/tasks", source="openapi.json"),
            Endpoint("GET", "/reports", source="openapi.json"),
            Endpoint("GET", "/auth/session", source="openapi.json"),
            Endpoint("POST", "/tasks", source="openapi.json"),
        ),
        sources=("openapi.json",),
    )
    found = revised({}, api)
    assert found.text == STANDING
    codes = {no.endpoint: no.code for no in found.design.not_cached}
    assert codes == {"GET /reports": "unassessed", "GET /auth/session": "sensitive"}
    assert any(warning.startswith("GET /labels: it stands") for warning in found.design.warnings)


@pytest.mark.requirement("#13", "#22")
@pytest.mark.parametrize(
    ("standing", "choice"),
    [
        ("", "compression: enabled"),
        ("    compression: {enabled: true, algorithm: gzip}\n", "ttl: 150 s"),
    ],
)
def test_memory_that_is_full_gets_the_mildest_relief(standing, choice):
    text = STANDING.replace("  invalidation:\n", f"{standing}  invalidation:\n")
    full = {"observed": {"cache_size": {"memory_used_bytes": 95, "max_memory_bytes": 100}}}
    found = revised(full, standing=text)
    (decision,) = [each for each in found.design.decisions if each.subject == "cache_strategy"]
    assert decision.choice == choice
    assert "95% of 100 bytes" in decision.reason
    assert found.difference.changes
    just = {"observed": {"cache_size": {"memory_used_bytes": 80, "max_memory_bytes": 100}}}
    assert revised(just, standing=text).text == text


@pytest.mark.requirement("C76")
def test_what_the_project_forbids_is_left_out_of_what_stands():
    text = STANDING.replace("      scope: user\n", "      scope: user\n      levels: [l1, l2]\n")
    redis = Backend(prohibitions=(Prohibition("redis", "No Redis.", "constitution.md:3"),))
    spec = revised({}, redis, text).design.spec
    assert spec.cache_targets[0].levels == ("l1",)
    assert spec.cache_strategy.cache_type == "in_memory"
    caching = Backend(prohibitions=(Prohibition("caching", "No caching.", "constitution.md:4"),))
    found = revised({}, caching)
    assert lines(found) == ([], ["enabled: false"])
    assert any("No caching." in warning for warning in found.design.warnings)


def test_tables_of_documents_are_depended_on_by_what_is_new():
    backend = Backend(tables=(Table("visits", ("id", "user_id"), ("id",)),), sources=("schema.md",))
    found = revised(asked(endpoint="GET /visits"), backend)
    assert found.design.spec.cache_targets[2].depends_on == ("visits",)
