"""What a written design says of figures, kinds of data and the documents beside the API."""

import ast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.design.test_written import BY_TENANT, BY_USER, asked, codes, designed, reasons, target

from cachewright.checks import check
from cachewright.design.interfaces import RESOURCE_KEY, interfaces
from cachewright.design.rationale import rationale
from cachewright.request.backend import Backend, Endpoint, Table
from cachewright.request.documents import understood
from cachewright.runtime.api import Cache
from cachewright.spec.document import dumps_spec, loads_spec
from cachewright.spec.keys import KeyTemplate

LIST = "GET /api/tasks"


def category(design):
    return [each.choice.removeprefix("category: ") for each in reasons(design, "category")]


@pytest.mark.requirement("#16", "#42")
def test_a_query_is_slow_over_a_hundred_milliseconds_and_not_at_a_hundred():
    assert category(designed(asked(endpoint=LIST, avg_query_time_ms=100))) == []
    assert category(designed(asked(endpoint=LIST, avg_query_time_ms=100.1))) == ["slow"]


@pytest.mark.requirement("#43", "#46")
@settings(max_examples=20, deadline=None)
@given(st.floats(1, 1e5), st.floats(1, 100))
def test_more_requests_never_make_an_endpoint_less_frequent(rate, more):
    frequencies = [f"{each:.3f}/min" for each in (rate, rate * more)]
    first, second = (category(designed(asked(endpoint=LIST, query_frequency=each))) for each in frequencies)
    assert set(first) <= set(second)
    assert (first == ["frequent"]) == (round(rate, 3) >= 60)


@pytest.mark.requirement("#44", "C44")
def test_executions_count_within_the_window_that_is_said_or_a_day():
    query = {"database_query": "SELECT title FROM tasks", "avg_query_time_ms": 80, "execution_count": 86_400}
    (value,) = reasons(found := designed(asked(**query)), "value")
    assert value.reason.startswith("60 requests a minute")
    assert any("within one day" in each for each in found.assumptions)
    (value,) = reasons(found := designed(asked(**query, window_seconds=43_200)), "value")
    assert value.reason.startswith("120 requests a minute")
    assert not any("within one day" in each for each in found.assumptions)


@pytest.mark.requirement("#45", "#47", "#48", "#49", "#72")
def test_loads_are_told_apart_by_what_they_do():
    sql = "SELECT user_id, count(*) FROM tasks JOIN users ON users.id = tasks.user_id GROUP BY user_id"
    found = designed(asked(database_query=sql))
    assert category(found) == ["complex"]
    assert target(found).cache_type == "database_query_cache"
    assert category(designed(asked(database_query="SELECT title FROM tasks WHERE note = 'JOIN'"))) == []
    assert category(designed(asked(computed_data="totals", computation_cost_ms=900))) == ["slow, expensive"]
    often = {"endpoint": LIST, "query_frequency": "20/min"}
    assert category(designed(asked(**often, write_frequency="2/min"))) == ["read-heavy"]
    assert category(designed(asked(**often, write_frequency="3/min"))) == []


@pytest.mark.requirement("#45", "#47")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT t.title FROM tasks t JOIN users u ON u.id = t.user_id",
        "SELECT title FROM tasks WHERE user_id IN (SELECT id FROM users)",
        "SELECT max(id) FROM tasks",
        "SELECT DISTINCT title FROM tasks",
        "SELECT title, row_number() OVER (ORDER BY id) FROM tasks",
    ],
)
def test_what_costs_a_database_more_than_a_look_is_complex(sql):
    assert category(designed(asked(database_query=sql))) == ["complex"]


@pytest.mark.requirement("#92", "#401")
def test_what_is_written_more_often_than_read_is_designed_only_by_name_and_with_the_reason():
    found = designed({**BY_USER, **asked(endpoint=LIST, query_frequency="1/min", write_frequency="5/min")})
    assert any("written 5 times a minute and read 1 times" in each for each in found.warnings)


