"""A specification reviewed after it ran."""

import pytest

from cachewright.design.review import review
from cachewright.jobs.reviewing import review as looked_back
from cachewright.spec.document import loads_spec

SPEC = """\
caching_specification:
  namespace: todo   # one per service
  cache_targets:
  # what everybody looks at
  - endpoint: GET /tasks
    cache_key_pattern: tasks
    depends_on: [tasks]
  - endpoint: GET /news
    cache_key_pattern: news
    scope: public   # for all
    depends_on: [news]
"""
DOCUMENT = loads_spec(SPEC)


def counted(hits, misses, **refused):
    return {
        "lookups": hits + sum(misses.values()),
        "hits": {"l1": hits},
        "misses": misses,
        "refused": refused,
    }


def forecast(low, high):
    return {"routes": [{"route": "GET /tasks", "hit_rate_low": low, "hit_rate_high": high}]}


def test_what_is_as_foreseen_changes_nothing():
    found = review(
        DOCUMENT,
        measured={"GET /tasks": counted(80, {"invalidated": 20})},
        forecast=forecast(0.78, 0.82),
    )
    assert found.remarks == ()
    assert found.diff("caching.yaml") == ""


def test_what_hits_less_than_foreseen_says_why_most_likely():
    found = review(
        DOCUMENT,
        measured={"GET /tasks": counted(50, {"invalidated": 45, "absent": 5})},
        forecast=forecast(0.78, 0.82),
    )
    (remark,) = found.remarks
    assert (remark.kind, remark.proposal) == ("below_forecast", None)
    assert "written more often (invalidated: 45)" in remark.text


def test_what_does_not_pay_is_proposed_for_removal_and_all_else_stays():
    found = review(
        DOCUMENT,
        measured={"GET /news": counted(10, {"absent": 140}), "GET /tasks": counted(1, {"absent": 2})},
    )
    (remark,) = found.remarks
    assert (remark.target, remark.kind) == ("GET /news", "does_not_pay")
    changed = [line for line in found.diff("caching.yaml").splitlines()[2:] if line[:1] in "+-"]
    assert len(changed) == 1
    assert changed[0].startswith("+    mode:")
    assert [item.mode for item in loads_spec(found.after).spec.cache_targets] == ["live", "off"]
    assert "# what everybody looks at" in found.after


def test_a_wrong_answer_is_told_with_its_writer_and_sent_to_the_shadow():
    finding = {
        "kind": "stale",
        "target": "GET /tasks",
        "tables": ["tasks"],
        "writes": [{"by": "POST /import", "tags": ["tasks"]}],
    }
    found = review(DOCUMENT, findings=[finding, {**finding, "writes": []}])
    (remark,) = found.remarks
    assert remark.wrong
    assert "2 answers were stale" in remark.text
    assert "POST /import (1)" in remark.text
    assert [item.mode for item in loads_spec(found.after).spec.cache_targets] == ["shadow", "live"]


def test_a_wrong_answer_without_a_writer_says_where_to_look():
    found = review(
        DOCUMENT, findings=[{"kind": "stale", "target": "GET /news", "tables": ["news"], "writes": []}]
    )
    assert (
        "another program (`cachewright follow` sees its writes), a trigger or the clock"
        in found.remarks[0].text
    )


@pytest.mark.requirement("#21", "#22", "#405")
@pytest.mark.parametrize(
    ("hits", "used", "subjects"),
    [(499, 80, ["hit rate"]), (500, 80, []), (500, 81, ["memory"]), (10, 81, ["hit rate", "memory"])],
)
def test_few_hits_and_full_memory_ask_for_another_design(hits, used, subjects):
    targets = {"GET /a": {"hits": {"l1": hits}, "misses": {"absent": 1000 - hits}}}
    size = {"memory_used_bytes": used, "max_memory_bytes": 100}
    stats = {"targets": targets, "metrics": {"performance": {"hit_rate": hits / 1000}, "cache_size": size}}
    found = looked_back(loads_spec("caching_specification: {}\n"), stats=stats, trace=None, now=None)
    assert [advice["subject"] for advice in found["advice"]] == subjects
