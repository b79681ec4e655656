"""What a replay counts, and what it finds wrong."""

from __future__ import annotations

from typing import Any

import pytest
from tests.simulator.recording import Recording, plan_of

from cachewright.errors import NotEnoughEvidenceError
from cachewright.evidence.trace import VolatileSeen
from cachewright.simulator.outcome import Outcome, RouteOutcome
from cachewright.simulator.replay import replay
from cachewright.simulator.settings import ReplaySettings

LIST = "SELECT id, title FROM tasks WHERE user_id = ?"
TITLE = "UPDATE tasks SET title = ? WHERE id = ? AND user_id = ?"
PLAN = """
identity: {user: "claim:sub"}
cache_targets:
- endpoint: GET /tasks
  scope: user
  cache_key_pattern: user:{user_id}:tasks
  depends_on: ["tasks(user_id={user_id})"]
"""


def listing(recording: Recording, route: int, at: float, user: int, body: str, **changes: Any) -> int:
    number = recording.request(route, at, user=user, body=body, **changes)
    recording.sql(LIST, (user,), at=at + 2, request=number)
    return number


def renaming(recording: Recording, route: int, at: float, user: int) -> int:
    number = recording.request(route, at, user=user)
    transaction = recording.transaction(number, at + 1, at + 6, request=number)
    recording.sql(TITLE, ("new", 1, user), at=at + 2, request=number, transaction=transaction)
    return number


@pytest.fixture
def recording() -> Recording:
    made = Recording()
    made.route("GET", "/tasks", credentials=("header:authorization",))
    made.route("PATCH", "/tasks/{id}", "path:id")
    return made


def run(recording: Recording, plan: str = PLAN, **settings: Any) -> tuple[Outcome, RouteOutcome]:
    outcome = replay(recording.trace(), plan_of(plan), ReplaySettings(**settings))
    return outcome, next(route for route in outcome.routes if route.route == "GET /tasks")


def test_a_second_request_is_a_hit(recording: Recording) -> None:
    for at in (0, 20, 40):
        listing(recording, 1, at, 7, "old")
    outcome, route = run(recording)
    assert (route.lookups, route.hits, route.misses) == (3, 2, {"absent": 1})
    assert route.hit_rate == pytest.approx(2 / 3)
    assert (outcome.wrong_answers, outcome.undecided) == (0, 0)


def test_users_do_not_share_an_entry(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "seven")
    listing(recording, 1, 20, 8, "eight")
    _, route = run(recording)
    assert (route.hits, route.misses) == (0, {"absent": 2})


def test_a_write_invalidates_the_rows_it_pins_and_no_others(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "old")
    listing(recording, 1, 20, 8, "eight")
    renaming(recording, 2, 40, 7)
    listing(recording, 1, 60, 7, "new")
    listing(recording, 1, 80, 8, "eight")
    outcome, route = run(recording)
    assert (route.hits, route.misses) == (1, {"absent": 2, "invalidated": 1})
    assert outcome.wrong_answers == 0


def test_a_rollback_invalidates_nothing(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "old")
    number = recording.request(2, 20, user=7)
    recording.transaction(1, 21, 26, request=number, committed=False)
    recording.sql(TITLE, ("new", 1, 7), at=22, request=number, transaction=1)
    listing(recording, 1, 40, 7, "old")
    _, route = run(recording)
    assert route.hits == 1


def test_a_lookup_while_a_write_is_open_misses_and_is_not_filled(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "old")
    number = recording.request(2, 20, took=40, user=7)
    recording.transaction(1, 21, 55, request=number)
    recording.sql(TITLE, ("new", 1, 7), at=22, request=number, transaction=1)
    listing(recording, 1, 30, 7, "old")
    listing(recording, 1, 70, 7, "new")
    _, route = run(recording)
    assert route.misses == {"absent": 1, "held": 1, "invalidated": 1}
    assert route.refused == {}, "what misses because it is held asks for no fill"