@pytest.mark.requirement("#110", "#111", "#407")
def test_rows_and_whole_tables_are_weighed_with_figures():
    figures = {"query_frequency": "1/s", "write_frequency": "1/min", "distinct_keys": 10}
    query = {"database_query": "SELECT title FROM tasks WHERE user_id = ?", **figures}
    (rows,) = reasons(designed(asked(**query)), "granularity")
    assert rows.choice == "granularity: rows"
    assert "each about every 600 s, 98%" in rows.reason
    assert "about each 60 s, 86% hits" in rows.reason
    (whole,) = reasons(designed({**BY_USER, **asked(endpoint=LIST, **figures)}), "granularity")
    assert whole.choice == "granularity: whole tables"


@pytest.mark.requirement("#81", "#82", "#83", "#84", "C1")
@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({"database_query": "SELECT title FROM tasks"}, "query"),
        ({"computed_data": "totals"}, "application"),
        ({"computed_data": "who is here", "data_kind": "session"}, "session"),
        ({"endpoint": "GET /static/logo.png", "scope": "public", "cache_type": "cdn"}, "cdn"),
        ({"endpoint": LIST, "role": "query"}, "query"),
    ],
)
def test_the_function_of_a_target_stands_beside_its_levels(fields, role):
    assert target(designed(asked(**fields))).role == role


@pytest.mark.requirement("#152", "#153", "#339", "#417", "#419", "#426")
@pytest.mark.parametrize(
    ("fields", "levels"),
    [
        ({"endpoint": LIST, "data_kind": "hot"}, ("l1", "l2")),
        ({"endpoint": "GET /api/tasks/{id}"}, ("l1", "l2")),
        ({"endpoint": "GET /api/datasets"}, ("l3",)),
        ({"endpoint": "GET /api/{log_id}/tasks"}, ("l1", "l2")),
        ({"endpoint": LIST, "cache_type": "in_memory"}, ("l1",)),
    ],
)
def test_the_larger_the_data_the_slower_its_level(fields, levels):
    assert target(designed(asked(**fields))).levels == levels


@pytest.mark.requirement("#416", "C39")
@pytest.mark.parametrize("path", ["/api/auth/token", "/api/session", "/api/users/{id}/api-keys"])
def test_tokens_and_sessions_are_never_kept(path):
    assert codes(designed({**BY_USER, **asked(endpoint=f"GET {path}")})) == {f"GET {path}": "sensitive"}


@pytest.mark.requirement("#34", "#56", "#61", "#63", "#64", "C24")
def test_the_requests_own_patterns_become_keys():
    def pattern(inputs, **fields):
        return target(designed({**inputs, **asked(**fields)})).cache_key_pattern

    one = {"endpoint": "GET /tasks/{id}", "resource_type": "task"}
    given = "resource:{resource_type}:{id}"
    assert pattern(BY_USER, **one, cache_key_pattern=given) == "user:{user_id}:resource:task:{id}"
    assert pattern(BY_USER, **one) == "user:{user_id}:task:{id}"
    assert pattern(BY_TENANT, endpoint="GET /tasks", scope="tenant") == "tenant:{tenant_id}:tasks"
    stats = {"endpoint": "GET /stats", "parameters": ["date_range"]}
    assert pattern(BY_USER, **stats, cache_key_pattern="stats:{date_range}:user:{user_id}") == (
        "stats:{date_range}:user:{user_id}"
    )
    query = {"cache_key_pattern": "query:{hash}:{params}", "scope": "public"}
    first = pattern({}, database_query="SELECT title FROM tasks WHERE status = :status", **query)
    again = pattern({}, database_query="select  title\nfrom tasks where status=:status", **query)
    assert first == again
    assert first.startswith("query:")
    assert first.endswith(":status={status}")
    assert pattern({}, database_query="SELECT id FROM tasks WHERE status = :status", **query) != first


