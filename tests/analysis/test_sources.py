"""Which part of a request a predicate takes its value from."""

from tests.analysis.builder import DETAIL, SELECT_USER, Call, TraceBuilder

from cachewright.analysis.exchanges import gather
from cachewright.analysis.sources import bound_spots


def _spots(calls, *, principal=None, barred=frozenset(), template="/users/{user_id}/tasks/{task_id}"):
    build = TraceBuilder()
    route = build.route("GET", template, ("path", "user_id", "int"), ("path", "task_id", "int"))
    for values, claims, sql in calls:
        build.add(Call(route, values=values, claims=claims, credential="c", sql=sql))
    record = gather(build.build())
    return {
        (spot.spot.table, column): names
        for spot in bound_spots(record.routes[0].exchanges, principal=principal, barred=barred)
        for column, names in spot.columns.items()
    }


def _calls(count, values=3, **claims):
    return [
        (
            {"path.user_id": n % values, "path.task_id": 100 + n},
            {"sub": str(n % values), **{name: value(n) for name, value in claims.items()}},
            [(DETAIL, [100 + n, n % values])],
        )
        for n in range(count)
    ]


def test_a_claim_is_preferred_to_the_path_that_always_agrees_with_it():
    spots = _spots(_calls(12))
    assert spots["tasks", "owner_id"] == ("claim.sub", "path.user_id")
    assert spots["tasks", "id"] == ("path.task_id",)


def test_of_two_claims_that_agree_the_principal_is_preferred():
    spots = _spots(_calls(12, uid=lambda n: n % 3), principal="claim.uid")
    assert spots["tasks", "owner_id"][:2] == ("claim.uid", "claim.sub")


def test_nine_observations_prove_nothing():
    assert _spots(_calls(9)) == {}


def test_two_values_prove_nothing_for_that_column():
    spots = _spots(_calls(30, values=2))
    assert ("tasks", "owner_id") not in spots
    assert ("tasks", "id") in spots


def test_one_counterexample_removes_a_source():
    calls = [*_calls(30), ({"path.user_id": 9, "path.task_id": 9}, {"sub": "1"}, [(DETAIL, [9, 9])])]
    assert _spots(calls)["tasks", "owner_id"] == ("path.user_id",)


def test_a_bind_that_comes_from_a_row_has_no_source():
    calls = [
        (values, claims, [*sql, (SELECT_USER, [1000 + n])])
        for n, (values, claims, sql) in enumerate(_calls(30))
    ]
    assert ("users", "id") not in _spots(calls)


def test_a_source_that_is_absent_from_some_requests_is_none():
    calls = _calls(30)
    calls[3] = ({"path.user_id": 0}, {"sub": "0"}, [])
    assert ("tasks", "id") not in _spots(calls)


def test_a_rare_text_borrows_the_evidence_of_others():
    """The same column of the same table from the same source, in a text that ran only twice."""
    rare = "SELECT tasks.title FROM tasks WHERE tasks.owner_id = ? AND tasks.status = 'done'"
    calls = _calls(30)
    calls += [({"path.user_id": n, "path.task_id": n}, {"sub": str(n)}, [(rare, [n])]) for n in range(2)]
    build = TraceBuilder()
    route = build.route("GET", "/t", ("path", "user_id", "int"), ("path", "task_id", "int"))
    for values, claims, sql in calls:
        build.add(Call(route, values=values, claims=claims, credential="c", sql=sql))
    spots = bound_spots(gather(build.build()).routes[0].exchanges)
    assert all(spot.columns["owner_id"][0] == "claim.sub" for spot in spots)
    assert {spot.requests for spot in spots} == {2, 30}


def test_barred_names_are_no_sources():
    spots = _spots(_calls(12), barred=frozenset({"claim.sub"}))
    assert spots["tasks", "owner_id"] == ("path.user_id",)
