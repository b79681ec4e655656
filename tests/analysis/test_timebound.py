"""Answers that depend on the clock, and the parameter that tells them."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.analysis.builder import LIST, LIST_DUE, Call, TraceBuilder

from cachewright.analysis.exchanges import gather
from cachewright.analysis.timebound import time_bound


def _found(calls, *, shown=("overdue", "all"), kind="str"):
    build = TraceBuilder()
    route = build.route("GET", "/api/tasks", ("query", "due", kind), ("query", "page", "int"))
    build.show("query.due", *shown)
    for due, sql, more in calls:
        build.add(Call(route, values={"query.due": due, "query.page": 1, **more}, credential="c", sql=[sql]))
    record = gather(build.build())
    return time_bound(record.routes[0], record)


def _overdue(n):
    return (LIST_DUE, [1, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n), 3, 0])


PLAIN = (LIST, [1, 3, 0])


def test_where_only_absence_is_unaffected_presence_is_bypassed():
    found = _found([*[("overdue", _overdue(n), {}) for n in range(4)], *[(None, PLAIN, {})] * 12])
    assert len(found.requests) == 4
    assert found.bypass == ("query.due present",)
    assert found.separable


def test_values_that_were_seen_unaffected_stay_cacheable_and_unseen_ones_do_not():
    plain = [*[(None, PLAIN, {})] * 8, *[("all", PLAIN, {})] * 8]
    found = _found([*[("overdue", _overdue(n), {}) for n in range(4)], *plain])
    assert found.bypass == ("query.due present and query.due != 'all'",)


def test_several_values_become_a_list_where_no_condition_covers_the_unseen():
    bound = [
        *[("overdue", _overdue(n), {}) for n in range(4)],
        *[("today", _overdue(n), {}) for n in range(4)],
    ]
    found = _found([*bound, *[("secret", PLAIN, {})] * 12], shown=("overdue", "today"))
    assert found.bypass == ("query.due in ['overdue', 'today']",)
    assert not found.separable, (
        "values that may not be shown leave nothing to say of those that were not seen"
    )


def test_values_that_may_not_be_shown_are_bypassed_by_presence():
    found = _found([*[(f"d{n % 3}", _overdue(n), {}) for n in range(9)], *[(None, PLAIN, {})] * 12], shown=())
    assert found.bypass == ("query.due present",)


def test_one_counterexample_makes_the_whole_route_time_bound():
    calls = [
        *[("overdue", _overdue(n), {}) for n in range(4)],
        *[(None, PLAIN, {})] * 12,
        ("overdue", PLAIN, {}),
    ]
    found = _found(calls)
    assert found.requests
    assert not found.separable


def test_with_few_unaffected_answers_no_condition_is_trusted():
    found = _found([*[("overdue", _overdue(n), {}) for n in range(4)], *[(None, PLAIN, {})] * 9])
    assert not found.separable


def test_a_single_execution_is_proof_but_separates_nothing():
    found = _found([("overdue", _overdue(1), {}), *[(None, PLAIN, {})] * 40])
    assert len(found.requests) == 1
    assert not found.separable


def test_a_date_that_the_request_gave_is_no_clock():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    found = _found([("2026-01-01T00:00:00+00:00", (LIST_DUE, [1, moment, 3, 0]), {})] * 12)
    assert not found.requests


def test_a_date_that_never_changes_is_still_suspicious():
    found = _found([(None, _overdue(0), {})] * 12)
    assert len(found.requests) == 12


@pytest.mark.parametrize("function", ["CURRENT_TIMESTAMP", "random()"])
def test_sql_that_asks_for_the_moment_or_for_chance_is_time_bound(function):
    sql = f"SELECT tasks.id FROM tasks WHERE tasks.due < {function}"
    found = _found([(None, (sql, []), {})] * 12)
    assert len(found.requests) == 12
