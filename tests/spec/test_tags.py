"""Tags: what meets, what does not, and what a write changes."""

import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.spec.tags import (
    NULL,
    TagTemplate,
    TagTemplateError,
    bulk_tag,
    canonical,
    column_sets,
    disguised_tag,
    hashed_value,
    read_alternatives,
    row_tag,
    write_tags,
)

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    "equal",
    [
        [7, "7", "07", 7.0, "7.0", " 7 ", Decimal(7), "+7"],
        [True, 1, "true", "TRUE", "1"],
        [ID, str(ID), ID.hex, str(ID).upper()],
        [uuid.UUID(int=5), str(uuid.UUID(int=5)), uuid.UUID(int=5).hex],
        ["Alice", "alice", "ALICE ", "Alicé", "ALICE\u0301"],
        [0, "0", "-0", "00", 0.0],
        [-3, "-3", "-03"],
    ],
)
def test_values_a_database_may_hold_equal_meet(equal):
    assert len({canonical(value) for value in equal}) == 1


@pytest.mark.parametrize(
    "value", [1.5, None, b"x", [1], "1e3", float("nan"), float("inf"), Decimal("1e5000"), Decimal("sNaN")]
)
def test_values_of_unknown_equality_have_no_tag(value):
    assert canonical(value) is None


def test_a_number_too_long_to_spell_has_no_tag():
    assert canonical(10**5000) is None


@given(st.text(min_size=1))
def test_canonical_is_idempotent_for_hashes_and_texts(text):
    once = canonical(text)
    if once is not None and not once.startswith("~"):
        assert canonical(once) == once


def test_binding_a_template():
    template = TagTemplate.parse("Tasks( user_id = {user_id} , kind=3 )")

    assert str(template) == "tasks(kind=3,user_id={user_id})"
    assert template.bind({"user_id": "7"}) == ("tasks(kind=3,user_id=7)", "tasks#bulk")
    assert template.bind({}) == ("tasks",), "what cannot be bound is covered by any row"
    assert TagTemplate.parse("tasks").bind({}) == ("tasks",)


@pytest.mark.parametrize("text", ["", "a(b)", "a(b=)", "a(b={c)", "a(b={c},b={d})", "a b", "a(b=x{c})"])
def test_bad_templates_are_refused(text):
    with pytest.raises(TagTemplateError):
        TagTemplate.parse(text)


SETS = column_sets([TagTemplate.parse("t(a={x})"), TagTemplate.parse("t(a={x},b={y})")])


def test_a_read_is_covered_by_any_set_it_pins():
    assert read_alternatives("t", {"a": "1"}, SETS) == {"t", "t(a=1)"}
    assert read_alternatives("t", {"a": "1", "b": "2"}, SETS) == {"t", "t(a=1)", "t(a=1,b=2)"}
    assert read_alternatives("u", {"a": "1"}, SETS) == {"u"}


def test_a_write_changes_old_and_new_rows_of_every_set():
    tags = write_tags("t", [{"a": "1", "b": NULL}, {"a": "2", "b": NULL}], SETS)

    assert tags == {
        "t",
        row_tag("t", {"a": "1"}),
        row_tag("t", {"a": "2"}),
        row_tag("t", {"a": "1", "b": NULL}),
        row_tag("t", {"a": "2", "b": NULL}),
    }


def test_a_set_the_write_cannot_pin_falls_to_bulk():
    assert write_tags("t", [{"a": "1", "b": None}], SETS) == {"t", "t(a=1)", bulk_tag("t")}
    assert write_tags("t", None, SETS) == {"t", bulk_tag("t")}
    assert write_tags("u", [{"a": "1"}], SETS) == {"u"}


ROWS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "2"]), max_size=2)


@given(st.lists(ROWS, min_size=1, max_size=2), ROWS)
def test_a_write_always_reaches_a_reader_of_a_row_it_touched(images, pinned):
    """Whatever tag a reader chose to hold, a write to a row with the values it pinned changes one of them."""
    touched = any(all(image.get(c, v) == v for c, v in pinned.items()) for image in images)
    changed = write_tags("t", [{c: image.get(c) for c in "ab"} for image in images], SETS)
    for tag in read_alternatives("t", pinned, SETS):
        held = {tag} if tag == "t" else {tag, bulk_tag("t")}
        assert not touched or held & changed


SECRETS = frozenset({("logins", "secret")})


@pytest.mark.parametrize(
    ("named", "known"),
    [
        ("logins(secret=S3cret)", f"logins(secret={hashed_value('s3cret')})"),
        ("Logins( SECRET = s3cret )", f"logins(secret={hashed_value('s3cret')})"),
        ("logins(secret=a==)", f"logins(secret={hashed_value('a==')})"),
        ("logins(user_id=7,secret=s)", f"logins(secret={hashed_value('s')},user_id=7)"),
        (f"logins(secret={hashed_value('s')})", f"logins(secret={hashed_value('s')})"),
        ("logins(secret=a%3Db)", "logins"),
        ("logins(secret=a,b)", "logins"),
        ("logins(secret=0.5)", f"logins(secret={hashed_value('0.5')})"),
        ("logins(secret=1e5)", "logins"),
        ("logins(user_id=7)", "logins(user_id=7)"),
        ("logins#bulk", "logins#bulk"),
        ("carts(secret=s)", "carts(secret=s)"),
        ("user:7", "user:7"),
    ],
)
def test_a_secret_in_the_name_of_a_tag_is_hashed(named, known):
    assert disguised_tag(named, SECRETS) == known
