"""Designs of written requests: the request's own examples, scopes that cannot leak, vetoes, what is only assumed."""

from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright.checks import check
from cachewright.design.written.planner import design_written
from cachewright.errors import RequestError
from cachewright.request.backend import Backend, Endpoint, Parameter, Prohibition, Table, TimeLimit
from cachewright.request.reading import loads_request
from cachewright.request.structured import from_content
from cachewright.spec.document import dumps_spec, loads_spec
from cachewright.spec.keys import KeyTemplate

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TABLES = (
    Table("users", ("id", "email", "hashed_password"), ("id",)),
    Table("tasks", ("id", "user_id", "title", "due_date"), ("id",)),
)


def designed(inputs, backend=Backend()):
    text = yaml.safe_dump({"skill": "backend-caching", "inputs": inputs}, sort_keys=False)
    return design_written(loads_request(text, "request.yaml"), backend, now=NOW)


def target(design, at=0):
    return design.spec.cache_targets[at]


def asked(**fields):
    return {"cache_targets": [fields]}


def reasons(design, choice):
    return [decision for decision in design.decisions if decision.choice.startswith(choice)]


def codes(design):
    return {no.endpoint: no.code for no in design.not_cached}


@pytest.mark.requirement("#356", "#6", "#50", "#336")
def test_a_slow_query_that_is_often_asked_gets_a_design_and_its_worth():
    query = "SELECT * FROM todos WHERE user_id = ?"
    found = designed(asked(database_query=query, avg_query_time_ms=500, query_frequency="100 req/min"))
    assert target(found).cache_key_pattern == "user:{user_id}:todos"
    assert target(found).depends_on == ("todos(user_id={user_id})",)
    (value,) = reasons(found, "value")
    assert "0.83 seconds of work in every second" in value.reason
    assert "slow (more than 100 ms)" in value.reason


@pytest.mark.requirement("#357", "#35", "#57", "#62")
def test_a_pattern_that_is_given_is_kept_and_renders_as_written():
    pattern = "user:{user_id}:tasks:page:{page}:limit:{limit}"
    found = designed(
        {
            "identity": {"user": "claim:sub"},
            "cache_targets": [
                {"endpoint": "GET /api/tasks", "parameters": ["page", "limit"], "cache_key_pattern": pattern}
            ],
        }
    )
    assert target(found).cache_key_pattern == pattern
    key = KeyTemplate.parse(pattern).render({"user_id": "7", "page": "1", "limit": "20"})
    assert key == "user:7:tasks:page:1:limit:20"


@pytest.mark.requirement("#358", "#74", "#340")
def test_a_task_list_and_a_profile_live_five_minutes():
    found = designed(asked(endpoint="GET /api/tasks"))
    assert found.spec.strategy_of(target(found)).ttl.duration_seconds == 300
    profile = designed(asked(endpoint="GET /api/profile"))
    assert profile.spec.strategy_of(target(profile)).ttl.duration_seconds == 300


@pytest.mark.requirement("#359", "C27", "#341", "#112", "#113", "#115")
def test_an_update_of_a_task_ends_the_lists_of_its_user_and_the_task():
    found = designed(
        {
            "identity": {"user": "claim:sub"},
            "cache_targets": [
                {
                    "endpoint": "GET /api/tasks",
                    "cache_key_pattern": "user:{user_id}:tasks:page:{page}:limit:{limit}",
                    "depends_on": ["tasks"],
                },
                {
                    "database_query": "SELECT * FROM tasks WHERE id = :task_id",
                    "cache_key_pattern": "task:{task_id}",
                    "scope": "public",
                },
            ],
        }
    )
    for operation in ("update", "delete"):
        (rule,) = [rule for rule in found.spec.invalidation.rules if rule.operation == operation]
        assert {"user:{user_id}:tasks", "task:{task_id}"} <= set(rule.invalidate_patterns)


@pytest.mark.requirement("#360", "#11", "C72", "C50")
def test_the_lists_of_the_top_users_are_warmed_at_start():
    found = designed(asked(endpoint="GET /api/tasks", warm_top_users=100))
    warming = found.spec.cache_warming
    assert warming.enabled is True
    assert warming.strategies[0].type == "user_specific"
    (query,) = warming.on_startup.queries
    assert (query.name, query.params, query.expected_results) == ("GET /api/tasks", {"top_users": 100}, 100)


