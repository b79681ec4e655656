"""What a specification says of soft ends, failures and absences is what is executed."""

import pytest

from cachewright.errors import SpecError
from cachewright.runtime.specified import specified
from cachewright.spec.document import dumps_spec, loads_spec
from cachewright.spec.executed import unexecuted
from cachewright.spec.target import compile_plan

TEXT = """\
caching_specification:
  cache_targets:
  - endpoint: GET /tasks
    cache_key_pattern: tasks
    strategy: {ttl: {soft_duration_seconds: 100, stale_if_error_seconds: 30, negative_duration_seconds: 5}}
  - database_query: SELECT 1
    name: one
    cache_key_pattern: one
    strategy: {retries: 3}
  cache_strategy:
    ttl: {duration_seconds: 300, early_refresh: 1.5, jitter: 0.2}
"""


def policy_of(text):
    return compile_plan(loads_spec(text)).targets["GET", "/tasks"].policy


def test_endpoints_are_executed_as_they_say():
    policy = policy_of(TEXT)
    assert (policy.ttl, policy.soft_ttl, policy.early, policy.jitter) == (300, 100, 1.5, 0.2)
    assert (policy.stale_if_error, policy.negative_ttl) == (30, 5)
    assert policy.statuses == {200, 404, 410}


def test_queries_are_executed_as_they_say():
    options = specified(loads_spec(TEXT))["one"].options
    assert (options.early, options.jitter, options.retries) == (1.5, 0.2, 3)
    assert (options.soft_ttl, options.stale_if_error, options.negative_ttl) == (None, 0, None)


@pytest.mark.requirement("C8")
def test_an_answer_is_never_staler_than_it_may_be():
    assert (
        policy_of(TEXT.replace("GET /tasks\n", "GET /tasks\n    max_staleness_seconds: 310\n")).stale_if_error
        == 10
    )
    assert (
        policy_of(TEXT.replace("GET /tasks\n", "GET /tasks\n    max_staleness_seconds: 200\n")).stale_if_error
        == 0
    )


def test_what_is_said_is_written_and_read_again_and_only_then():
    spec = loads_spec(TEXT).spec
    assert loads_spec(dumps_spec(spec)).spec == spec
    assert "soft_duration_seconds" not in dumps_spec(loads_spec("caching_specification: {}").spec)


def test_nothing_of_it_is_without_effect_but_repeating_requests():
    said = [".".join(map(str, path)) for path, _ in unexecuted(loads_spec(TEXT).spec)]
    assert not [path for path in said if "ttl" in path]


@pytest.mark.parametrize(
    ("ttl", "words"),
    [
        ("{duration_seconds: 60, soft_duration_seconds: 60}", "not less than the 60 s"),
        (
            "{duration_seconds: 60, max_duration_seconds: 90, sliding_window: true, stale_if_error_seconds: 9}",
            "does not go together with sliding_window",
        ),
        ("{jitter: 20}", "a share is written from 0 to 1"),
        ("{early_refresh: -1}", "greater than or equal to 0"),
    ],
)
def test_what_can_never_happen_is_refused(ttl, words):
    with pytest.raises(SpecError, match=words):
        loads_spec(f"caching_specification:\n  cache_strategy:\n    ttl: {ttl}\n")
