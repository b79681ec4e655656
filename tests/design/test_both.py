"""Designs from a recording and a request: evidence decides what is so, the request what is wanted."""

from datetime import UTC, datetime

import pytest
import yaml
from tests.analysis.builder import TodoTraffic

from cachewright.checks import check
from cachewright.design.both import design_both
from cachewright.design.planner import design
from cachewright.request.backend import Backend, Prohibition
from cachewright.request.reading import loads_request
from cachewright.simulator.replay import replay
from cachewright.spec.document import Document, dumps_spec, loads_spec
from cachewright.spec.target import compile_plan

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def trace():
    return TodoTraffic().run(1200).build()


@pytest.fixture(scope="module")
def short():
    return TodoTraffic().run(60).build()


def designed(trace, inputs, backend=Backend()):
    def scored(spec):
        return replay(trace, compile_plan(Document(spec=spec, positions={})))

    document = loads_request(yaml.safe_dump({"inputs": inputs}), "request.yaml")
    return design_both(trace, document, backend, now=NOW, score=scored)


def by_subject(found):
    return {target.subject: target for target in found.spec.cache_targets}


@pytest.mark.requirement("#29")
def test_the_lifetime_that_is_asked_for_counts_and_the_evidence_stays(trace):
    found = designed(
        trace,
        {
            "cache_strategy": {"ttl_duration_seconds": 900},
            "cache_targets": [{"endpoint": "GET /api/tasks", "ttl_seconds": 60, "levels": ["l1"]}],
        },
    )
    tasks, news = by_subject(found)["GET /api/tasks"], by_subject(found)["GET /news"]
    assert found.spec.strategy_of(tasks).ttl.duration_seconds == 60
    assert found.spec.strategy_of(news).ttl.duration_seconds == 900
    assert tasks.levels == ("l1",)
    assert tasks.depends_on == ("tasks(owner_id={user_id})", "users(id={user_id})")


def test_what_the_recording_cannot_see_is_designed_from_the_words(trace):
    query = "SELECT * FROM tags WHERE user_id = ?"
    found = designed(trace, {"cache_targets": [{"database_query": query}, {"endpoint": "GET /api/labels"}]})
    targets = by_subject(found)
    assert {"GET /api/tasks", "GET /api/labels", query} <= targets.keys()
    document = loads_spec(dumps_spec(found.spec))
    assert [finding for finding in check(document) if finding.severity == "error"] == []


def test_little_evidence_is_a_doubt_where_a_target_was_asked_for_by_name(short):
    inputs = {"cache_targets": [{"endpoint": "GET /api/tasks"}]}
    alone = design(
        short, now=NOW, score=lambda spec: replay(short, compile_plan(Document(spec=spec, positions={})))
    )
    assert "GET /api/tasks" not in by_subject(alone)
    found = designed(short, inputs)
    assert "GET /api/tasks" in by_subject(found)
    assert any("GET /api/tasks" in text and "asked for by name" in text for text in found.warnings)


@pytest.mark.requirement("#406")
def test_a_danger_is_no_doubt(trace):
    found = designed(
        trace, {"cache_targets": [{"endpoint": "POST /api/tasks"}, {"endpoint": "GET /auth/token"}]}
    )
    codes = {no.endpoint: no.code for no in found.not_cached}
    assert codes["POST /api/tasks"] == "unsafe_method"
    assert codes["GET /auth/token"] == "sensitive"


@pytest.mark.requirement("#156")
def test_with_tenants_the_targets_of_a_recording_hold_theirs_too(trace):
    found = designed(trace, {"multi_tenant": {"enabled": True}})
    for target in found.spec.cache_targets:
        assert target.scope == "public" or "{tenant_id}" in target.cache_key_pattern


@pytest.mark.requirement("C76")
def test_a_project_that_forbids_caching_is_obeyed_whatever_was_recorded(trace):
    rule = Prohibition("caching", "No caching.", "constitution.md:3")
    found = designed(trace, {}, Backend(prohibitions=(rule,)))
    assert found.spec.cache_targets == ()
    assert {no.code for no in found.not_cached if no.endpoint == "GET /api/tasks"} == {"forbidden"}


def test_the_same_evidence_and_request_give_the_same_bytes(short):
    inputs = {"cache_targets": [{"endpoint": "GET /api/tasks", "critical": True}]}
    assert dumps_spec(designed(short, inputs).spec) == dumps_spec(designed(short, inputs).spec)


def test_the_forecast_of_the_recording_stands_unless_the_request_has_figures_of_its_own(trace):
    wanted = {"cache_targets": [{"endpoint": "GET /news"}]}
    found = designed(trace, wanted)
    alarm = found.spec.alerts.low_hit_rate.threshold
    assert 0 < alarm < found.spec.metrics.performance.hit_rate < 1
    assert [made.choice for made in found.decisions if made.subject == "alerts"] == [
        f"low_hit_rate.threshold: {alarm}"
    ]
    own = {
        "alerts": {"low_hit_rate": {"enabled": True, "threshold": 0.9}},
        "metrics": {"performance": {"hit_rate": 0.95}},
    }
    asked = designed(trace, {**wanted, **own})
    assert asked.spec.alerts.low_hit_rate.threshold == 0.9
    assert asked.spec.metrics.performance.hit_rate == 0.95
    assert not [made for made in asked.decisions if made.subject == "alerts"]
