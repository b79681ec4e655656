from datetime import UTC, datetime

import pytest
import typer

from cachewright.cli.design import moment


def test_the_time_of_a_design_can_be_given(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert moment("2026-01-31T13:00:00+01:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_source_date_epoch_is_honoured(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert moment(None) == datetime(1970, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31T12:00:00"])
def test_a_time_that_is_none_or_has_no_zone_is_a_usage_error(text):
    with pytest.raises(typer.BadParameter):
        moment(text)
