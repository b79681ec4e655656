"""Whole designs from made-up traffic: what comes out as a target, what is refused, and why."""

from datetime import UTC, datetime

import pytest
from tests.analysis.builder import Call, TodoTraffic, TraceBuilder

from cachewright.checks import check
from cachewright.design.planner import design
from cachewright.design.rationale import rationale
from cachewright.simulator.replay import replay
from cachewright.spec.document import Document, dumps_spec, loads_spec
from cachewright.spec.target import compile_plan

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _designed(trace, **options):
    def score(spec):
        return replay(trace, compile_plan(Document(spec=spec, positions={})))

    return design(trace, now=NOW, score=score, **options)


def _targets(found):
    return {target.endpoint: target for target in found.spec.cache_targets}


def _codes(found):
    return {no.endpoint: no.code for no in found.not_cached}


@pytest.fixture(scope="module")
def plain():
    return _designed(TodoTraffic().run(1200).build())


def test_a_plain_crud_backend_is_cached_with_row_tags(plain):
    targets = _targets(plain)
    assert set(targets) == {"GET /api/tasks", "GET /api/tasks/{task_id}", "GET /api/tasks/stats", "GET /news"}
    assert targets["GET /api/tasks"].depends_on == ("tasks(owner_id={user_id})", "users(id={user_id})")
    assert (
        targets["GET /api/tasks"].cache_key_pattern == "user:{user_id}:api:tasks:status={status}:page={page}"
    )
    assert targets["GET /api/tasks/{task_id}"].depends_on == ("tasks(id={task_id})", "users(id={user_id})")
    assert targets["GET /news"].scope == "public"
    assert plain.spec.identity.user == "claim:sub"
    assert plain.spec.namespace == "todo"


TRAFFIC = {
    "plain": {},
    "tenants": {"claims": {"tid": lambda user: f"t{user % 2}"}, "identity": {"tenant": "claim:tid"}},
    "two users": {"users": 2},
    "languages": {"keyed_language": True, "calm": True},
    "dates": {"due": True, "calm": True},
    "answers by credential": {"per_credential": True, "credentials": 2},
    "reads that write": {"writes_on_read": True},
    "writes of many rows": {"bulk_moves": True, "agent": True},
}


@pytest.mark.parametrize("traffic", TRAFFIC.values(), ids=TRAFFIC)
def test_what_is_designed_is_clean_to_a_strict_eye(traffic):
    trace = TodoTraffic(**traffic).run(1000).build()
    found = _designed(trace)
    assert found.spec.cache_targets
    doubts = [
        each for each in check(loads_spec(dumps_spec(found.spec)), trace=trace) if each.severity != "info"
    ]
    assert [(each.code, each.message) for each in doubts] == []


def test_writes_are_refused_by_method(plain):
    assert {code for endpoint, code in _codes(plain).items() if not endpoint.startswith("GET")} == {
        "unsafe_method"
    }


def test_every_target_names_findings_that_exist(plain):
    known = {finding.id for finding in plain.findings}
    for target in plain.spec.cache_targets:
        assert target.because
        assert set(target.because) <= known


def test_the_replay_of_the_result_is_never_wrong():
    trace = TodoTraffic(credentials=2, agent=True, due=True).run(1200).build()
    found = _designed(trace)
    outcome = replay(trace, compile_plan(Document(spec=found.spec, positions={})))
    assert outcome.hits
    assert outcome.wrong_answers == 0


def test_the_same_trace_gives_the_same_bytes():
    first, second = (_designed(TodoTraffic().run(500).build()) for _ in range(2))
    assert dumps_spec(first.spec) == dumps_spec(second.spec)
    assert rationale(first) == rationale(second)
    assert first.to_json() == second.to_json()


def test_what_is_written_can_be_read_again(plain):
    assert loads_spec(dumps_spec(plain.spec)).spec == plain.spec


def test_a_header_that_nobody_was_seen_to_read_makes_changes_unexplained():
    codes = _codes(_designed(TodoTraffic(language=True).run(900).build()))
    assert codes["GET /api/tasks"] == "unexplained_changes"
    assert codes["GET /api/tasks/{task_id}"] == "unexplained_changes"


