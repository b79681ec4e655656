"""What is likely to be asked for next: with the values of the request before, at its hours, where it is allowed."""

import json
from datetime import UTC, datetime

import pytest

from cachewright.runtime.warming.following import Followings
from cachewright.spec.document import loads_spec
from cachewright.spec.target import compile_plan

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()
TASK = {
    "endpoint": "GET /tasks/{id}",
    "name": "task",
    "scope": "public",
    "cache_key_pattern": "tasks:id={id}",
    "depends_on": ["tasks"],
}
LIST = {
    "endpoint": "GET /tasks",
    "name": "list",
    "scope": "user",
    "cache_key_pattern": "user:{user_id}:tasks:page={page}",
    "depends_on": ["tasks"],
}


def followings(*transitions, **more):
    predictive = {"user_based": True, "transitions": list(transitions), **more.pop("predictive", {})}
    body = {
        "namespace": "n",
        "identity": {"user": "claim:sub"},
        "cache_targets": [TASK, LIST],
        "cache_warming": {"enabled": True, "predictive": predictive, **more},
    }
    document = loads_spec(json.dumps({"caching_specification": body}))
    return Followings(document.spec.cache_warming, compile_plan(document))


def after(found, endpoint, values=(), now=NOON):
    method, _, path = endpoint.partition(" ")
    return [(target.name, given) for target, given in found.after(method, path, dict(values), now)]


TO_TASK = {"after": "POST /tasks/{id}/done", "load": "task", "params": {"id": "{id}"}}
TO_LIST = {"after": "POST /tasks", "load": "GET /tasks", "params": {"page": 1}}


def test_values_of_the_request_before_are_those_of_the_next():
    found = followings(TO_TASK, TO_LIST)
    assert after(found, "POST /tasks/{id}/done", {"path.id": "7"}) == [("task", {"id": "7"})]
    assert after(found, "POST /tasks") == [("list", {"page": 1})]
    assert after(found, "GET /tasks") == []
    assert found.targets == {"task", "list"}


def test_without_a_value_nothing_is_guessed():
    assert after(followings(TO_TASK), "POST /tasks/{id}/done") == []


@pytest.mark.parametrize(("hours", "expected"), [([12], 1), ([11, 13], 0), ([], 1)])
def test_it_holds_at_its_hours_of_the_day(hours, expected):
    assert len(after(followings({**TO_LIST, "hours": hours}), "POST /tasks")) == expected


def test_what_is_somebodys_own_is_predicted_only_where_that_is_asked_for():
    found = followings(TO_TASK, TO_LIST, predictive={"user_based": False})
    assert found.targets == {"task"}


@pytest.mark.requirement("#122", "#250", "#252")
def test_the_specification_says_what_may_be_predicted():
    assert followings(TO_TASK, TO_LIST, predictive={"cache_keys": ["tasks:id={id}"]}).targets == {"task"}
    strategies = [{"type": "predictive", "warmup_queries": ["list"]}]
    assert followings(TO_TASK, TO_LIST, strategies=strategies).targets == {"list"}
    assert not followings(TO_TASK, TO_LIST, enabled=False).targets
