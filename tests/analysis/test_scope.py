"""Who may share an answer, and who the users are."""

import pytest
from tests.analysis.builder import NEWS, SELECT_USER, Call, TodoTraffic, TraceBuilder

from cachewright.analysis.study import study
from cachewright.spec.semantics import Scope


def _standings(trace):
    found = study(trace)
    return found, {standing.route.subject: standing for standing in found.standings}


def _scope(trace, subject):
    return _standings(trace)[1][subject].scope.scope


def test_sql_bound_to_the_claim_makes_answers_the_users():
    found, standings = _standings(TodoTraffic().run(500).build())
    assert found.identity.user_source == "claim:sub"
    assert standings["GET /api/tasks"].scope.scope is Scope.USER
    assert standings["GET /news"].scope.scope is Scope.PUBLIC


def test_two_credentials_of_a_user_that_disagree_veto_the_user_scope():
    trace = TodoTraffic(per_credential=True, credentials=2).run(500).build()
    assert _scope(trace, "GET /api/tasks") is Scope.CREDENTIAL


def test_without_claims_every_credential_has_its_own():
    build = TraceBuilder()
    route = build.route("GET", "/me")
    for n in range(60):
        build.add(Call(route, credential=str(n % 4), sql=[(SELECT_USER, [n % 4])], body=n % 4))
    found, standings = _standings(build.build())
    assert found.identity.user is None
    assert standings["GET /me"].scope.scope is Scope.CREDENTIAL


def test_equal_answers_never_prove_public_where_a_credential_is_read():
    build = TraceBuilder()
    route = build.route("GET", "/news", credentials=())
    for n in range(60):
        build.add(
            Call(
                route,
                credential=str(n % 4),
                sql=[(NEWS, [])],
                body="same",
                reads=frozenset({"header:authorization"}),
            )
        )
        build.add(Call(route, sql=[(NEWS, [])], body="same"))
    assert _scope(build.build(), "GET /news") is Scope.CREDENTIAL


def test_public_needs_an_answer_to_nobody():
    build = TraceBuilder()
    route = build.route("GET", "/news", credentials=())
    for n in range(60):
        build.add(Call(route, credential=str(n % 4), sql=[(NEWS, [])], body="same"))
    assert _scope(build.build(), "GET /news") is Scope.CREDENTIAL


def test_a_conflict_between_users_with_no_bind_at_all_makes_answers_the_users():
    build = TraceBuilder()
    route = build.route("GET", "/feed")
    for n in range(60):
        user = n % 4
        build.add(Call(route, claims={"sub": str(user)}, credential=str(user), sql=[(NEWS, [])], body=user))
    assert _scope(build.build(), "GET /feed") is Scope.USER


def test_a_path_that_always_names_the_user_makes_answers_the_users():
    build = TraceBuilder()
    route = build.route("GET", "/users/{user_id}/news", ("path", "user_id", "int"))
    for n in range(60):
        user = n % 4
        who = {"claims": {"sub": str(user)}, "credential": str(user)}
        build.add(Call(route, values={"path.user_id": user}, sql=[(NEWS, [])], body=user, **who))
    choice = _standings(build.build())[1]["GET /users/{user_id}/news"].scope
    assert (choice.scope, choice.path_user) == (Scope.USER, "path.user_id")


def test_a_session_read_leaves_only_the_credential():
    build = TraceBuilder()
    route = build.route("GET", "/me")
    for n in range(60):
        user = n % 4
        who = {"claims": {"sub": str(user)}, "credential": str(user)}
        build.add(Call(route, sql=[(SELECT_USER, [user])], body=user, reads=frozenset({"session"}), **who))
    assert _scope(build.build(), "GET /me") is Scope.CREDENTIAL


def test_two_users_are_too_few_to_share_between_tokens():
    assert _scope(TodoTraffic(users=2).run(400).build(), "GET /api/tasks") is Scope.CREDENTIAL


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"uid": lambda user: user}, "claim:sub"),
        ({"sub": lambda _: "access", "uid": lambda user: user}, "claim:uid"),
        ({"tid": lambda user: user % 2}, "claim:sub"),
    ],
)
def test_the_user_is_the_claim_that_sql_was_bound_to(claims, user):
    assert study(TodoTraffic(claims=claims).run(500).build()).identity.user_source == user


def test_a_tenant_is_never_inferred_only_asked_about():
    found, _ = _standings(TodoTraffic(claims={"tid": lambda user: f"t{user % 2}"}).run(400).build())
    assert found.identity.tenant is None


def test_a_declared_tenant_is_used():
    claims = {"tid": lambda user: f"t{user % 2}"}
    found, _ = _standings(TodoTraffic(claims=claims, identity={"tenant": "claim:tid"}).run(400).build())
    assert found.identity.tenant == "claim.tid"
    assert found.identity.user == "claim.sub"


def test_a_declared_identity_that_requests_do_not_show_is_not_guessed():
    found, standings = _standings(
        TodoTraffic(identity={"user": "dependency:app.auth.current_user.id"}).run(400).build()
    )
    assert found.identity.user is None
    assert standings["GET /api/tasks"].scope.scope is Scope.CREDENTIAL
