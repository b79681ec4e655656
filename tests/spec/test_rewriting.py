"""Texts made to say something else: what is equal stays to the letter, what differs is right."""

import difflib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright.spec.document import dumps_spec, loads_spec
from cachewright.spec.model import CachingSpecification
from cachewright.spec.rewriting import rewritten

TEXT = """\
# ours, reviewed in May
caching_specification:
  namespace: todo   # short
  identity: {user: "claim:sub"}
  cache_strategy:
    ttl:
      duration_seconds: 300 # five minutes
    compression: {enabled: true, algorithm: gzip}

  # the lists
  cache_targets:
  - endpoint: GET /tasks     # hot
    cache_key_pattern: user:{user_id}:tasks
    scope: user
    # why
    depends_on: [tasks]
  - endpoint: GET /labels
    cache_key_pattern: labels
    scope: public
    depends_on:
    - labels   # names
    - colors

  # the end
  alerts:
    low_hit_rate: {enabled: true}
"""

OURS = loads_spec(TEXT)
DUMPED = loads_spec(dumps_spec(OURS.spec))


def changed(change, text=TEXT):
    """What `change` of the plain data does to the text: its lines that are gone, and those that came."""
    document = loads_spec(text)
    plain = document.spec.model_dump()
    change(plain)
    spec = CachingSpecification.model_validate(plain)
    found = rewritten(document, spec)
    assert loads_spec(found.text).spec == spec
    lines = list(difflib.ndiff(text.splitlines(), found.text.splitlines()))
    gone, came = ([line[2:] for line in lines if line[0] == mark] for mark in "-+")
    return found.kept, gone, came


@pytest.mark.requirement("#8", "#9")
def test_a_value_changes_and_its_comment_stays():
    def change(plain):
        plain["cache_strategy"]["ttl"]["duration_seconds"] = 60

    assert changed(change) == (
        True,
        ["      duration_seconds: 300 # five minutes"],
        ["      duration_seconds: 60 # five minutes"],
    )


def test_what_was_not_written_is_added_where_a_specification_has_it():
    def change(plain):
        plain["cache_strategy"]["eviction_policy"]["max_items"] = 60
        plain["cache_targets"][0]["levels"] = ["l1"]
        plain["alerts"]["low_hit_rate"]["action"] = ["warn", "alert"]

    assert changed(change) == (
        True,
        ["    low_hit_rate: {enabled: true}"],
        [
            "    eviction_policy:",
            "      max_items: 60",
            "    levels: [l1]",
            "    low_hit_rate: {enabled: true, action: [warn, alert]}",
        ],
    )


def test_targets_come_behind_the_others_and_go_alone():
    def change(plain):
        _, second = plain["cache_targets"]
        third = {**second, "endpoint": "GET /colors", "cache_key_pattern": "colors"}
        plain["cache_targets"] = [second, third]

    kept, gone, came = changed(change)
    assert kept
    assert gone[0] == "  - endpoint: GET /tasks     # hot"
    assert came[0] == "  - endpoint: GET /colors"
    assert not {"    - labels   # names", "  # the lists", "  # the end"} & set(gone)


def test_items_of_a_list_come_and_go():
    def more(plain):
        plain["cache_targets"][1]["depends_on"] = ["labels", "colors", "sizes"]

    def less(plain):
        plain["cache_targets"][1]["depends_on"] = ["labels"]

    assert changed(more) == (True, [], ["    - sizes"])
    assert changed(less) == (True, ["    - colors"], [])


def test_a_field_goes_back_to_what_is_usual():
    def change(plain):
        plain["cache_targets"][0].pop("depends_on")
        plain["cache_targets"][0]["max_staleness_seconds"] = 5

    assert changed(change) == (True, ["    depends_on: [tasks]"], ["    max_staleness_seconds: 5"])


def test_line_ends_stay():
    document = loads_spec(TEXT.replace("\n", "\r\n"))
    spec = document.spec.model_copy(update={"generator": "somebody"})
    found = rewritten(document, spec)
    assert found.kept
    assert found.text.count("\r\n") == found.text.count("\n") == TEXT.count("\n") + 1


def test_what_an_anchor_shares_is_not_changed_for_the_other():
    text = TEXT.replace("depends_on: [tasks]", "depends_on: &tables [tasks]").replace(
        "    depends_on:\n    - labels   # names\n    - colors\n", "    depends_on: *tables\n"
    )

    def change(plain):
        plain["cache_targets"][0]["depends_on"] = ["users"]

    kept, _, _ = changed(change, text)
    assert not kept


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_change_of_a_written_specification_is_right_and_loses_no_comment(data):
    def change(plain):
        strategy = plain["cache_strategy"]
        seconds = st.integers(1, 9999)
        strategy["ttl"]["duration_seconds"] = data.draw(seconds)
        strategy["ttl"]["max_duration_seconds"] = data.draw(st.none() | st.integers(9999, 99999))
        strategy["eviction_policy"]["type"] = data.draw(st.sampled_from(["lru", "lfu", "fifo", "ttl"]))
        tags = st.lists(st.sampled_from(["tasks", "labels", "users(id={user_id})", "colors"]), unique=True)
        for target in plain["cache_targets"]:
            target["depends_on"] = data.draw(tags)
            target["name"] = target["endpoint"] + data.draw(
                st.sampled_from(["", ": two", " # three", "'", '"', "é"])
            )
            target["bypass_when"] = data.draw(st.just([]) | st.just(["query.due == 'overdue'"]))
        new = st.fixed_dictionaries(
            {"endpoint": st.sampled_from(["GET /a", "GET /b"]), "scope": st.just("public")}
        )
        plain["cache_targets"] = [
            *plain["cache_targets"],
            *data.draw(st.lists(new, max_size=2, unique_by=lambda each: each["endpoint"])),
        ]

    plain = OURS.spec.model_dump()
    change(plain)
    spec = CachingSpecification.model_validate(plain)
    written = data.draw(st.sampled_from([OURS, DUMPED]))
    found = rewritten(written, spec)  # that it says what it should is what `kept` stands for
    assert found.kept
    if written is OURS:
        for comment in (
            "# ours, reviewed in May",
            "# short",
            "# five minutes",
            "# the lists",
            "# hot",
            "# the end",
        ):
            assert comment in found.text