@pytest.mark.requirement("#118", "#408")
def test_what_is_critical_is_warmed_at_start_and_nothing_else():
    queries = [{"endpoint": "GET /api/plans", "critical": True}, {"endpoint": "GET /api/notes"}]
    warming = designed({"cache_targets": queries}).spec.cache_warming
    assert (warming.enabled, [query.name for query in warming.on_startup.queries]) == (
        True,
        ["GET /api/plans"],
    )
    assert designed({"cache_targets": queries[1:]}).spec.cache_warming.enabled is False


@pytest.mark.requirement("#361", "#12", "#345")
def test_a_hit_rate_under_one_half_for_five_minutes_raises_an_alarm():
    alert = designed(asked(endpoint="GET /api/tasks")).spec.alerts.low_hit_rate
    assert (alert.enabled, alert.threshold, alert.for_seconds) == (True, 0.5, 300)


@pytest.mark.requirement("#362", "#156", "#14", "#338", "#428", "C25", "C67")
def test_with_tenants_every_key_holds_its_tenant_once():
    found = designed(
        {
            "multi_tenant": {"enabled": True},
            "cache_targets": [
                {"endpoint": "GET /api/tasks"},
                {"endpoint": "GET /api/profile", "cache_key_pattern": "tenant:{tenant_id}:profile"},
                {"database_query": "SELECT * FROM tasks WHERE user_id = ?"},
                {"computed_data": "daily statistics", "cache_key_pattern": "stats:daily:{day}"},
            ],
        }
    )
    for one in found.spec.cache_targets:
        assert one.cache_key_pattern.startswith("tenant:{tenant_id}:")
        assert one.cache_key_pattern.count("{tenant_id}") == 1
    assert found.spec.multi_tenant.enabled is True
    assert any("tenant" in question for question in found.clarifications_needed)


@pytest.mark.requirement("#363", "#344")
def test_the_figures_to_follow_have_their_places():
    written = yaml.safe_load(dumps_spec(designed(asked(endpoint="GET /api/tasks")).spec))
    performance = written["caching_specification"]["metrics"]["performance"]
    assert {"hit_rate", "miss_rate", "avg_response_time_with_cache_ms"} <= performance.keys()


@pytest.mark.requirement("#431", "#432", "#433", "#427", "C24")
@pytest.mark.parametrize(
    ("pattern", "values", "key"),
    [
        ("tenant:{tenant_id}:tasks:page:{page}", {"page": "1"}, "tenant:abc123:tasks:page:1"),
        ("tenant:{tenant_id}:user:{user_id}:profile", {}, "tenant:abc123:user:def456:profile"),
        (
            "tenant:{tenant_id}:stats:daily:{day}",
            {"day": "2024-01-01"},
            "tenant:abc123:stats:daily:2024-01-01",
        ),
    ],
)
def test_keys_of_tenants_are_the_golden_strings(pattern, values, key):
    found = designed(
        {
            "multi_tenant": {"enabled": True},
            "identity": {"tenant": "claim:tid", "user": "claim:sub"},
            "cache_targets": [
                {
                    "endpoint": "GET /api/things",
                    "scope": "user" if "user_id" in pattern else "tenant",
                    "cache_key_pattern": pattern,
                }
            ],
        }
    )
    if "user_id" in pattern:
        assert target(found).cache_key_pattern == pattern
    given = {"tenant_id": "abc123", "user_id": "def456", **values}
    assert KeyTemplate.parse(target(found).cache_key_pattern).render(given) == key


def test_who_asks_is_never_guessed():
    found = designed(asked(endpoint="GET /api/users/{user_id}/tasks"))
    assert target(found).scope == "credential"
    assert target(found).cache_key_pattern == "cred:{cred}:users:{path.user_id}:tasks"
    assert "identity" in found.clarifications_needed[0]


