"""Requirements of a forecast: read, and compared with its figures."""

from __future__ import annotations

import pytest

from cachewright.errors import RequirementError
from cachewright.simulator.requirements import parse_requirements, unmet

FIGURES = {
    "routes": [{"route": "GET /tasks"}],
    "hit_rate": 0.6,
    "hit_rate_low": None,
    "wrong_answers": 0,
    "database": {"queries_before": 10, "queries_after": 4},
}


@pytest.mark.parametrize(
    "text",
    [
        "wrong_answers=0",
        "wrong_answers==0,hit_rate>0.5",
        "hit_rate>=0.6",
        "hit_rate<=0.6 , database.queries_after<5",
        "hit_rate!=1",
    ],
)
def test_met(text: str) -> None:
    assert unmet(parse_requirements(text), FIGURES) == ()


@pytest.mark.parametrize(
    "text", ["wrong_answers!=0", "hit_rate>0.6", "hit_rate<0.6", "database.queries_after>4"]
)
def test_missed(text: str) -> None:
    assert len(unmet(parse_requirements(text), FIGURES)) == 1


def test_an_unknown_figure_of_a_forecast_meets_nothing() -> None:
    missed = unmet(parse_requirements("hit_rate_low>=0"), FIGURES)
    assert str(missed[0]) == "hit_rate_low>=0 was required, hit_rate_low is unknown"


@pytest.mark.parametrize(
    "text", ["", "hit_rate", "hit_rate>", "hit_rate>many", "hit_rate>0.5,", "0.5<hit_rate"]
)
def test_what_is_no_requirement_says_how_to_write_one(text: str) -> None:
    with pytest.raises(RequirementError, match="wrong_answers=0"):
        parse_requirements(text)


def test_a_figure_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(RequirementError, match=r"database\.queries_after"):
        unmet(parse_requirements("hitrate>0.5"), FIGURES)
