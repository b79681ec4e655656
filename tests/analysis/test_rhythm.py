"""When requests come, who reads what it wrote, and how complex its queries are: figures against made-up traffic."""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest
from tests.analysis.builder import Call, TodoTraffic, TraceBuilder

from cachewright.analysis.analyses import findings
from cachewright.analysis.study import profiles, study
from cachewright.evidence.trace import Trace

HOUR = 3_600_000.0


def told(trace: Trace, code: str, subject: str = "GET /news"):
    found = study(trace)
    admitted = {standing.route.subject for standing in found.standings}
    judged = {profile.route.subject: profile for profile in profiles(found, admitted)}
    return [each for each in findings(found, judged) if (each.code, each.subject) == (code, subject)]


def news(gaps, **call):
    build = TraceBuilder()
    route = build.route("GET", "/news", credentials=())
    for gap in gaps:
        build.add(Call(route, sql=[("SELECT news.id FROM news", [])], body="news", **call), gap=gap)
    return build.build()


def test_bursts_are_told_from_arrivals_by_chance():
    dice = Random(1)
    by_chance = news([dice.expovariate(1 / 100) for _ in range(800)], milliseconds=0.1)
    assert not told(by_chance, "bursts")
    bursts = news([5_000.0 if number % 40 == 0 else 5.0 for number in range(800)], milliseconds=0.1)
    (finding,) = told(bursts, "bursts")
    assert finding.figures["dispersion"] > 10
    assert finding.figures["peak"] == 40


def test_requests_for_one_key_at_once_are_counted():
    build = TraceBuilder()
    route = build.route("GET", "/news", credentials=())
    for number in range(200):
        at = 2_000_000_000 + number // 5 * 1_000_000_000 + number % 5
        build.add(Call(route, sql=[("SELECT news.id FROM news", [])], body="n", milliseconds=50), at=at)
    (finding,) = told(build.build(), "at_once")
    assert finding.figures["at_once"] == 5
    assert not told(news([60.0] * 200), "at_once")


def test_busy_hours_are_named_in_utc():
    trace = news([HOUR / 10 if number % 40 < 30 else 21 * HOUR / 10 for number in range(120)])
    trace = replace(trace, recorded_at=datetime(2026, 1, 1, 9, tzinfo=UTC).isoformat())
    (finding,) = told(trace, "time_of_day")
    assert finding.figures["share"] > 0.6
    assert "UTC 09" in finding.text
    assert not told(news([HOUR / 2] * 120), "time_of_day")


def test_reads_of_what_the_same_client_wrote_are_timed():
    trace = TodoTraffic(calm=True).run(1200).build()
    (finding,) = told(trace, "read_your_writes", "GET /api/tasks")
    clients = {request.id: request.credential for request in trace.requests}
    listed = {route.id for route in trace.routes if route.template == "/api/tasks" and route.method == "GET"}
    gaps = []
    for transaction in trace.transactions.values():
        if not transaction.committed or transaction.request is None:
            continue
        following = [
            request.started - transaction.ended
            for request in trace.requests
            if request.route in listed
            and request.credential == clients[transaction.request]
            and 0 <= request.started - transaction.ended <= 60e9
        ]
        gaps += [min(following) / 1e9] if following else []
    gaps.sort()
    assert finding.figures["reads"] == len(gaps) >= 10
    assert finding.figures["p50_seconds"] == pytest.approx(gaps[len(gaps) // 2], rel=0.1)
    assert not told(trace, "read_your_writes")


@pytest.mark.parametrize(
    ("sql", "complexity", "points"),
    [
        ("SELECT news.id FROM news WHERE news.id = ?", "low", 0),
        ("SELECT news.id FROM news JOIN users ON users.id = news.id", "medium", 1),
        (
            "SELECT users.id, count(*) FROM users JOIN news ON news.id = users.id GROUP BY users.id",
            "medium",
            3,
        ),
        (
            "SELECT news.id, row_number() OVER (ORDER BY news.id) FROM news WHERE news.id IN (SELECT id FROM users)",
            "high",
            4,
        ),
    ],
)
def test_queries_have_the_complexity_of_the_published_rule(sql, complexity, points):
    build = TraceBuilder()
    route = build.route("GET", "/news", credentials=())
    for _ in range(40):
        build.add(Call(route, sql=[(sql, [1] * sql.count("?"))], body="news"))
    (finding,) = told(build.build(), "complexity")
    assert (finding.figures["complexity"], finding.figures["points"]) == (complexity, points)


@pytest.mark.parametrize("alike", [True, False])
def test_answers_that_are_the_same_for_everybody_are_asked_about(alike):
    build = TraceBuilder()
    route = build.route("GET", "/news")
    for number in range(120):
        body = "the same" if alike else number % 6
        build.add(Call(route, credential=str(number % 6), sql=[("SELECT news.id FROM news", [])], body=body))
    found = told(build.build(), "scope_over")
    assert bool(found) is alike
    if alike:
        assert found[0].figures["differing"] == 0
        assert found[0].figures["reused_apart"] == 0.95
        assert found[0].figures["reused_shared"] == round(119 / 120, 4)