def test_a_header_that_is_read_becomes_part_of_the_key():
    target = _targets(_designed(TodoTraffic(keyed_language=True, calm=True).run(1500).build()))[
        "GET /api/tasks"
    ]
    assert target.cache_key_pattern.endswith(":accept-language={header.accept-language}")


def test_a_table_fed_by_a_trigger_is_refused():
    codes = _codes(_designed(TodoTraffic(hidden_trigger=True).run(900).build()))
    assert codes["GET /api/tasks"] == "unexplained_changes"
    assert "GET /api/tasks/stats" not in codes


def test_a_date_in_a_predicate_is_bypassed_by_its_parameter():
    target = _targets(_designed(TodoTraffic(due=True, calm=True).run(1200).build()))["GET /api/tasks"]
    assert target.bypass_when == ("query.due present and query.due != 'all'",)


def test_credentials_of_one_user_that_disagree_do_not_share():
    target = _targets(_designed(TodoTraffic(per_credential=True, credentials=2).run(1500).build()))[
        "GET /api/tasks"
    ]
    assert target.scope == "credential"
    assert target.cache_key_pattern.startswith("cred:{cred}:")
    assert target.depends_on == ("tasks(owner_id={claim.sub})", "users(id={claim.sub})")


def test_a_route_that_usually_writes_is_refused_and_its_column_is_asked_about():
    found = _designed(TodoTraffic(writes_on_read=True).run(900).build())
    assert _codes(found)["GET /api/tasks"] == "writes_usually"
    assert any("ignore_writes: [users.name]" in question for question in found.clarifications_needed)


def test_an_owner_change_by_one_statement_is_survived():
    trace = TodoTraffic(bulk_moves=True, calm=True).run(1200).build()
    found = _designed(trace)
    assert "GET /api/tasks" in _targets(found)
    assert replay(trace, compile_plan(Document(spec=found.spec, positions={}))).wrong_answers == 0


def test_what_middleware_only_logs_is_ignored_by_name():
    target = _targets(_designed(TodoTraffic(agent=True).run(900).build()))["GET /api/tasks"]
    assert target.ignored_reads == ("header:user-agent",)


def test_a_claim_like_a_tenant_is_asked_about():
    found = _designed(TodoTraffic(claims={"tid": lambda user: f"t{user % 2}"}).run(500).build())
    assert any("--identity tenant=claim:tid" in question for question in found.clarifications_needed)
    assert not found.spec.multi_tenant.enabled


def test_a_declared_tenant_stands_first_in_every_private_key():
    claims = {"tid": lambda user: f"t{user % 2}"}
    found = _designed(TodoTraffic(claims=claims, identity={"tenant": "claim:tid"}).run(900).build())
    assert found.spec.multi_tenant.enabled
    assert found.spec.identity.tenant == "claim:tid"
    for target in found.spec.cache_targets:
        if target.scope != "public":
            assert target.cache_key_pattern.startswith("tenant:{tenant_id}:user:{user_id}:")


def test_with_two_users_tokens_do_not_share():
    targets = _targets(_designed(TodoTraffic(users=2).run(900).build()))
    assert {target.scope for name, target in targets.items() if name != "GET /news"} == {"credential"}


def test_little_evidence_is_no_evidence():
    codes = _codes(_designed(TodoTraffic().run(60).build()))
    assert set(codes.values()) == {"insufficient_evidence", "unsafe_method"}


def test_routes_nobody_asked_for_are_listed():
    traffic = TodoTraffic()
    traffic.build.route("GET", "/forgotten")
    assert _codes(_designed(traffic.run(200).build()))["GET /forgotten"] == "insufficient_evidence"


def test_an_empty_trace_designs_nothing():
    found = _designed(TraceBuilder().build(), namespace="empty")
    assert found.spec.cache_targets == ()
    assert found.spec.namespace == "empty"