@pytest.mark.requirement("#55", "#68", "#33", "#66")
def test_a_declared_identity_gives_each_user_keys_of_their_own():
    found = designed({"identity": {"user": "claim:sub"}, **asked(endpoint="GET /api/tasks")})
    assert (target(found).scope, target(found).cache_key_pattern) == ("user", "user:{user_id}:tasks")
    assert found.spec.multi_user.enabled is True
    one = designed({"identity": {"user": "claim:sub"}, **asked(endpoint="GET /api/tasks/{id}")})
    keys = one.spec.cache_keys.resource
    assert (keys.includes_user_id, keys.includes_tenant_id) == (True, False)


@pytest.mark.requirement("C26", "#54")
def test_the_key_of_a_single_task_holds_whose_it_is():
    found = designed(asked(endpoint="GET /api/tasks/{task_id}", cache_key_pattern="task:{task_id}"))
    assert target(found).cache_key_pattern == "cred:{cred}:task:{task_id}"


@pytest.mark.requirement("#69")
def test_only_what_is_declared_public_is_public_and_not_what_needs_a_credential():
    assert target(designed(asked(endpoint="GET /api/tasks"))).scope == "credential"
    assert target(designed(asked(endpoint="GET /api/news", scope="public"))).scope == "public"
    secured = Backend(endpoints=(Endpoint("GET", "/api/news", secured=True, source="api.md"),))
    found = designed(asked(endpoint="GET /api/news", scope="public"), secured)
    assert target(found).scope == "credential"
    assert any("declared public, but api.md" in warning for warning in found.warnings)


def test_a_query_without_an_owner_is_kept_apart_by_user_until_it_is_declared_public():
    query = "SELECT * FROM countries"
    assert target(designed(asked(database_query=query))).cache_key_pattern == "user:{user_id}:countries"
    assert target(designed(asked(database_query=query, scope="public"))).cache_key_pattern == "countries"


@pytest.mark.requirement("#24")
def test_every_parameter_stands_in_the_key_or_is_left_out_on_purpose():
    backend = Backend(
        endpoints=(Endpoint("GET", "/tasks", (Parameter("status", "query"), Parameter("trace", "query"))),)
    )
    found = designed(asked(endpoint="GET /tasks", parameters=["page"], ignored_parameters=["trace"]), backend)
    assert target(found).cache_key_pattern == "cred:{cred}:tasks:page={page}:status={status}"
    given = designed(asked(endpoint="GET /tasks", cache_key_pattern="tasks:{page}"), backend)
    assert target(given).cache_key_pattern == "cred:{cred}:tasks:{page}:status={status}:trace={trace}"


@pytest.mark.requirement("#58")
def test_another_order_is_another_key():
    asked_for = asked(endpoint="GET /tasks", parameters=["sort", "direction"], scope="public")
    key = KeyTemplate.parse(target(designed(asked_for)).cache_key_pattern)
    ways = [("title", "asc"), ("title", "desc"), ("due", "asc")]
    keys = {key.render({"sort": field, "direction": way}) for field, way in ways}
    assert len(keys) == 3
    assert all(one.startswith("tasks:") for one in keys)


@pytest.mark.requirement("#65")
def test_no_two_targets_share_a_key():
    found = designed(
        {
            "cache_targets": [
                {"endpoint": f"GET {path}"} for path in ("/a/{id}", "/a/{name}/x", "/a/b", "/v1/a/b")
            ]
        }
    )
    patterns = [one.cache_key_pattern for one in found.spec.cache_targets]
    assert len(set(patterns)) == 4
    assert [f for f in check(loads_spec(dumps_spec(found.spec))) if f.code == "CW005"] == []


@pytest.mark.requirement("#59")
def test_a_pattern_with_two_separators_is_refused_at_its_place():
    with pytest.raises(RequestError) as caught:
        designed(asked(endpoint="GET /a", cache_key_pattern="user:{user_id}/tasks"))
    assert caught.value.line == 5
    assert "both" in caught.value.detail


@pytest.mark.requirement("#29", "C22")
def test_a_lifetime_that_is_asked_for_is_kept_and_doubted_aloud():
    found = designed(asked(endpoint="GET /a", ttl_seconds=120))
    assert found.spec.strategy_of(target(found)).ttl.duration_seconds == 120
    assert any("120 s lies outside" in warning for warning in found.warnings)