def test_a_load_that_a_write_overtook_is_never_served(recording: Recording) -> None:
    number = recording.request(1, 0, took=50, user=7, body="old")
    recording.sql(LIST, (7,), at=1, request=number)
    renaming(recording, 2, 10, 7)
    listing(recording, 1, 60, 7, "new")
    outcome, route = run(recording)
    assert route.hits == 0
    assert outcome.wrong_answers == 0


def test_a_dependency_that_the_plan_lacks_refuses_the_fill(recording: Recording) -> None:
    for at in (0, 20):
        number = recording.request(1, at, user=7, body="old")
        recording.sql(LIST, (7,), at=at + 1, request=number)
        recording.sql("SELECT name FROM users WHERE id = ?", (7,), at=at + 2, request=number)
    _, route = run(recording)
    assert (route.hits, route.refused) == (0, {"dependency_drift": 2})


def test_an_entry_expires(recording: Recording) -> None:
    for at in (0, 900, 1100):
        listing(recording, 1, at, 7, "old")
    _, route = run(recording, PLAN + "  strategy: {ttl: {duration_seconds: 1}}")
    assert (route.hits, route.misses) == (1, {"absent": 1, "expired": 1})


def test_a_key_that_lacks_the_user_is_shown_as_foreign_answers(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "seven")
    listing(recording, 1, 20, 8, "eight")
    plan = """
identity: {user: "claim:sub"}
cache_targets:
- endpoint: GET /tasks
  scope: public
  cache_key_pattern: tasks
  depends_on: [tasks]
  ignored_reads: ["header:authorization"]
"""
    outcome, route = run(recording, plan)
    assert (outcome.wrong_answers, route.wrong_answers) == (1, 1)
    answer = outcome.details[0]
    assert (answer.kind, answer.filled_by, answer.answered_to) == ("foreign", 1, 2)
    assert answer.filled_by_credential != answer.answered_to_credential
    assert answer.last_write is None


def test_a_write_that_no_tag_saw_is_shown_as_stale_answers(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "old")
    listing(recording, 1, 40, 7, "changed by a trigger")
    outcome, _ = run(recording)
    assert [answer.kind for answer in outcome.details] == ["stale"]


def test_a_difference_while_a_write_is_in_flight_is_undecided(recording: Recording) -> None:
    """The read saw the commit before the invalidation could have returned."""
    plan = PLAN + "consistency: {ignore_writes: [tasks.title]}"
    listing(recording, 1, 0, 7, "old")
    number = recording.request(2, 40, took=20, user=7)
    recording.transaction(9, 41, 44, request=number)
    recording.sql(
        "UPDATE tasks SET title = ?, user_id = ? WHERE id = ?",
        ("new", 7, 1),
        at=42,
        request=number,
        transaction=9,
    )
    read = recording.request(1, 40.5, took=15, user=7, body="new")
    recording.sql(LIST, (7,), at=50, request=read)
    outcome, route = run(recording, plan)
    assert (route.hits, outcome.wrong_answers, outcome.undecided) == (1, 0, 1)


@pytest.mark.parametrize(
    ("ignored", "differed", "undecided"),
    [(("$.at", "$.at"), 9, 0), (("$.at", "$.at"), 8, 1), ((None, "$.at"), 9, 1)],
    ids=["the same members", "members that did not always differ", "other members"],
)
def test_answers_are_compared_only_without_the_same_volatile_members(
    recording: Recording, ignored: tuple[str | None, ...], differed: int, undecided: int
) -> None:
    recording.volatile = (VolatileSeen(1, "$.at", 9, differed),)
    for at, member in zip((0, 40), ignored, strict=True):
        listing(recording, 1, at, 7, f"at {at}", ignored=frozenset({member} if member else ()))
    outcome, _ = run(recording)
    assert outcome.undecided == undecided
    assert outcome.wrong_answers == 1 - undecided


