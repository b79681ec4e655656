"""A design that is asked for it says what clients ask for next; what it says can be executed."""

import pytest
from tests.analysis.test_transitions import Traffic

from cachewright.checks.rules import check
from cachewright.design.ahead import with_warming_ahead
from cachewright.design.result import Design
from cachewright.runtime.warming.following import Followings
from cachewright.spec.document import Document, dumps_spec, loads_spec
from cachewright.spec.model import CachingSpecification
from cachewright.spec.target import compile_plan

TASK = {
    "endpoint": "GET /tasks/{id}",
    "scope": "user",
    "cache_key_pattern": "user:{user_id}:tasks:id={id}",
    "depends_on": ["tasks"],
}
NEWS = {"endpoint": "GET /news", "scope": "public", "cache_key_pattern": "news", "depends_on": ["news"]}


def traffic():
    made = Traffic()
    for number in range(30):
        made.client((made.done, {"path.id": number}), (made.task, {"path.id": number}), (made.news, {}))
    return made.build.build()


def designed(*targets):
    body = {"identity": {"user": "claim:sub"}, "namespace": "n", "cache_targets": list(targets)}
    found = with_warming_ahead(Design(CachingSpecification.model_validate(body)), traffic())
    return found, loads_spec(dumps_spec(found.spec))


@pytest.mark.requirement("#119", "#122", "#250")
def test_what_follows_is_in_the_specification_and_is_executed_as_it_stands_there():
    found, document = designed(TASK, NEWS)
    warming = document.spec.cache_warming
    assert (warming.enabled, warming.ahead.refill, warming.predictive.user_based) == (True, True, True)
    followings = Followings(warming, compile_plan(document))
    after = list(followings.after("POST", "/tasks/{id}/done", {"path.id": "7"}, 0.0))
    assert [(target.name, given) for target, given in after] == [
        ("GET /news", {}),
        ("GET /tasks/{id}", {"id": "7"}),
    ]
    assert [finding for finding in check(document) if finding.code == "CW030"] == []
    assert "100% of 30 cases" in found.decisions[0].reason
    assert any("headers of the request before" in text for text in found.assumptions)


def test_where_all_that_follows_is_for_everybody_no_credential_is_used():
    found, document = designed(NEWS)
    assert document.spec.cache_warming.predictive.user_based is False
    assert found.assumptions == ()


@pytest.mark.requirement("#119")
def test_the_same_evidence_gives_the_same_text():
    assert designed(TASK, NEWS)[0] == designed(TASK, NEWS)[0]
    assert isinstance(designed(NEWS)[1], Document)