@pytest.mark.requirement("#15", "#169", "#171", "#176", "C36", "C37")
def test_facts_of_a_cluster_are_taken_over_and_explained():
    cluster = {"enabled": True, "slots": 16384, "replicas": ["10.0.0.4:6379"]}
    found = designed(
        {**asked(endpoint=LIST), "configuration": {"redis": {"host": "proxy", "cluster": cluster}}}
    )
    redis = found.spec.configuration.redis
    assert (redis.host, redis.cluster.enabled, redis.cluster.replicas) == ("proxy", True, ("10.0.0.4:6379",))
    assert redis.replica_reads is None, "replicas are not read unless that is asked for, with a bound"
    (note,) = [each for each in found.decisions if each.subject == "configuration.redis.cluster"]
    assert "16384 hash slots" in note.choice
    assert not any(
        each.subject == "configuration.redis.cluster" for each in designed(asked(endpoint=LIST)).decisions
    )


@pytest.mark.requirement("C29", "C48", "C57")
def test_operations_actions_and_versions_have_their_words():
    found = designed(asked(database_query="SELECT title FROM tasks"))
    rules, triggers = found.spec.invalidation.rules, found.spec.invalidation.triggers
    assert [rule.operation for rule in rules] == ["create", "update", "delete", "bulk_update"]
    assert [trigger.action for trigger in triggers] == ["insert", "update", "delete"]
    assert rules[-1].invalidate_patterns == ("tasks#bulk",)
    assert (found.spec.meta.version, found.spec.generator) == ("1.0.0", "cachewright design")
    assert found.spec.meta.sources == ("request request.yaml",)


@pytest.mark.requirement("#348", "#349")
def test_no_query_and_no_code_is_in_a_design_that_was_not_in_the_request():
    query = "SELECT title FROM tasks WHERE user_id = ?"
    text = dumps_spec(designed(asked(database_query=query)).spec).replace(query, "")
    for word in ("SELECT", "INSERT", "import ", "def ", "lambda", "await "):
        assert word not in text


@pytest.mark.requirement("#377")
def test_the_reasons_can_be_read_by_who_plans():
    page = rationale(
        designed({**BY_USER, **asked(endpoint=LIST, avg_query_time_ms=180, query_frequency="2/s")})
    )
    for part in ("# Why ", "## Cached", f"### {LIST}", "`levels: l1, l2`", "`scope: user`", "## Assumptions"):
        assert part in page


LOGIC = """\
task_result:
  operation: query
  filters: {status: pending, due: overdue}
  sort: due_date
  tasks:
    - {id: 1, is_overdue: true, days_until_due: -1}
"""


@pytest.mark.requirement("#372")
def test_how_tasks_are_read_is_asked_back():
    logic = understood(LOGIC, "logic.yaml", "logic_spec")
    found = designed({**BY_USER, **asked(endpoint=LIST, parameters=["status"])}, logic)
    (filters, moving) = [each for each in found.clarifications_needed if "logic.yaml" in each]
    assert "reads by due, sort." in filters
    assert "is_overdue, days_until_due, which change with the clock" in moving


def test_answers_with_members_that_move_are_not_kept_unless_they_may_be_stale():
    task = {"type": "object", "properties": {"id": {"type": "integer"}, "isOverdue": {"type": "boolean"}}}
    answer = {"200": {"content": {"application/json": {"schema": {"type": "array", "items": task}}}}}
    api = {"openapi": "3.1.0", "paths": {"/api/tasks": {"get": {"responses": answer}}}}
    backend = understood(yaml.safe_dump(api), "openapi.yaml", "backend_spec")
    refused = designed({**BY_USER, **asked(endpoint=LIST)}, backend)
    assert codes(refused) == {LIST: "time_dependent"}
    assert "isOverdue" in refused.not_cached[0].reason
    allowed = designed({**BY_USER, **asked(endpoint=LIST, max_staleness_seconds=60)}, backend)
    assert target(allowed).max_staleness_seconds == 60