def test_another_credential_of_the_user_is_accepted_by_the_application_first(recording: Recording) -> None:
    first = recording.hasher.secret(b"first device")
    second = recording.hasher.secret(b"second device")
    for at, credential in ((0, first), (20, second), (40, second), (60, first)):
        listing(recording, 1, at, 7, "old", credential=credential)
    _, route = run(recording)
    assert (route.hits, route.misses) == (2, {"absent": 1, "not_accepted": 1})


@pytest.mark.parametrize(("authorization", "hits"), [("object", 1), ("target", 3)])
def test_a_credential_may_be_accepted_for_all_objects_of_its_user(
    recording: Recording, authorization: str, hits: int
) -> None:
    route = recording.route("GET", "/notes/{id}", "path:id", credentials=("header:authorization",))
    first = recording.hasher.secret(b"first device")
    second = recording.hasher.secret(b"second device")
    asked = [(1, first), (2, first), (3, first), (1, second), (2, second), (3, second), (3, second)]
    for place, (note, credential) in enumerate(asked):
        number = recording.request(
            route, place * 20, user=7, body=str(note), credential=credential, values={"path.id": note}
        )
        recording.sql(LIST, (7,), at=place * 20 + 2, request=number)
    plan = PLAN.replace("/tasks", "/notes/{id}").replace(":tasks", ":note:{id}")
    outcome = replay(
        recording.trace(), plan_of(f"{plan}  authorization: {authorization}\n"), ReplaySettings()
    )
    (route_outcome,) = (found for found in outcome.routes if found.route == "GET /notes/{id}")
    assert (route_outcome.hits, outcome.wrong_answers) == (hits, 0)


def test_a_cookie_ends_what_its_credential_was_accepted_for(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "old")
    recording.request(2, 20, user=7, set_cookie=True)
    listing(recording, 1, 40, 7, "old")
    _, route = run(recording)
    assert (route.hits, route.misses) == (0, {"absent": 1, "not_accepted": 1})


def test_an_acceptance_ends_with_its_token(recording: Recording) -> None:
    for at in (0, 50, 150):
        listing(recording, 1, at, 7, "old", credential_expires=100_000_000.0)
    _, route = run(recording)
    assert (route.hits, route.misses) == (1, {"absent": 1, "not_accepted": 1})


def test_other_claims_make_another_entry(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "old", values={"claim.role": "user", "claim.exp": 1})
    listing(recording, 1, 20, 7, "old", values={"claim.role": "user", "claim.exp": 2})
    listing(recording, 1, 40, 7, "old", values={"claim.role": "admin", "claim.exp": 3})
    _, route = run(recording)
    assert (route.hits, route.misses) == (1, {"absent": 1, "foreign": 1})


def test_a_user_scope_without_a_user_makes_no_lookup(recording: Recording) -> None:
    number = recording.request(1, 0, body="old")
    recording.sql(LIST, (7,), at=1, request=number)
    outcome, route = run(recording)
    assert (route.lookups, route.hit_rate, route.bypassed) == (0, None, {"unbound_key": 1})
    assert outcome.hit_rate is None


def test_a_bypass_condition_compares_values_that_the_trace_shows(recording: Recording) -> None:
    for at, due in ((0, "overdue"), (20, "overdue"), (40, "today"), (60, "today")):
        listing(recording, 1, at, 7, "old", values={"query.due": due})
    recording.clear["query.due"] = {recording.hasher.value(due).exact: due for due in ("overdue", "today")}
    _, route = run(recording, PLAN + "  bypass_when: [\"query.due == 'overdue'\"]")
    assert (route.lookups, route.hits, route.bypassed) == (2, 1, {"bypass_condition": 2})


def test_not_found_counts_as_a_lookup(recording: Recording) -> None:
    for at in (0, 20):
        listing(recording, 1, at, 7, "none", status=404)
    _, route = run(recording)
    assert (route.lookups, route.hits, route.refused) == (2, 0, {"status": 2})


