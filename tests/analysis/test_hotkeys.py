"""Keys that many ask for are found, by their share and not by their number alone."""

from dataclasses import replace

import pytest
from tests.analysis.builder import NEWS, Call, TodoTraffic, TraceBuilder

from cachewright.analysis import hotkeys
from cachewright.analysis.analyses import findings
from cachewright.analysis.exchanges import gather
from cachewright.analysis.study import profiles, study


def asked(*keys, status=200):
    build = TraceBuilder()
    news = build.route("GET", "/news/{id}", ("path", "id", "int"), credentials=())
    for key in keys:
        build.add(Call(news, values={"path.id": key}, sql=[(NEWS, [])], status=status))
    return build.build()


def found(trace):
    (route,) = gather(trace).routes
    return [
        (seen.code, dict(seen.figures))
        for seen in hotkeys.observations(route, lambda one: one.exact["path.id"], trace)
    ]


@pytest.mark.requirement("#124")
def test_a_key_with_a_third_of_the_answers_is_hot():
    assert found(asked(*[0] * 30, *range(1, 61))) == [("hot_keys", {"hot": 1, "keys": 61, "share": 0.3333})]


@pytest.mark.parametrize(
    "keys",
    [[*range(90)], [number % 4 for number in range(90)], [0, 0, 0, *range(1, 20)]],
    ids=["all asked once", "few keys asked alike", "too little was seen"],
)
def test_what_is_asked_for_alike_is_not_hot(keys):
    assert found(asked(*keys)) == []


def test_errors_make_no_key_hot():
    assert found(asked(*[0] * 60, *range(1, 61), status=500)) == []


def test_requests_count_for_those_they_stand_for():
    trace = asked(*[0] * 30, *range(1, 61))
    others = {request.id: 10.0 for request in trace.requests[30:]}
    assert found(replace(trace, weights=others)) == []


def test_what_every_user_has_of_their_own_is_not_one_hot_key():
    """Statistics have no parameters, so that only their users tell the keys apart; news are one key for all."""
    whole = study(TodoTraffic(users=20).run(900).build())
    judged = {seen.route.subject: seen for seen in profiles(whole, {"GET /api/tasks/stats", "GET /news"})}
    assert judged["GET /api/tasks/stats"].scope == "user"
    assert "hot_keys" not in {seen.code for seen in findings(whole, judged)}