@pytest.mark.requirement("C21", "#218", "#389")
def test_a_targets_lifetime_beats_the_collections_which_beats_the_strategys():
    strategy = {"cache_strategy": {"ttl_duration_seconds": 900}}
    keys = {"cache_keys": {"collection": {"ttl": 600}}}

    def life(inputs):
        found = designed(inputs)
        return found.spec.strategy_of(target(found)).ttl.duration_seconds

    assert life({**strategy, **asked(endpoint="GET /a")}) == 900
    assert life({**strategy, **keys, **asked(endpoint="GET /a")}) == 600
    assert life({**strategy, **keys, **asked(endpoint="GET /a", ttl_seconds=60)}) == 60


@pytest.mark.requirement("#73", "#75", "#402", "#76", "#198")
@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"update_frequency": "every 5 seconds"}, 60),
        ({"update_frequency": "hourly"}, 300),
        ({"update_frequency": "weekly"}, 3600),
        ({"write_frequency": "10/min"}, 60),
        ({"write_frequency": "2/day"}, 300),
        ({"volatility": "none"}, None),
    ],
)
def test_data_that_changes_more_often_never_lives_longer(fields, seconds):
    found = designed(asked(computed_data="totals", **fields))
    assert found.spec.strategy_of(target(found)).ttl.duration_seconds == seconds


@pytest.mark.requirement("#198", "C46")
def test_a_frequency_of_change_in_words_is_kept_and_said():
    found = designed(asked(computed_data="totals", update_frequency="when somebody writes"))
    assert target(found).update_frequency == "when somebody writes"
    assert any("kept as it is" in warning for warning in found.warnings)


@pytest.mark.requirement("#418", "#420", "#422", "#423", "#424", "#425", "C1", "#337")
@pytest.mark.parametrize(
    ("path", "levels"),
    [
        ("/api/tasks", ("l1", "l2")),
        ("/api/profile", ("l1", "l2")),
        ("/api/tasks/search", ("l2", "l3")),
        ("/api/stats", ("l2", "l3")),
        ("/api/activity", ("l3",)),
        ("/api/history", ("l3",)),
    ],
)
def test_levels_follow_the_kind_of_data(path, levels):
    assert target(designed(asked(endpoint=f"GET {path}"))).levels == levels


@pytest.mark.requirement("#70", "#415", "C40")
def test_memory_of_one_process_is_doubted_where_there_may_be_several():
    one = asked(endpoint="GET /a", data_kind="session")
    assert target(designed(one)).levels == ("l1",)
    assert any("unknown number of processes" in warning for warning in designed(one).warnings)
    assert not any("processes" in warning for warning in designed({**one, "workers": 1}).warnings)


@pytest.mark.requirement("#39", "#27", "#45", "C45")
def test_complexity_follows_from_the_query_and_contradictions_are_said():
    query = "SELECT p.id, count(*) FROM projects p JOIN tasks t ON t.project_id = p.id WHERE p.user_id = ? GROUP BY p.id"
    found = designed(asked(database_query=query, complexity="low"))
    assert target(found).cache_type == "database_query_cache"
    assert any("it is medium" in warning for warning in found.warnings)
    assert (
        target(designed(asked(database_query="SELECT 'a JOIN b' FROM t WHERE user_id = ?"))).complexity
        == "low"
    )


@pytest.mark.requirement("#52", "#51")
def test_a_forecast_without_traffic_is_the_closed_formula_for_each_key_and_an_assumption():
    found = designed(
        asked(endpoint="GET /a", avg_query_time_ms=100, query_frequency="10/s", distinct_keys=1000)
    )
    assert found.hit_rates == {"GET /a": pytest.approx(3 / 4)}
    assert any("evenly over its 1,000 keys" in text for text in found.assumptions)
    assert designed(asked(endpoint="GET /a", avg_query_time_ms=100, query_frequency="10/s")).hit_rates == {}


