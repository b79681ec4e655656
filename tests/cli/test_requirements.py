import pytest
import typer

from cachewright.cli.requirements import check_names, figures_of, requirements_of

FORECAST = {
    "routes": [{"hit_rate_predicted": 0.1}],
    "database": {"queries_before": 10, "queries_after": 4},
    "hit_rate": 0.65,
    "hit_rate_low": None,
    "wrong_answers": 0,
}


def test_figures_are_those_of_the_whole_forecast():
    assert figures_of(FORECAST) == {
        "database.queries_before": 10,
        "database.queries_after": 4,
        "hit_rate": 0.65,
        "hit_rate_low": None,
        "wrong_answers": 0,
    }


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("wrong_answers=0", [True]),
        ("wrong_answers=0,hit_rate>0.6", [True, True]),
        ("hit_rate > 0.65", [False]),
        ("hit_rate>=0.65, database.queries_after<=4", [True, True]),
        ("wrong_answers!=0", [False]),
        ("hit_rate_low<1", [False]),  # an unknown is no proof
    ],
)
def test_terms_are_judged_by_the_figures(text, met):
    figures = figures_of(FORECAST)
    assert [requirement.is_met(figures) for requirement in requirements_of(text)] == met


@pytest.mark.parametrize("text", ["hit_rate", "hit_rate>", ">0.5", "hit_rate=high", "hit_rate=>0.5"])
def test_a_term_that_cannot_be_read_is_a_usage_error(text):
    with pytest.raises(typer.BadParameter, match="is no requirement"):
        requirements_of(text)


def test_an_unknown_figure_is_a_usage_error_that_lists_the_known():
    with pytest.raises(typer.BadParameter, match="wrong_answers"):
        check_names(requirements_of("hitrate>0.5"), figures_of(FORECAST))
