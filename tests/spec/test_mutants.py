"""Mutilated specifications: what is wrong has its place, and a word on what to do; what is read can be used."""

import contextlib
import random

import pytest

from cachewright.checks import check
from cachewright.checks.fixing import fixed
from cachewright.errors import SpecError
from cachewright.spec.difference import difference
from cachewright.spec.document import dumps_spec, loads_spec

TEXT = """\
caching_specification:
  namespace: todo
  identity: {user: "claim:sub"}
  cache_targets:
    - endpoint: GET /tasks
      cache_key_pattern: user:{user_id}:tasks:page={page}
      scope: user
      levels: [l1, l2]
      depends_on: [tasks]
      strategy:
        ttl: {duration_seconds: 60}
    - database_query: SELECT 1
      name: one
      cache_key_pattern: one
  cache_strategy:
    pattern: cache_through
    compression: {enabled: true, algorithm: gzip}
  invalidation:
    rules:
      - operation: update
        invalidate_patterns: [tasks]
        scope: pattern
  alerts:
    low_hit_rate: {enabled: true, threshold: 0.5, action: [warn, alert]}
"""
PIECES = (
    "null", "[]", "{}", "-1", "1e309", "true", "[a, b]", "{a: b}", "!!set x", "&a [*a]", "*a", "- -", "\t", "{", "'",
    '"', "é", "2026-01-01", "9" * 30, "<<: *a", "|", ": ", "# ", "GET /a", "tasks(a={b},c={*})", "0x10", "1:30",
)  # fmt: skip
WHOLE = loads_spec(TEXT)


def mutant(seed):
    """The text with one or two small wounds."""
    dice = random.Random(seed)
    text = TEXT
    for _ in range(dice.randint(1, 2)):
        lines = text.split("\n")
        at = dice.randrange(len(lines))
        line = lines[at]
        match dice.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, dice.choice(lines))
            case 2:
                lines[at] = f"{line.partition(':')[0]}: {dice.choice(PIECES)}"
            case 3:
                place = dice.randrange(len(line) + 1)
                lines[at] = line[:place] + dice.choice(PIECES) + line[place:]
            case _:
                lines[at] = " " * dice.randrange(8) + line.lstrip()
        text = "\n".join(lines)
    return text


def read(text):
    """The specification of `text`, or the error that it is refused with."""
    try:
        return loads_spec(text, "mutant.yaml")
    except SpecError as error:
        return error


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_a_mutant_is_refused_with_its_place_and_a_way_out_or_can_be_used(first):
    for seed in range(first, first + 50):
        text = mutant(seed)
        lines = text.count("\n") + 1
        found = read(text)
        if isinstance(found, SpecError):
            assert found.line is not None, text
            assert 1 <= found.line <= lines, text
            assert found.column is not None, text
            assert found.hint or found.detail.startswith("not valid YAML"), (found.detail, text)
            continue
        assert loads_spec(dumps_spec(found.spec)).spec == found.spec
        findings = check(found)
        assert all(finding.line is None or 1 <= finding.line <= lines for finding in findings)
        left = {(finding.code, finding.message) for finding in check(fixed(found).document) if finding.fix}
        assert left <= {(finding.code, finding.message) for finding in findings}
        with contextlib.suppress(SpecError):  # says why it cannot be executed
            difference(WHOLE, found)