@pytest.mark.requirement("#406", "#53")
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"endpoint": "POST /api/tasks"}, "unsafe_method"),
        ({"endpoint": "GET /api/auth/me"}, "sensitive"),
        ({"endpoint": "GET /api/tasks", "cache_key_pattern": "tasks:{password}"}, "sensitive"),
        ({"endpoint": "GET /api/tasks", "parameters": ["api_key"]}, "sensitive"),
        ({"endpoint": "GET /api/tasks/overdue"}, "time_dependent"),
        ({"endpoint": "GET /logo.png", "cache_type": "cdn"}, "not_public"),
        ({"database_query": "UPDATE tasks SET done = 1"}, "unsafe_method"),
        ({"database_query": "SELECT hashed_password FROM users WHERE id = ?"}, "sensitive"),
        ({"database_query": "SELECT * FROM users WHERE id = ?"}, "sensitive"),
        ({"database_query": "SELECT * FROM tasks WHERE due_date < now()"}, "time_dependent"),
        ({"computed_data": "password reset tokens"}, "sensitive"),
    ],
)
def test_no_request_by_name_overrules_safety(fields, code):
    found = designed(asked(**fields), Backend(tables=TABLES))
    assert [no.code for no in found.not_cached] == [code]
    assert found.spec.cache_targets == ()


def test_answers_that_hold_secrets_are_not_kept():
    backend = Backend(endpoints=(Endpoint("GET", "/api/users", secrets=("hashed_password",)),))
    assert codes(designed(asked(endpoint="GET /api/users"), backend)) == {"GET /api/users": "sensitive"}


@pytest.mark.parametrize("name", ["a b", "x:y", "{z}", "all*"])
def test_what_no_key_can_hold_is_not_cached(name):
    assert codes(designed(asked(endpoint="GET /a", parameters=[name]))) == {"GET /a": "unkeyable_reads"}


def test_what_a_document_calls_an_endpoint_and_is_none_is_left_out():
    backend = Backend(endpoints=tuple(Endpoint("GET", path) for path in ("nope", "/a b", "/a?b=1", "/tasks")))
    found = designed({}, backend)
    assert [one.subject for one in found.spec.cache_targets] == ["GET /tasks"]


_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "get",
                    "/a",
                    "/b/{c}",
                    "name",
                    "in",
                    "parameters",
                    "schema",
                    "$ref",
                    "path",
                    "columns",
                    "type",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(
    root=st.sampled_from(["paths", "endpoints", "entities", "api_specification", "database_schema"]),
    content=_ODD,
)
def test_whatever_a_document_holds_there_is_a_design(root, content):
    found = from_content({root: content}, "spec.yaml") or Backend()
    loads_spec(dumps_spec(designed({}, found).spec))


def test_how_stale_an_answer_may_be_lets_the_clock_in():
    found = designed(asked(endpoint="GET /api/tasks/overdue", max_staleness_seconds=60))
    assert target(found).max_staleness_seconds == 60


def test_a_parameter_that_may_mean_a_moment_passes_the_cache_by():
    found = designed(asked(endpoint="GET /api/tasks", parameters=["due", "page"]))
    assert target(found).bypass_when == ("query.due present",)


@pytest.mark.requirement("#401", "C43")
@pytest.mark.parametrize(
    "fields",
    [
        {"avg_query_time_ms": 0.1, "query_frequency": "5/s"},
        {"query_frequency": "1/min", "write_frequency": "5/min"},
        {"query_frequency": "1/min", "distinct_keys": 100_000},
    ],
)
def test_a_doubt_about_what_was_asked_for_by_name_is_a_warning(fields):
    found = designed(asked(endpoint="GET /a", **fields))
    assert len(found.spec.cache_targets) == 1
    assert any("asked for by name" in warning for warning in found.warnings)


@pytest.mark.requirement("#7", "#10", "#370", "#114", "C28")
def test_without_targets_the_reading_endpoints_of_the_documents_are_designed():
    backend = Backend(
        endpoints=(
            Endpoint("GET", "/api/tasks", (Parameter("page", "query"),), secured=True),
            Endpoint("POST", "/api/tasks"),
            Endpoint("GET", "/api/login"),
        ),
        tables=TABLES,
    )
    found = designed({}, backend)
    assert [one.subject for one in found.spec.cache_targets] == ["GET /api/tasks"]
    assert target(found).depends_on == ("tasks", "users")
    assert codes(found) == {"POST /api/tasks": "unsafe_method", "GET /api/login": "sensitive"}
    assert {trigger.table for trigger in found.spec.invalidation.triggers} == {"tasks", "users"}