def test_fills_are_refused_as_at_run_time(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "a", set_cookie=True)
    listing(recording, 1, 20, 7, "a", background=True)
    listing(recording, 1, 40, 7, "a", reads=frozenset({"header:authorization", "header:accept-language"}))
    number = listing(recording, 1, 60, 7, "a")
    recording.sql(
        "INSERT INTO tasks (id, user_id, title) VALUES (?, ?, ?)", (5, 7, "x"), at=65, request=number
    )
    listing(recording, 1, 80, 7, "a", escaped=True)
    _, route = run(recording)
    assert route.hits == 0
    expected = {
        "set_cookie": 1,
        "background": 1,
        "unkeyed_read": 1,
        "wrote": 1,
        "unowned_sql": 1,
    }
    assert route.refused == expected


def test_sql_of_no_request_taints_what_is_loading(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "old")
    recording.sql("SELECT id FROM tasks", at=3)
    listing(recording, 1, 20, 7, "old")
    _, route = run(recording)
    assert (route.hits, route.refused) == (0, {"unowned_sql": 1})


def test_the_bracket_holds_fills_at_the_return_and_after_a_short_load(recording: Recording) -> None:
    """A second request during a slow load is a hit only if the load had been short."""
    for at in range(1000, 1200, 20):
        listing(recording, 1, at, 8, "eight")
    slow = recording.request(1, 0, took=100, user=7, body="old")
    recording.sql(LIST, (7,), at=1, request=slow)
    listing(recording, 1, 50, 7, "old")
    _, route = run(recording)
    assert (route.low, route.high) == (pytest.approx(9 / 12), pytest.approx(10 / 12))
    assert route.low is not None
    assert route.hit_rate is not None
    assert route.high is not None
    assert route.low <= route.hit_rate <= route.high


def test_a_hit_spares_the_statements_and_the_time_after_the_lookup(recording: Recording) -> None:
    for at in (0, 20, 40):
        listing(recording, 1, at, 7, "old")
    outcome, route = run(recording, hit_ms=0.5, network_ms=0.25)
    assert (outcome.database.queries_before, outcome.database.queries_after) == (3, 1)
    assert (outcome.database.time_before_ms, outcome.database.time_after_ms) == (3.0, 1.0)
    assert (route.before.p50, route.after.p50, route.after.p95) == (10.0, 0.75, 10.0)


def test_a_bounded_store_forgets_the_least_recently_used(recording: Recording) -> None:
    for at, user in ((0, 1), (20, 2), (40, 1), (60, 3), (80, 1), (100, 2)):
        listing(recording, 1, at, user, "x")
    outcome, route = run(recording, max_entries=2)
    assert (route.hits, route.misses) == (2, {"absent": 4})
    assert (outcome.peak_entries, outcome.peak_bytes) == (2, 200)


def test_a_route_without_a_target_keeps_its_figures(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "old")
    renaming(recording, 2, 20, 7)
    outcome, _ = run(recording)
    other = next(route for route in outcome.routes if route.route == "PATCH /tasks/{id}")
    assert (other.cached, other.hit_rate, other.before, other.queries_after) == (False, None, other.after, 1)


def test_the_public_figures_have_their_names(recording: Recording) -> None:
    listing(recording, 1, 0, 7, "old")
    listing(recording, 1, 20, 7, "other")
    figures = run(recording)[0].to_json()
    names = {"route", "requests", "hit_rate_predicted", "hit_rate_measured", "p95_before_ms", "p95_after_ms"}
    assert names <= figures["routes"][0].keys()
    assert figures["routes"][0]["hit_rate_measured"] is None
    assert set(figures["database"]) == {"queries_before", "queries_after", "time_before_ms", "time_after_ms"}
    assert figures["wrong_answers"] == len(figures["details"]) == 1


def test_an_empty_trace_is_no_evidence(recording: Recording) -> None:
    with pytest.raises(NotEnoughEvidenceError):
        run(recording)
