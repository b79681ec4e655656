"""Hashes are equal where the application or its database would find values equal."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.evidence.hashing import Hasher, Long
from cachewright.spec.tags import canonical

HASHER = Hasher(b"k" * 32)
ANY_UUID = UUID("0b1c2d3e-4f50-4617-8a9b-acbdcedff001")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(),
    st.uuids(),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.binary(),
    st.lists(st.integers()),
)


class Colour(StrEnum):
    RED = "red"


class Level(Enum):
    HIGH = 3


@pytest.mark.parametrize(
    ("left", "right"),
    [("7", 7), ("true", True), ("false", False), ("red", Colour.RED), (3, Level.HIGH), ("3", Level.HIGH)],
)
def test_a_text_of_a_request_and_the_bind_it_becomes_meet_exactly(left, right):
    assert HASHER.value(left).exact == HASHER.value(right).exact
    assert HASHER.value(left).loose == HASHER.value(right).loose


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("07", 7),
        ("Ada@X.org ", "ada@x.org"),
        (7.0, 7),
        (Decimal("7.00"), "7"),
        (1, True),
        (ANY_UUID, ANY_UUID.hex),
        (ANY_UUID, str(ANY_UUID).upper()),
    ],
)
def test_spellings_that_a_database_may_hold_equal_meet_loosely_only(left, right):
    assert HASHER.value(left).loose == HASHER.value(right).loose is not None
    assert HASHER.value(left).exact != HASHER.value(right).exact


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "n"),
        (True, "b"),
        (7, "i"),
        (7.5, "f"),
        (7.0, "f"),
        (Decimal("1.5"), "f"),
        ("x", "s"),
        ("7", "s"),
        ("2024-13-45", "s"),
        ("2024-01-05", "d"),
        ("2024-01-05 10:00:00.000000", "d"),
        ("2024-01-05T10:00Z", "d"),
        ("10:00:00", "d"),
        (date(2024, 1, 5), "d"),
        (datetime.fromisoformat("2024-01-05T10:00"), "d"),
        (time(10, 0), "d"),
        (UUID(int=5), "u"),
        (b"x", "x"),
        ([1, 2], "x"),
        (timedelta(1), "x"),
        pytest.param(10**5000, "x", id="enormous"),
    ],
)
def test_kinds(value, kind):
    assert HASHER.value(value).kind == kind


def test_moments_meet_exactly_whatever_spells_them_and_have_no_loose_form():
    moments = [
        "2024-01-05T10:00:00",
        "2024-01-05 10:00:00.000000",
        datetime.fromisoformat("2024-01-05T10:00"),
    ]
    assert len({HASHER.value(moment) for moment in moments}) == 1
    assert HASHER.value("2024-01-05").exact == HASHER.value(date(2024, 1, 5)).exact
    assert HASHER.value("2024-01-05").loose is None
    assert HASHER.column("2024-01-05").loose is None


def test_the_expected_kind_applies_only_to_texts_that_can_be_read_so():
    assert HASHER.value("7", "i").kind == "i"
    assert HASHER.value("seven", "i").kind == "s"
    assert HASHER.value("true", "b").kind == "b"
    assert HASHER.value("1.5", "f") == HASHER.value(1.5)
    assert HASHER.value("7", "i").exact == HASHER.value("7").exact


def test_null_has_a_loose_form_in_rows_alone():
    assert HASHER.value(None).loose is None
    assert HASHER.column(None).loose is not None
    assert HASHER.column(None).loose not in (HASHER.column("").loose, HASHER.column("none").loose)


def test_another_key_gives_other_hashes():
    other = Hasher(b"j" * 32)
    assert other.value("7") != HASHER.value("7")
    assert other.secret(b"t") != HASHER.secret(b"t")


def test_hashes_of_different_families_never_meet():
    assert (
        len({HASHER.text("a"), HASHER.text("a", loose=True), HASHER.secret(b"a"), HASHER.long("a").digest})
        == 4
    )


def test_a_long_value_is_known_by_its_digest():
    long = HASHER.long("x" * 10_000)
    assert HASHER.value(long) == HASHER.value(Long(long.digest))
    assert HASHER.value(long).kind == "x"


@given(SCALARS)
def test_every_value_has_hashes_of_one_form(value):
    found = HASHER.value(value)
    for text in (found.exact, *([found.loose] if found.loose else [])):
        assert text.startswith("h")
        assert len(text) == 17
        assert canonical(text) == text, "a hash is its own form in a tag"
    assert HASHER.value(value) == found


@given(st.text(), st.text())
def test_exact_hashes_tell_texts_apart(left, right):
    if HASHER.value(left).kind == "s" == HASHER.value(right).kind:
        assert (HASHER.value(left).exact == HASHER.value(right).exact) == (left == right)


@given(SCALARS, SCALARS)
def test_loose_hashes_meet_where_tags_do(left, right):
    one, other = HASHER.value(left), HASHER.value(right)
    if one.loose and other.loose:
        assert (one.loose == other.loose) == (canonical(left) == canonical(right))
