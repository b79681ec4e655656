"""Curves and the map of invalidations in the report."""

from cachewright.report import report
from cachewright.report.curves import lasting, size

SHAPE = {
    "over_life": {"points": [10.0, 300.0, 3600.0], "hits": [0.2, 0.6, 0.62], "held_out": [0.01, 0.03, 0.05]},
    "over_room": {"points": [0.0, 1000.0, 4000.0], "hits": [0.0, 0.4, 0.6], "held_out": None},
    "life": 300,
    "room": 2500,
}
DESIGN = {
    "shapes": {"GET /a<b>": SHAPE},
    "invalidation_map": {
        "tasks": [
            {"target": "GET /tasks", "tag": "tasks(owner_id={user_id})"},
            {"target": "GET /all", "tag": "tasks"},
        ]
    },
}


def test_each_target_shows_its_curves_with_the_chosen_points():
    page = report({"routes": []}, DESIGN)
    assert "GET /a&lt;b&gt;" in page
    assert page.count('class="curve"') == 2
    assert "5\N{NO-BREAK SPACE}min: 60\N{NO-BREAK SPACE}%" in page
    assert "2.4\N{NO-BREAK SPACE}KB: 50\N{NO-BREAK SPACE}%" in page
    assert "differ by 3.0\N{NO-BREAK SPACE}%" in page


def test_the_map_says_which_rows_end_which_target():
    page = report({"routes": []}, DESIGN)
    assert "<code>owner_id={user_id}</code>" in page
    assert "whenever any row of tasks changes" in page


def test_without_a_design_there_are_neither():
    page = report({"routes": []})
    assert 'class="curve"' not in page
    assert "What a write ends" not in page


def test_lives_and_sizes_are_said_in_their_units():
    said = [
        text.replace("\N{NO-BREAK SPACE}", " ")
        for text in (lasting(90), lasting(3600), size(512), size(3 * 2**20))
    ]
    assert said == ["1.5 min", "1 h", "512 B", "3 MB"]
