"""What clients ask for next is read off the order of their requests; nothing is made up."""

from dataclasses import replace

import pytest
from tests.analysis.builder import Call, TraceBuilder

from cachewright.analysis.transitions import transitions

HOUR = 3_600_000_000_000
READS = {"GET /tasks", "GET /tasks/{id}", "GET /news"}


class Traffic:
    """Clients that come one after the other, each with requests a second apart."""

    def __init__(self):
        self.build = TraceBuilder()
        page = ("query", "page", "int")
        self.list = self.build.route("GET", "/tasks", page)
        self.task = self.build.route("GET", "/tasks/{id}", ("path", "id", "int"))
        self.done = self.build.route("POST", "/tasks/{id}/done", ("path", "id", "int"))
        self.news = self.build.route("GET", "/news")
        self.clients = 0

    def client(self, *calls, gap=1000.0, status=200, at=None):
        """A client with a credential of its own; `calls` are a route and its values."""
        self.clients += 1
        for number, (route, values) in enumerate(calls):
            start = None if at is None else at + number * 1_000_000_000
            self.build.add(
                Call(route, values=values, credential=f"c{self.clients}", status=status), gap=gap, at=start
            )

    def found(self, endpoints=READS, **more):
        return transitions(replace(self.build.build(), **more), endpoints)


def said(found):
    return [(one.after, one.then, dict(one.params)) for one in found]


def test_the_parameter_of_a_request_is_that_of_the_next():
    traffic = Traffic()
    for number in range(30):
        traffic.client((traffic.done, {"path.id": number}), (traffic.task, {"path.id": number}))
    (one,) = traffic.found()
    assert said([one]) == [("POST /tasks/{id}/done", "GET /tasks/{id}", {"id": "{id}"})]
    assert (one.share, one.cases, one.hours) == (1.0, 30, ())


def test_a_value_that_is_always_the_same_is_known_and_one_that_is_absent_is_left_out():
    traffic = Traffic()
    for number in range(30):
        traffic.client((traffic.done, {"path.id": number}), (traffic.list, {"query.page": "1"}))
        traffic.client((traffic.news, {}), (traffic.list, {"query.page": None}))
    traffic.build.show("query.page", "1")
    assert said(traffic.found()) == [
        ("GET /news", "GET /tasks", {}),
        ("POST /tasks/{id}/done", "GET /tasks", {"page": "1"}),
    ]


def test_what_is_not_known_before_is_not_predicted():
    traffic = Traffic()
    for number in range(30):
        traffic.client((traffic.news, {}), (traffic.task, {"path.id": number}))
        traffic.client((traffic.done, {"path.id": 1}), (traffic.list, {"query.page": "5"}))  # known as a hash
    assert traffic.found() == ()


@pytest.mark.parametrize(
    ("options", "why"),
    [({"gap": 20_000.0}, "too long after"), ({"status": 404}, "it failed")],
)
def test_what_does_not_follow_is_not_said_to(options, why):
    traffic = Traffic()
    for number in range(30):
        traffic.client((traffic.done, {"path.id": number}), (traffic.news, {}), **options)
    assert traffic.found() == (), why


def test_one_clients_request_does_not_follow_anothers():
    traffic = Traffic()
    for _ in range(30):
        traffic.client((traffic.done, {"path.id": 1}))
        traffic.client((traffic.news, {}))
    assert traffic.found() == ()


def test_it_takes_enough_cases_and_half_of_them():
    traffic = Traffic()
    for _ in range(19):
        traffic.client((traffic.done, {"path.id": 1}), (traffic.news, {}))
    assert traffic.found() == ()
    traffic.client((traffic.done, {"path.id": 1}), (traffic.news, {}))
    assert [one.share for one in traffic.found()] == [1.0]
    for _ in range(20):
        traffic.client((traffic.done, {"path.id": 1}))
    assert [one.share for one in traffic.found()] == [0.5]
    traffic.client((traffic.done, {"path.id": 1}))
    assert traffic.found() == ()


def test_only_what_is_cached_is_predicted():
    traffic = Traffic()
    for number in range(30):
        traffic.client((traffic.done, {"path.id": number}), (traffic.task, {"path.id": number}))
    assert traffic.found(endpoints={"GET /news"}) == ()


def days(traffic, count=3):
    """In the morning the news follow, in the evening they do not; day after day."""
    for day in range(count):
        for number in range(12):
            morning, evening = (day * 24 + 8) * HOUR, (day * 24 + 20) * HOUR
            traffic.client(
                (traffic.done, {"path.id": 1}), (traffic.news, {}), at=morning + number * 60_000_000_000
            )
            traffic.client((traffic.done, {"path.id": 1}), at=evening + number * 60_000_000_000)


def test_hours_of_the_day_are_told_apart_where_days_were_seen():
    traffic = Traffic()
    days(traffic)
    (one,) = traffic.found(recorded_at="2026-01-02T02:00:00+01:00")  # the first request, at 1:00 UTC
    assert one.hours == (1,)


def test_hours_are_not_told_apart_in_a_day_or_without_times():
    traffic = Traffic()
    days(traffic, 1)
    assert [one.hours for one in traffic.found()] == [()]
    traffic = Traffic()
    days(traffic)
    assert [one.hours for one in traffic.found(unknown=frozenset({"times"}))] == [()]


def test_the_same_trace_gives_the_same_order():
    traffic = Traffic()
    for number in range(30):
        traffic.client(
            (traffic.done, {"path.id": number}), (traffic.task, {"path.id": number}), (traffic.news, {})
        )
    assert traffic.found() == traffic.found()
    assert [(one.after, one.then) for one in traffic.found()] == [
        ("GET /tasks/{id}", "GET /news"),
        ("POST /tasks/{id}/done", "GET /news"),
        ("POST /tasks/{id}/done", "GET /tasks/{id}"),
    ]
