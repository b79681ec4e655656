"""Key patterns: readable, and never the same for two routes."""

import pytest

from cachewright.design.patterns import field_name, meet, unwritable


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("api:tasks:{task_id}", "api:tasks:stats", True),
        ("api:tasks:task_id={task_id}", "api:tasks:stats", False),
        ("user:{user_id}:tasks", "user:{path.user_id}:tasks", True),
        ("tasks:page={page}", "tasks:status={status}", False),
        ("tasks:page={page}", "tasks:page={page}:size={size}", False),
        ("v1:tasks", "v2:tasks", False),
        ("files:a-{x}", "files:b-{y}", False),
    ],
)
def test_patterns_that_may_give_one_text_are_found(first, second, expected):
    assert meet(first, second) is expected
    assert meet(second, first) is expected


@pytest.mark.parametrize(
    ("name", "template", "short"),
    [
        ("path.task_id", "/tasks/{task_id}", "task_id"),
        ("path.user_id", "/users/{user_id}", "path.user_id"),
        ("query.page", "/tasks", "page"),
        ("query.id", "/tasks/{id}", "query.id"),
        ("query.user_id", "/tasks", "query.user_id"),
        ("header.accept-language", "/tasks", "header.accept-language"),
    ],
)
def test_fields_are_as_short_as_they_stay_clear(name, template, short):
    assert field_name(name, template) == short


def test_names_that_no_pattern_can_hold_are_found():
    assert unwritable(["query.page", "query.a:b", "query.filter[x]"]) == ("query.a:b",)
