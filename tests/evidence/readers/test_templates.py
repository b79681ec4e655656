"""Routes of raw paths."""

from cachewright.evidence.readers.templates import MOST_NAMES, Declared, Inferred


def test_what_looks_like_a_value_is_a_parameter():
    paths = [
        "/api/tasks/17",
        "/api/tasks/9",
        "/u/0b0e3a52-9c7d-4e0e-9d0e-2f0b6a0f2f1a",
        "/reset/Zk3bTq81LmPw02Xy",
        "/mail/a@b.org",
    ]
    found = Inferred(paths)
    assert found.match("/api/tasks/17") == ("/api/tasks/{id}", {"id": "17"})
    assert [found.match(path)[0] for path in paths[2:]] == ["/u/{id}", "/reset/{id}", "/mail/{id}"]


def test_many_in_one_place_are_values_and_what_stands_below_them_meets():
    paths = [f"/shops/{name * 3}/orders" for name in "abcdefghijklmnopqrstuvwxyz"]
    found = Inferred(paths)
    assert {found.match(path)[0] for path in paths} == {"/shops/{id}/orders"}


def test_few_in_one_place_are_names():
    paths = [f"/api/{name}" for name in "abcdefghijklmnopqrst"[:MOST_NAMES]]
    found = Inferred(paths)
    assert [found.match(path) for path in paths] == [(path, {}) for path in paths]


def test_a_name_among_values_stays_one():
    paths = [f"/users/{name * 3}" for name in "abcdefghijklmnopqrstuvwxyz"] + ["/users/me"] * 20
    found = Inferred(paths)
    assert found.match("/users/me") == ("/users/me", {})
    assert found.match("/users/aaa") == ("/users/{id}", {"id": "aaa"})


def test_several_parameters_and_the_last_slash():
    found = Inferred(["/a/1/b/2/", "/a/1/b/2"])
    assert found.match("/a/1/b/2/") == ("/a/{id}/b/{id2}/", {"id": "1", "id2": "2"})
    assert found.match("/a/1/b/2")[0] == "/a/{id}/b/{id2}"
    assert Inferred(["/"]).match("/") == ("/", {})


def test_a_declared_name_goes_before_a_declared_parameter():
    declared = Declared(["/users/{id}", "/users/me", "/{kind}/me"])
    assert declared.match("/users/me") == ("/users/me", {})
    assert declared.match("/users/7") == ("/users/{id}", {"id": "7"})
    assert declared.match("/teams/me") == ("/{kind}/me", {"kind": "teams"})
    assert declared.match("/users/7/x") is None
