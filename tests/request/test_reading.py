"""Requests as files: the calling convention word for word, and errors that say what is allowed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright.errors import RequestError
from cachewright.request.model import ttl_of
from cachewright.request.reading import loads_request

CONVENTION = """\
skill: "backend-caching"
inputs:
  backend_spec: "specs/api/rest-endpoints.md"
  performance_spec: "specs/performance/cache-targets.md"
  cache_targets:
    - endpoint: GET /api/tasks
      avg_query_time_ms: 180
      query_frequency: 100 req/min
    - database_query: SELECT * FROM tasks WHERE user_id = ?
      complexity: low
    - computed_data: daily statistics
      computation_cost_ms: 900

  cache_strategy:
    pattern: cache_through
    ttl_duration_seconds: 300
    max_items: 10000
    eviction_policy: LFU
    compression_enabled: true

  multi_tenant:
    enabled: true
    on_tenant_delete: delete_keys

  output_format: "caching_specification"
"""


def error_of(text):
    with pytest.raises(RequestError) as caught:
        loads_request(text, "request.yaml")
    assert caught.value.path == "request.yaml"
    return caught.value


def _target(body):
    return f"inputs:\n  cache_targets:\n  - endpoint: GET /a\n    {body}\n"


@pytest.mark.requirement("#381", "#382", "#385", "#386", "#387", "#388", "#393", "#395")
def test_the_calling_convention_is_read_word_for_word():
    inputs = loads_request(CONVENTION).inputs
    assert [target.kind for target in inputs.cache_targets] == ["endpoint", "database_query", "computed_data"]
    assert inputs.backend_spec == "specs/api/rest-endpoints.md"
    endpoint, query, computed = inputs.cache_targets
    assert (endpoint.avg_query_time_ms, endpoint.query_frequency) == (180, "100 req/min")
    assert (query.complexity, computed.computation_cost_ms) == ("low", 900)
    assert inputs.cache_strategy.pattern == "cache_through"
    assert inputs.multi_tenant.enabled is True


@pytest.mark.requirement("#31", "#391")
def test_words_in_capitals_are_read_and_noted():
    document = loads_request(CONVENTION)
    assert document.inputs.cache_strategy.eviction_policy.type == "lfu"
    assert document.normalised == (
        "line 18: inputs.cache_strategy.eviction_policy.type is 'LFU'; read as lfu",
    )


@pytest.mark.requirement("#389", "#394", "C21", "C58")
def test_short_names_and_those_of_a_specification_are_the_same_fact():
    inputs = loads_request(CONVENTION).inputs
    assert ttl_of(inputs.cache_strategy).duration_seconds == 300
    assert inputs.multi_tenant.on_tenant_delete.action == "delete_keys"
    long = "inputs:\n  cache_strategy: {ttl: {duration_seconds: 60}}\n  multi_tenant: {on_tenant_delete: {action: delete_keys}}\n"
    assert ttl_of(loads_request(long).inputs.cache_strategy).duration_seconds == 60
    error = error_of("inputs:\n  cache_strategy: {ttl_duration_seconds: 5, ttl: {duration_seconds: 6}}\n")
    assert "ttl_duration_seconds is 5, but ttl.duration_seconds is 6" in error.detail


@pytest.mark.requirement("#381")
def test_a_request_to_somebody_else_is_refused():
    error = error_of("skill: frontend-ui\ninputs: {}\n")
    assert (error.line, error.column) == (1, 1)
    assert "skill is 'frontend-ui'; allowed: backend-caching" in error.detail


@pytest.mark.requirement("#395")
@pytest.mark.parametrize("text", ["output_format: python\ninputs: {}\n", "inputs:\n  output_format: code\n"])
def test_another_output_is_refused_and_the_runtime_named(text):
    error = error_of(text)
    assert "allowed: caching_specification" in error.detail
    assert "cachewright serve" in error.hint


@pytest.mark.requirement("#25", "#189", "C44")
@pytest.mark.parametrize(
    "words", ["100 req/min", "5/s", "2 qps", "1.5k/min", "100 requests per minute", "3/hour"]
)
def test_frequencies_are_read_in_any_unit(words):
    assert (
        loads_request(_target(f"query_frequency: {words}")).inputs.cache_targets[0].query_frequency == words
    )


@pytest.mark.requirement("#25")
@pytest.mark.parametrize("words", ["often", "100", "-5/s", "5 per fortnight", "''"])
def test_a_frequency_that_is_none_is_refused_with_an_example(words):
    error = error_of(_target(f"query_frequency: {words}"))
    assert error.line == 4
    assert "100 req/min" in str(error) or "text" in str(error)


@pytest.mark.requirement("#26", "#190")
@pytest.mark.parametrize("value", ["-1", "fast", ".nan", "true"])
def test_a_time_that_is_none_is_refused(value):
    error = error_of(_target(f"avg_query_time_ms: {value}"))
    assert error.line == 4
    assert "avg_query_time_ms" in error.detail


@pytest.mark.requirement("#23", "#185")
def test_a_target_without_a_subject_is_refused_with_an_example():
    error = error_of("inputs:\n  cache_targets:\n  - avg_query_time_ms: 3\n")
    assert "exactly one of endpoint, database_query, computed_data" in error.detail
    assert "endpoint: GET /api/tasks" in error.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("inputs:\n  cache_target: []\n", "did you mean `cache_targets`?"),
        ("inputs:\n  cache_strategy: {ttl_duration_second: 3}\n", "did you mean `ttl_duration_seconds`?"),
        (_target("query_frequencey: 5/s"), "did you mean `query_frequency`?"),
        ("skil: backend-caching\ninputs: {}\n", "did you mean `skill`?"),
        ("input: {}\n", "did you mean `inputs`?"),
        ("cache_targets: []\n", "write `inputs:` as the first line"),
        ("caching_specification: {}\n", "this is a specification, not a request"),
        ("openapi: 3.0.0\npaths: {}\n", "inputs.backend_spec"),
        ("", "a request begins with"),
    ],
)
def test_errors_say_what_was_meant(text, hint):
    assert hint in (error_of(text).hint or "")


@pytest.mark.requirement("#364", "#346", "#347", "#350", "#352", "#353", "#355")
@pytest.mark.parametrize(
    "task",
    [
        "Implement Redis connection: redis.Redis(host='localhost', port=6379)",
        "Implement cache decorator: @cached(ttl_seconds=300)",
        "Implement cache service: class RedisCacheService",
        "Write database query: session.query(Task).filter_by(user_id=user_id).all()",
        "Implement actual cache warming task",
        "Configure Redis cluster settings",
        "Generate Python/TypeScript code for cache operations",
        "Create cache monitoring dashboard",
        "Modify database queries to add caching",
        "Write actual Redis commands: SET key value EX 300",
    ],
)
def test_what_a_design_is_not_is_refused_with_a_pointer_to_the_runtime(task):
    error = error_of(f'inputs:\n  task: "{task}"\n')
    assert "which a design is not" in error.detail
    assert "cachewright serve" in error.hint
    assert error.line == 2


def test_what_a_design_is_may_be_asked_for_in_words():
    task = "Analyse slow queries, design keys and TTL, invalidate on update, warm the top 100 users, alert on low hit rate"
    assert loads_request(f'inputs:\n  task: "{task}"\n').inputs.task == task


def test_sections_of_a_specification_are_read_in_the_requests_mixed_shapes():
    text = """\