@pytest.mark.requirement("#396", "C42")
def test_a_request_for_nothing_caches_nothing_and_asks():
    found = designed({})
    assert found.spec.cache_targets == ()
    assert "What is to be cached?" in found.clarifications_needed[0]


@pytest.mark.requirement("C76")
def test_a_project_that_forbids_caching_is_obeyed_and_quoted():
    rule = Prohibition("caching", "No file persistence or caching (under 'Phase I')", "constitution.md:9")
    found = designed(asked(endpoint="GET /a"), Backend(prohibitions=(rule,)))
    assert (found.spec.cache_targets, found.spec.enabled) == ((), False)
    assert "No file persistence or caching" in found.not_cached[0].reason


@pytest.mark.requirement("C76")
def test_a_project_that_forbids_redis_gets_none_and_is_quoted():
    rule = Prohibition("redis", "NO NoSQL databases (MongoDB, Redis, etc.)", "constitution.md:7")
    found = designed(
        {
            "cache_strategy": {"cache_type": "redis"},
            **asked(endpoint="GET /a", cache_type="redis", levels=["l1", "l2"]),
        },
        Backend(prohibitions=(rule,)),
    )
    assert target(found).levels == ("l1",)
    assert (
        "redis"
        not in dumps_spec(found.spec).partition("configuration:")[0].replace("CONSTITUTION", "").lower()
    )
    assert any("NO NoSQL databases" in warning for warning in found.warnings)


@pytest.mark.requirement("#17", "#367")
@pytest.mark.parametrize(("p95", "told"), [(199, False), (201, True)])
def test_a_time_over_the_limit_of_the_performance_specification_is_said(p95, told):
    limit = TimeLimit(200, 95, "API response time: <200ms p95", "specs/performance/api.md:3")
    found = designed(asked(endpoint="GET /a", p95_ms=p95), Backend(limits=(limit,)))
    assert any("<200ms p95" in warning for warning in found.warnings) is told


@pytest.mark.requirement("#19")
def test_the_reason_of_a_request_is_kept_and_changes_no_figure():
    plain, told = (
        designed(asked(endpoint="GET /a")),
        designed({"reason": "users find it slow", **asked(endpoint="GET /a")}),
    )
    assert told.spec.cache_targets == plain.spec.cache_targets
    assert told.decisions[0].reason == "users find it slow"


@pytest.mark.requirement("#9", "#30", "#32", "#340", "#390", "#391", "#392")
def test_another_size_changes_that_field_alone():
    def written(size):
        strategy = {"max_items": size, "eviction_policy": "lfu", "compression_enabled": True}
        return dumps_spec(
            designed({"cache_strategy": strategy, **asked(endpoint="GET /a")}).spec
        ).splitlines()

    changed = [(a, b) for a, b in zip(written(10), written(20), strict=True) if a != b]
    assert [(a.strip(), b.strip()) for a, b in changed] == [("max_items: 10", "max_items: 20")]
    strategy = loads_spec("\n".join(written(10))).spec.cache_strategy
    assert (strategy.eviction_policy.type, strategy.compression.enabled) == ("lfu", True)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"cache_strategy": {"ttl": {"sliding_window": True}}}, "sliding_window needs"),
        (
            {"cache_strategy": {"max_items": 5}, "configuration": {"in_memory": {"max_items": 6}}},
            "said twice, differently",
        ),
        (asked(endpoint="GET /a", depends_on=["tasks(("]), "no tag"),
        (asked(endpoint="GET /a", bypass_when=["__import__('os')"]), "no condition"),
        (
            {"cache_targets": [{"endpoint": "GET /a", "name": "x"}, {"endpoint": "GET /b", "name": "x"}]},
            "two targets",
        ),
    ],
)
def test_parts_that_contradict_each_other_are_an_error_of_the_request(inputs, words):
    with pytest.raises(RequestError, match=words):
        designed(inputs)


def test_what_is_written_from_a_request_passes_check():
    found = designed(
        {
            "multi_tenant": {"enabled": True},
            "cache_targets": [
                {"endpoint": "GET /api/tasks", "parameters": ["page"], "depends_on": ["tasks"]},
                {"endpoint": "GET /api/{user_id}/tasks/{id}", "depends_on": ["tasks"]},
                {"database_query": "SELECT * FROM tasks WHERE user_id = ?"},
                {"computed_data": "totals", "scope": "public", "depends_on": ["tasks"]},
            ],
        }
    )
    document = loads_spec(dumps_spec(found.spec))
    assert document.spec == found.spec
    assert [finding for finding in check(document) if finding.severity == "error"] == []


