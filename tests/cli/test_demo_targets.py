import io

from cachewright.cli.demo_figures import Job, Load, Served, figures
from cachewright.cli.demo_targets import Target, targets
from cachewright.cli.output import console
from cachewright.cli.tables import missed
from cachewright.cli.tables import targets as shown

LIST, OPEN, REFUSED = "GET /tasks", "GET /tasks/{id}", "GET /now"


def _job(*, after=2.0, hits=320, database_ms=300.0, findings=None):
    """600 lists and 100 tasks of 10 ms each: both cached, forecast to hit 52 % and 90 %; a third route is not."""
    forecast = {
        "routes": [
            {"route": LIST, "cached": True, "hit_rate_predicted": 0.52},
            {"route": OPEN, "cached": True, "hit_rate_predicted": 0.9},
            {"route": REFUSED, "cached": False, "hit_rate_predicted": None},
        ],
        "wrong_answers": 0,
    }
    return Job(
        forecast=forecast,
        findings=findings or {"info": 3},
        verdict={"responses": 700, "differences": 0},
        load_before=Load({LIST: [10.0] * 600, OPEN: [10.0] * 100, REFUSED: [1.0] * 900}, 0),
        load_after=Load({LIST: [after] * 600, OPEN: [after] * 100, REFUSED: [50.0] * 900}, 0),
        served_before=Served({}, 1000, 1000.0),
        served_after=Served({LIST: (hits, 600), OPEN: (10, 100)}, 400, database_ms),
    )


def _targets(**changes):
    job = _job(**changes)
    return {target.name.partition(" ")[0]: target for target in targets(job, figures(job))}


def test_a_job_that_went_well_meets_every_target():
    found = _targets()
    assert [target.met for target in found.values()] == [True] * 8
    assert found["database"].reached == 70.0
    assert found["hit"].reached == 1.33


def test_only_cached_routes_count_for_mean_and_p95():
    found = _targets()
    assert found["mean"].reached == 5.0
    assert (found["p95"].reached, found["p95"].required) == (2.0, 10.0)


def test_a_route_with_few_requests_does_not_count_for_the_forecast():
    """`OPEN` hits 10 % instead of 90 %, of 100 requests."""
    assert _targets(hits=312)["hit"].reached == 0.0


def test_a_distance_of_exactly_two_points_is_within_two_points():
    assert _targets(hits=324)["hit"].met is True
    assert _targets(hits=325)["hit"].met is False


def test_what_was_missed_is_said_with_its_figure():
    job = _job(after=3.7, database_ms=400.1, findings={"warning": 1})
    assert missed(targets(job, figures(job))) == [
        "missed: database time falls by: reached 59.990 %, required ≥ 60 %",
        "missed: mean over all requests of the cached routes falls by a factor of: reached 2.703 ×, required ≥ 3 ×",
        "missed: errors and warnings (check): reached 1, required 0",
    ]


def test_what_was_not_measured_is_neither_met_nor_missed():
    unknown = Target("mean", None, 3.0, "×")
    assert unknown.met is None
    assert missed([unknown]) == []
    assert unknown.to_json() == {"name": "mean, ×, at least", "reached": None, "required": 3.0, "met": None}


def test_public_names_say_unit_and_side():
    assert Target("off", 1.5, 2.0, "points", at_most=True).to_json() == {
        "name": "off, points, at most",
        "reached": 1.5,
        "required": 2.0,
        "met": True,
    }


def _written(encoding, found):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console(stream).print(shown(found))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def test_marks_are_plain_where_the_stream_cannot_write_them():
    found = [Target("fast", 2.7, 3.0, "×"), Target("same", 0, 0, at_most=True), Target("seen", None, 1.0)]
    beautiful, plain = _written("utf-8", found), _written("ascii", found)
    assert all(words in beautiful for words in ("✗ missed", "✓ met", "- not measured", "≥ 3 ×"))
    assert all(words in plain for words in ("- missed", "+ met", "- not measured", ">= 3 x"))
    assert "\x1b" not in beautiful
