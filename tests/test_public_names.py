"""What `cachewright` offers by name is there."""

import pytest

import cachewright


@pytest.mark.parametrize("name", cachewright.__all__)
def test_a_public_name_resolves_and_says_what_it_is(name):
    assert getattr(cachewright, name).__doc__
    assert name in dir(cachewright)


def test_every_name_that_is_found_is_public():
    assert set(cachewright._HOMES) == set(cachewright.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = cachewright.no_such_name