def _one_route(count=60, template="/things", params=(), **more):
    """A route asked by four users again and again; `more` gives a Call's fields from the number of the request."""
    build = TraceBuilder()
    route = build.route("GET", template, *params)
    for n in range(count):
        user = n % 4
        fields = {name: value(n) if callable(value) else value for name, value in more.items()}
        sql = [("SELECT users.id FROM users WHERE users.id = ?", [user])]
        call = {"claims": {"sub": str(user)}, "credential": str(user), "sql": sql, "body": user, **fields}
        build.add(Call(route, **call))
    return build.build()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"template": "/auth/me"}, "sensitive"),
        ({"template": "/verify/{token}", "params": (("path", "token", "str"),)}, "sensitive"),
        ({"set_cookie": True}, "sensitive"),
        ({"streamed": True}, "streamed"),
        ({"cache_control": frozenset({"no-store"})}, "no_store"),
        ({"sql": ()}, "no_dependency"),
        ({"reads": frozenset({"url"})}, "unkeyable_reads"),
        ({"reads": frozenset({"body"})}, "unkeyable_reads"),
        ({"milliseconds": 0.2}, "cheaper_uncached"),
        ({"status": 500}, "errors"),
        ({"count": 29}, "insufficient_evidence"),
        ({"sql": [("SELECT mystery(users.id) AS x FROM users", [])]}, "opaque_sql"),
    ],
)
def test_each_reason_to_refuse_has_its_code(options, code):
    assert _codes(_designed(_one_route(**options))) == {f"GET {options.get('template', '/things')}": code}


def test_answers_that_are_never_asked_for_again_are_refused():
    """Every request has a key of its own but for a few, so there is nothing to hit."""
    trace = _one_route(
        count=900,
        params=(("query", "q", "str"),),
        values=lambda n: {"query.q": "same" if n % 12 < 4 and n < 220 else f"q{n}"},
    )
    assert set(_codes(_designed(trace)).values()) == {"no_reuse"}


def test_the_simplest_route_is_a_target():
    found = _designed(_one_route(count=120, template="/things"))
    assert _targets(found)["GET /things"].scope == "user"


def test_the_rationale_shows_choices_refusals_and_findings(plain):
    text = rationale(plain)
    for part in (
        "### GET /api/tasks",
        "`scope: user`",
        "## Not cached",
        "`unsafe_method`",
        "## Findings",
        "**F001**",
    ):
        assert part in text


def test_cascades_of_the_database_are_described(plain):
    rules = plain.spec.invalidation.rules
    deleted = next(
        rule
        for rule in rules
        if rule.operation == "delete" and "users(id={user_id})" in rule.invalidate_patterns
    )
    assert "tasks(owner_id={user_id})" in deleted.cascades


def test_a_secret_never_becomes_part_of_a_tag_or_a_key():
    """An API key is bound in SQL; its value would stand in clear in the shared store."""
    trace = _one_route(
        count=120,
        claims={},
        credential=lambda n: f"key{n % 4}",
        values=lambda n: {"header.x-api-key": f"key{n % 4}"},
        reads=frozenset({"header:x-api-key"}),
        sql=lambda n: [("SELECT users.id FROM users WHERE users.name = ?", [f"key{n % 4}"])],
    )
    target = _targets(_designed(trace))["GET /things"]
    assert target.depends_on == ("users(name={*hashed})",)
    assert target.cache_key_pattern == "cred:{cred}:things"


def test_the_forecast_stands_where_the_runtime_compares_with_it(plain):
    trace = TodoTraffic().run(1200).build()
    outcome = replay(trace, compile_plan(Document(spec=plain.spec, positions={})))
    performance = plain.spec.metrics.performance
    assert performance.hit_rate == round(outcome.hits / outcome.lookups, 4)
    assert performance.hit_rate + performance.miss_rate == pytest.approx(1)


def test_the_alarm_stands_under_all_that_the_recording_can_tell_and_says_why(plain):
    alarm = plain.spec.alerts.low_hit_rate
    (made,) = [decision for decision in plain.decisions if decision.subject == "alerts"]
    assert alarm.enabled
    assert 0 < alarm.threshold < 0.8 * plain.spec.metrics.performance.hit_rate
    assert made.choice == f"low_hit_rate.threshold: {alarm.threshold}"
    assert set(made.because) == {
        finding.id
        for finding in plain.findings
        if finding.code == "workload" and finding.subject in _targets(plain)
    }
    assert f"`low_hit_rate.threshold: {alarm.threshold}`" in rationale(plain)


def test_without_targets_nothing_is_forecast():
    found = _designed(TodoTraffic().run(20).build())
    assert not found.spec.cache_targets
    assert found.spec.metrics.performance.hit_rate is None
    assert found.spec.alerts.low_hit_rate.threshold == 0.5
