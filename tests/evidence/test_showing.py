"""What may be shown, and from when on."""

import pytest

from cachewright.evidence.showing import Showing, is_private


def test_a_value_is_shown_once_three_people_used_it():
    showing = Showing()
    uses = [("a", "x"), ("a", "x"), (None, "x"), ("b", "x"), ("c", "x"), ("d", "x")]
    assert [showing.admits("query.sort", "str", text, text, person) for person, text in uses] == [
        *[False] * 4,
        True,
        False,
    ]


def test_values_of_listed_types_are_shown_at_once():
    assert Showing().admits("query.status", "enum", "h1", "open", None)
    assert Showing().admits("query.active", "bool", "h2", "true", None)


@pytest.mark.parametrize("text", ["", "a b", "a@b", "x" * 33, "ä", "a\nb"])
def test_only_short_plain_texts_are_shown(text):
    assert not Showing().admits("query.status", "enum", "h1", text, None)


@pytest.mark.parametrize(
    "name",
    [
        "query.q",
        "query.search",
        "query.searchTerm",
        "query.user_email",
        "query.emailAddress",
        "query.phone",
        "query.firstName",
        "path.username",
        "header.authorization",
        "header.x-api-key",
        "cookie.sessionid",
        "query.access_token",
        "query.password",
        "query.code",
        "query.apikey",
        "host",
    ],
)
def test_private_names_are_never_shown(name):
    assert is_private(name)
    assert not Showing().admits(name, "enum", "h1", "open", None)


@pytest.mark.parametrize(
    "name", ["query.status", "query.page", "query.sort_by", "header.accept-language", "path.id"]
)
def test_ordinary_names_are_not_private(name):
    assert not is_private(name)


def test_names_that_carry_an_identity_are_withheld():
    assert not Showing(frozenset({"header.x-tenant"})).admits("header.x-tenant", "enum", "h1", "acme", None)


def test_memory_is_bounded_for_names_and_values():
    showing = Showing()
    for number in range(1_000):
        showing.admits(f"query.f{number}", "str", "h", "x", "a")
        showing.admits("query.g", "str", f"h{number}", "x", "a")
    assert len(showing._users) <= 500
    assert max(map(len, showing._users.values())) <= 200