@pytest.mark.requirement("#373")
def test_lists_are_loaded_before_users_are_reminded():
    jobs = {
        "reminder_jobs": [{"timing": {"type": "daily", "scheduled_time": at}} for at in ("18:30", "09:00")]
    }
    text = yaml.safe_dump({"backend_notification_specification": jobs})
    reminders = understood(text, "jobs.yaml", "notification_spec")
    found = designed({**asked(endpoint=LIST, scope="public", depends_on=["tasks"])}, reminders)
    scheduled = found.spec.cache_warming.scheduled
    assert (scheduled.schedule, scheduled.execution_window) == ("50 8 * * *", "08:50-09:10 UTC")
    assert [(query.name, query.params) for query in scheduled.queries] == [(LIST, {})]
    own = designed({**BY_USER, **asked(endpoint=LIST, depends_on=["tasks"])}, reminders)
    assert own.spec.cache_warming.scheduled.queries[0].params == {"top_users": 100}
    assert found.spec.cache_warming.enabled
    (reason,) = [each for each in found.decisions if each.subject == "cache_warming"]
    assert "jobs.yaml reminds at 09:00" in reason.reason
    doubts = [each for each in check(loads_spec(dumps_spec(found.spec))) if each.severity != "info"]
    assert doubts == []


@pytest.mark.requirement("C12", "#323", "#324", "#347", "C33", "C34")
def test_interfaces_are_text_without_a_body():
    queries = [{"endpoint": LIST, "parameters": ["class", "page"]}, {"endpoint": "GET /api/tasks/"}]
    tree = ast.parse(interfaces(designed({**BY_USER, "cache_targets": queries}).spec))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        *documented, last = function.body
        assert isinstance(last, ast.Expr)
        assert last.value.value is ...
        assert all(isinstance(each.value.value, str) for each in documented)
    names = [function.name for function in functions]
    assert len(set(names)) == len(names)
    assert {"cached", "generate_cache_key", "key_of_get_api_tasks"} <= set(names)
    service = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    assert all(hasattr(Cache, method.name) for method in service.body if not isinstance(method, ast.Expr))
    (default,) = next(each for each in functions if each.name == "cached").args.defaults
    assert default.value == 300


@pytest.mark.requirement("#313", "C55")
@pytest.mark.parametrize("words", [("invalidate",), ("invalidate_pattern", "invalidate_all")])
def test_methods_of_layers_are_those_of_the_cache_in_either_words(words):
    spec = designed(asked(endpoint=LIST)).spec
    designed_methods = {method for layer in spec.implementation.cache_layer for method in layer.methods}
    assert designed_methods == {"get", "set", "delete", "invalidate"}
    layer = {"name": "RedisCache", "methods": ["get", "set", "delete", *words]}
    text = yaml.safe_dump({"caching_specification": {"implementation": {"cache_layer": [layer]}}})
    (kept,) = loads_spec(text).spec.implementation.cache_layer
    assert all(callable(getattr(Cache, method)) for method in {*designed_methods, *kept.methods})


@pytest.mark.requirement("#323", "C33")
def test_the_key_of_a_resource_is_the_golden_string_and_cannot_be_forged():
    key = KeyTemplate.parse(RESOURCE_KEY)

    def rendered(user, resource):
        return key.render({"resource_type": "task", "user_id": user, "resource_id": resource})

    assert rendered("1", "2") == "resource:task:user:1:id:2"
    assert rendered("1:id:2", "3") != rendered("1", "2:id:3")


def test_tables_of_documents_bound_what_an_endpoint_may_read():
    many = Backend(
        (Endpoint("GET", "/api/summary"),), tuple(Table(f"t{n}") for n in range(13)), sources=("s.md",)
    )
    found = designed(BY_USER, many)
    assert target(found).depends_on == ("summary",)