BY_USER = {"identity": {"user": "claim:sub"}}
BY_TENANT = {"identity": {"user": "claim:sub", "tenant": "claim:tid"}, "multi_tenant": {"enabled": True}}
FREE = {"endpoint": "GET /api/tasks", "parameters": ["search", "page"]}
WORDS = {
    "everything the documents know": {},
    "each user's own": BY_USER,
    "tenants": BY_TENANT,
    "tenants whose id nobody declared": {**BY_USER, "multi_tenant": {"enabled": True}},
    "a search": {**BY_USER, "cache_targets": [FREE]},
    "a search under a policy": {
        **BY_USER,
        "cache_targets": [FREE],
        "cache_strategy": {"eviction_policy": "fifo"},
    },
    "a session": {**BY_USER, **asked(endpoint="GET /api/sessions/{id}")},
    "a path that is no table": {**BY_USER, **asked(endpoint="GET /api/dashboard", warm_top_users=5)},
    "a static file": asked(endpoint="GET /static/logo.png", scope="public", cache_type="cdn"),
    "a query": asked(database_query="SELECT id, title FROM tasks WHERE user_id = ?", cache_type="in_memory"),
}
PLACES = (
    "/tasks",
    "/tasks/{id}",
    "/stats",
    "/search",
    "/users/me",
    "/{user_id}/tasks",
    "/session",
    "/healthz",
)
KNOWN = Backend(
    tuple(Endpoint("GET", f"/api{path}", source="api.md") for path in PLACES), TABLES, sources=("api.md",)
)


@pytest.mark.parametrize("documents", [KNOWN, Backend(KNOWN.endpoints, sources=("api.md",)), Backend()])
@pytest.mark.parametrize("inputs", WORDS.values(), ids=WORDS)
def test_what_is_designed_is_clean_to_a_strict_eye(inputs, documents):
    found = designed(inputs, documents)
    doubts = [each for each in check(loads_spec(dumps_spec(found.spec))) if each.severity != "info"]
    assert [(each.code, each.message) for each in doubts] == []


def test_an_endpoint_whose_path_is_no_table_may_read_any_that_is_known():
    found = designed({**BY_USER, **asked(endpoint="GET /api/dashboard")}, KNOWN)
    assert target(found).depends_on == ("tasks", "users")
    alone = designed({**BY_USER, **asked(endpoint="GET /api/todo-items/search")})
    assert target(alone).depends_on == ("todo_items",)
    assert any("which tables does it read?" in question for question in alone.clarifications_needed)


def test_what_tells_how_the_application_is_is_kept_only_by_name():
    assert codes(designed(BY_USER, KNOWN))["GET /api/healthz"] == "operational"
    named = designed({**BY_USER, **asked(endpoint="GET /api/healthz")}, KNOWN)
    assert target(named).subject == "GET /api/healthz"
    assert any("tells how the application is" in warning for warning in named.warnings)


@pytest.mark.requirement("#38")
def test_a_static_file_in_a_cdn_is_as_stale_as_it_lives():
    found = designed(
        asked(endpoint="GET /static/logo.png", scope="public", cache_type="cdn", ttl_seconds=3600)
    )
    assert (target(found).levels, target(found).max_staleness_seconds) == (("l4",), 3600)
    (reason,) = reasons(found, "max_staleness_seconds")
    assert "deployment" in reason.reason


@pytest.mark.requirement("#20")
def test_a_busy_database_makes_a_hit_worth_more():
    fields = {"endpoint": "GET /api/tasks", "avg_query_time_ms": 0.1, "query_frequency": "100/s"}
    idle = designed({**BY_USER, **asked(**fields), "database_load": 0.1})
    busy = designed({**BY_USER, **asked(**fields), "database_load": 0.9})
    assert any("It takes 0.1 ms" in warning for warning in idle.warnings)
    assert not any("It takes 0.1 ms" in warning for warning in busy.warnings)
    assert "10.0 times that" in reasons(busy, "value")[0].reason