inputs:
  cache_warming:
    enabled: true
    - on_startup:
      queries: [{name: hot}]
    - predictive:
      - user_based: true
      behavior_pattern: mornings
  alerts:
    - low_hit_rate:
      threshold: 0.4
"""
    document = loads_request(text)
    assert document.inputs.cache_warming.on_startup.queries[0].name == "hot"
    assert document.inputs.cache_warming.predictive.behavior_pattern == "mornings"
    assert document.inputs.alerts.low_hit_rate.threshold == 0.4
    assert len(document.normalised) == 3


_LINES = CONVENTION.splitlines(keepends=True)
_TWISTS = st.sampled_from(
    [
        "\t",
        "- ",
        ": ",
        "{",
        "]",
        "&a ",
        "*a",
        "!!int ",
        "|",
        "\ufeff",
        "\x00",
        "'",
        "0x",
        "null",
        "é",
        "?",
        "<<: ",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mutilated_request_gives_a_request_or_an_error_with_a_place(data):
    lines = list(_LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "twice", "swap", "twist", "cut"])):
            case "drop":
                lines[at] = ""
            case "twice":
                lines[at] *= 2
            case "swap":
                other = data.draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case "twist":
                place = data.draw(st.integers(0, max(0, len(lines[at]) - 1)))
                lines[at] = lines[at][:place] + data.draw(_TWISTS) + lines[at][place:]
            case "cut":
                lines[at] = lines[at][: len(lines[at]) // 2] + "\n"
    error = None
    try:
        loads_request("".join(lines), "request.yaml")
    except RequestError as caught:
        error = caught
    assert error is None or (error.path == "request.yaml" and error.line is not None)
