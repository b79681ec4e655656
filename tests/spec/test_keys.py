"""Keys are readable, typed and injective."""

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.spec.keys import (
    ANONYMOUS,
    RESERVED,
    KeyPatternError,
    KeyTemplate,
    UnboundFieldError,
    encode,
    escape,
    resource_literal,
)


@pytest.mark.parametrize(
    ("pattern", "values", "key"),
    [
        (
            "tenant:{tenant_id}:tasks:page:{page}",
            {"tenant_id": "abc123", "page": "1"},
            "tenant:abc123:tasks:page:1",
        ),
        (
            "tenant:{tenant_id}:user:{user_id}:profile",
            {"tenant_id": "abc123", "user_id": "def456"},
            "tenant:abc123:user:def456:profile",
        ),
        (
            "tenant:{tenant_id}:stats:daily:{day}",
            {"tenant_id": "abc123", "day": "2024-01-01"},
            "tenant:abc123:stats:daily:2024-01-01",
        ),
        ("cred:{cred}:tasks", {"cred": ANONYMOUS}, "anon:tasks"),
        ("cred:{cred}:tasks", {"cred": "ab12"}, "cred:ab12:tasks"),
    ],
)
@pytest.mark.requirement("#431", "#432", "#433", "C24")
def test_golden_keys(pattern, values, key):
    assert KeyTemplate.parse(pattern).render(values) == key


class Colour(Enum):
    RED = "red"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=30)
    | st.floats(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def shape(value):
    """Equality that tells types apart, unlike Python's."""
    if isinstance(value, list):
        return ("list", tuple(shape(item) for item in value))
    if isinstance(value, dict):
        return ("dict", frozenset((k, shape(v)) for k, v in value.items()))
    if isinstance(value, Decimal):
        return ("Decimal", str(value))
    if isinstance(value, float):
        return ("float", repr(value))
    return (type(value).__name__, value)


@given(VALUES, VALUES, st.booleans())
@pytest.mark.requirement("#65", "#164", "C33")
def test_encoding_is_injective(one, other, text):
    if text and isinstance(one, uuid.UUID) != isinstance(other, uuid.UUID):
        return  # where a text is expected a UUID is its text
    assert (encode(one, text=text) == encode(other, text=text)) == (shape(one) == shape(other))


@given(st.text(max_size=300), st.booleans())
@pytest.mark.requirement("#65", "#105")
def test_nothing_structural_is_ever_raw(value, text):
    rendered = encode(value, text=text).replace("%", "")
    assert not any(
        character in RESERVED or character.isspace() or not character.isprintable() for character in rendered
    )


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), min_size=2, max_size=2, unique=True))
def test_neighbouring_fields_never_run_into_each_other(pairs):
    template = KeyTemplate.parse("perm:{a}:{b}")
    one, other = (template.render({"a": a, "b": b}) for a, b in pairs)
    assert one != other


def test_ones_of_all_types_differ():
    ones = [1, "1", True, 1.0, Decimal(1), None, "", "None", b"1", [1], ["1"], date(2024, 1, 1), "2024-01-01"]
    assert len({encode(one) for one in ones}) == len(ones)
    assert len({encode(one, text=True) for one in ones}) == len(ones)
    assert encode(Colour.RED) == "red"
    assert encode(datetime(2024, 1, 1, tzinfo=UTC)) != encode(date(2024, 1, 1))


def test_objects_without_a_value_are_refused():
    with pytest.raises(TypeError, match="cannot hold a object"):
        encode(object())


@pytest.mark.requirement("#60")
def test_long_values_keep_a_readable_head():
    assert encode("x" * 500) != encode("x" * 501)
    assert encode("x" * 500).startswith("xxxxxxxx")
    assert len(encode("x" * 500)) < 100


@pytest.mark.requirement("#158", "#161", "C32")
def test_a_missing_field_is_never_guessed():
    with pytest.raises(UnboundFieldError):
        KeyTemplate.parse("user:{user_id}:tasks").render({})


@pytest.mark.requirement("#162", "#163", "#284", "#288")
def test_prefixes_go_from_scope_to_resource():
    template = KeyTemplate.parse("tenant:{tenant_id}:user:{user_id}:tasks:page={page}")
    values = {"tenant_id": "a", "user_id": "1", "page": "2"}

    assert template.prefixes(values) == ("tenant:a", "tenant:a:user:1", "tenant:a:user:1:tasks")
    assert KeyTemplate.parse("tasks:page={page}").prefixes(values) == ()


@pytest.mark.parametrize("pattern", ["", " a", "a::b", "a:{}", "a:{b", "a*", "user:{user_id}", "a b"])
@pytest.mark.requirement("#35", "#187")
def test_bad_patterns_are_refused(pattern):
    with pytest.raises(KeyPatternError):
        KeyTemplate.parse(pattern)


def test_resources_are_never_mistaken_for_scopes():
    assert resource_literal("cred") == "%63red"
    assert resource_literal("tasks") == "tasks"
    assert escape("a:b") == "a%3Ab"
