from cachewright.cli.demo_figures import Job, Served, figures, load_of, served_of, shortcomings

LIST, OPEN = "GET /tasks", "GET /tasks/{id}"
BEFORE = load_of(
    {"requests": [[LIST, "GET", 200, 10.0], [LIST, "GET", 200, 30.0], [OPEN, "GET", 404, 5.0]], "errors": 0}
)
AFTER = load_of({"requests": [[LIST, "GET", 200, 10.0], [LIST, "GET", 200, 1.0]], "errors": 2})
FORECAST = {
    "routes": [
        {"route": LIST, "cached": True, "hit_rate_predicted": 0.5},
        {"route": OPEN, "cached": False, "hit_rate_predicted": None},
    ],
    "wrong_answers": 0,
}


def _worker(hits, lookups, queries):
    counts = {"hits": hits, "lookups": lookups}
    return {"targets": {"tasks": counts}, "database": {"queries": queries, "time_ms": queries * 1.5}}


def _job(differences=0):
    served = served_of([_worker({"l1": 1}, 2, 3), _worker({"l2": 2}, 4, 1)], {"tasks": LIST})
    verdict = {"responses": 9, "differences": differences}
    return Job(FORECAST, {"warning": 2}, verdict, BEFORE, AFTER, Served({}, 40, 80.0), served)


def test_workers_are_added_up_by_route():
    served = served_of([_worker({"l1": 1}, 2, 3), _worker({"l2": 2}, 4, 1)], {"tasks": LIST})
    assert served == Served({LIST: (3, 6)}, 4, 6.0)


def test_routes_tell_what_was_predicted_and_what_was_measured():
    shown = {route["route"]: route for route in figures(_job())["routes"]}
    assert shown[LIST] == {
        "route": LIST,
        "requests": 2,
        "hit_rate_predicted": 0.5,
        "hit_rate_measured": 0.5,
        "mean_before_ms": 20.0,
        "mean_after_ms": 5.5,
        "p50_before_ms": 10.0,
        "p50_after_ms": 1.0,
        "p95_before_ms": 30.0,
        "p95_after_ms": 10.0,
    }


def test_what_was_not_measured_is_null_and_not_zero():
    shown = {route["route"]: route for route in figures(_job())["routes"]}
    assert shown[OPEN]["hit_rate_measured"] is None
    assert shown[OPEN]["hit_rate_predicted"] is None
    assert shown[OPEN]["p50_after_ms"] is None


def test_the_database_and_the_proofs_stand_beside_the_routes():
    document = figures(_job(differences=1))
    assert document["database"] == {
        "queries_before": 40,
        "queries_after": 4,
        "time_before_ms": 80.0,
        "time_after_ms": 6.0,
    }
    assert document["check"] == {"errors": 0, "warnings": 2}
    assert document["simulate"] == {"wrong_answers": 0}
    assert document["verify"] == {"responses": 9, "differences": 1}


def test_a_job_that_went_badly_says_in_what():
    assert shortcomings(figures(_job(differences=1))) == [
        "differences that verify found: 1",
        "unexpected answers after: 2",
    ]
