"""Keys, tags, patterns and lifetimes as callers write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright import UsageError, key
from cachewright.runtime.naming import LONGEST, collection, lifetime, name_of, safe, tags_of
from cachewright.runtime.stores.base import belongs

TEXT = st.text(st.sampled_from("ab:%~2*?[]{}\\ \0é\ud800"), min_size=1, max_size=6)


@given(TEXT, TEXT)
def test_different_texts_stay_different_and_nothing_in_them_structures_a_pattern(one, other):
    assert (safe(one, "key") == safe(other, "key")) == (one == other)
    assert not set(safe(one, "key")) & set("*?[]{}\\ \0")


@pytest.mark.parametrize("text", ["user:7:tasks", "perm:%n:a%3Ab", "tasks(user_id=7)", "Größe", "a%20b"])
def test_what_needs_no_escape_stays_as_it_is(text):
    assert safe(text, "key") == text


def test_long_keys_end_in_a_digest_and_keep_whose_they_are():
    one, other = (name_of(f"tenant:a:user:7:{'x' * 5000}{end}") for end in "12")
    assert one.key != other.key
    assert len(one.key) <= LONGEST
    assert (one.tenant, one.user) == ("a", "7")


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("rates", []),
        ("user:7", ["user:7"]),
        ("user:7:tasks:page=1", ["user:7", "user:7:tasks"]),
        ("tenant:a:user:7:tasks", ["tenant:a", "tenant:a:user:7", "tenant:a:user:7:tasks"]),
        ("tenant:a:stats:daily", ["tenant:a", "tenant:a:stats"]),
        ("tasks:user:7", []),
        ("tenant:a:tenant:b:x", ["tenant:a", "tenant:a:tenant"]),
        ("tenant", []),
    ],
)
def test_a_key_holds_its_leading_segments_as_tags(text, tags):
    assert list(name_of(text).tags) == ["ns", f"key:{text}", *tags]


@pytest.mark.parametrize(
    "pattern", ["tenant:a:*", "user:7:*", "tenant:a:user:7:*", "user:7:tasks:*", "tenant:a:stats:*"]
)
def test_a_collection_is_a_tag_of_the_keys_in_it(pattern):
    own = collection(pattern).key
    assert own in name_of(f"{own}:page=1").tags
    assert own in name_of(own).tags
    assert own not in name_of(f"{own}0:page=1").tags


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text(":a1%", max_size=3)), min_size=2, max_size=2),
       st.lists(st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text(":a1%", max_size=3)), min_size=2, max_size=2))  # fmt: skip
def test_rendered_keys_are_injective(one, other):
    same = [(type(value), value) for value in one] == [(type(value), value) for value in other]
    assert (key("k:{a}:{b}", a=one[0], b=one[1]) == key("k:{a}:{b}", a=other[0], b=other[1])) == same


@pytest.mark.parametrize(
    ("pattern", "values", "said"),
    [
        ("perm:{user}", {}, "no value for user"),
        ("perm:*", {}, "cannot hold '*'"),
        ("perm:{user}", {"user": object()}, "cannot hold a object"),
    ],
)
def test_what_renders_no_key_is_refused(pattern, values, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        key(pattern, **values)


def test_one_text_is_not_several_tags():
    with pytest.raises(UsageError, match="several"):
        tags_of("user:7")
    assert tags_of(["a", "b", "a"]) == ("a", "b")


def test_lifetimes_are_numbers_over_zero_or_none():
    assert (lifetime(None), lifetime(1), lifetime(0.5)) == (None, 1.0, 0.5)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("e:tenant:a", True),
        ("e:tenant:a:x", True),
        ("e:tenant:ab", False),
        ("e:x:tenant:a", False),
        ("v:tenant:a:user:1", True),
        ("v:key:tenant:a:x", True),
        ("v:tasks(tenant=a)", False),
        ("a:0123abcd:tenant:a:x", True),
        ("a:0123abcd:tenant:b:tenant:a", False),
        ("f:tenant:a", False),
        ("bus", False),
    ],
)
def test_what_belongs_to_a_key_begins_with_it_as_a_whole(name, own):
    assert belongs(name, "tenant:a") is own
