"""Numbers and their nouns."""

import pytest

from cachewright.spec.words import count


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(1, "key", "1 key"), (2, "key", "2 keys"), (0, "query", "0 queries"), (2000, "route", "2,000 routes")],
)
def test_a_number_and_its_noun_agree(number, noun, text):
    assert count(number, noun) == text
