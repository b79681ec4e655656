"""Specifications as files: places, errors, tolerant reading, and the same again after writing."""

import contextlib

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cachewright.errors import SpecError
from cachewright.spec.document import dumps_spec, load_spec, loads_spec
from cachewright.spec.model import CachingSpecification

EXAMPLE = """\
# a comment
caching_specification:
  namespace: todo
  cache_targets:
  - endpoint: GET /api/tasks
    scope: user
    levels: [l1, l2]
    strategy: {ttl: {duration_seconds: null}}
  - database_query: |
      SELECT *
        FROM tasks
    complexity: low
"""


def error_of(text):
    with pytest.raises(SpecError) as caught:
        loads_spec(text, "caching.yaml")
    assert caught.value.path == "caching.yaml"
    return caught.value


def test_every_value_has_its_place():
    document = loads_spec(EXAMPLE)
    assert document.position(("namespace",)) == (3, 3)
    assert document.position(("cache_targets", 0)) == (5, 5)
    assert document.position(("cache_targets", 0, "scope")) == (6, 5)
    assert document.position(("cache_targets", 0, "levels", 1)) == (7, 18)
    assert document.position(("cache_targets", 1, "complexity")) == (12, 5)


def test_a_field_that_is_not_in_the_file_has_the_place_of_what_is_around_it():
    document = loads_spec(EXAMPLE)
    assert document.position(("cache_targets", 0, "percent")) == (5, 5)
    assert document.position(("alerts", "low_hit_rate")) == document.position(())


def test_a_file_is_read_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "caching.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.encode())
    document = load_spec(path)
    assert document.spec.namespace == "todo"
    assert document.path == str(path)


@pytest.mark.parametrize("text", ["caching_specification:\n", "caching_specification: {}\n"])
def test_nothing_below_the_root_is_the_empty_specification(text):
    assert loads_spec(text).spec == CachingSpecification()


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 1, 1, "empty"),
        ("# nothing\n", 1, 1, "empty"),
        ("- a\n", 1, 1, "mapping"),
        ("text\n", 1, 1, "mapping"),
        ("namespace: a\n", 1, 1, "missing"),
        ("{}\n", 1, 1, "missing"),
        ("caching_specification: {}\nother: 1\n", 2, 1, "unknown key `other`"),
        ("caching_specification: {}\ncaching_specification: {}\n", 2, 1, "twice"),
        ("caching_specification:\n  namespace: a\n  namespace: b\n", 3, 3, "twice"),
        ("caching_specification:\n  meta: [\n", 3, 1, "not valid YAML"),
        ("caching_specification:\n\tmeta: 1\n", 2, 1, "not valid YAML"),
        ("caching_specification: {}\n---\na: 1\n", 2, 1, "single document"),
        ("caching_specification: &a [*a]\n", 1, 24, "contains itself"),
        ("caching_specification: !!python/name:os.system x\n", 1, 24, "python"),
        ("caching_specification: *a\n", 1, 24, "undefined alias"),
        ('caching_specification: "\x07"\n', 1, 25, "U+0007"),
        ("caching_specification: {? [a] : b}\n", 1, 27, "plain text"),
        ("[" * 700, 1, 1, "deep"),
        (
            "caching_specification:\n  metrics:\n    performance: 3\n",
            3,
            5,
            "expected a mapping, found the number 3",
        ),
        ("caching_specification:\n  cache_targets:\n    a: 1\n", 2, 3, "expected a list, found a mapping"),
        ("caching_specification:\n  enabled: yes\n", 2, 3, "expected true or false"),
        ("caching_specification:\n  meta: {version: 2024-01-01}\n", 2, 10, "not a version"),
        (
            "caching_specification:\n  invalidation: {rules: [{operation: create}]}\n",
            2,
            26,
            "`invalidate_patterns` is missing",
        ),
    ],
)
def test_errors_name_their_place(text, line, column, words):
    error = error_of(text)
    assert (error.line, error.column) == (line, column)
    assert words in error.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("caching_specification:\n  cache_stratgy: {}\n", "did you mean `cache_strategy`?"),
        (
            "caching_specification:\n  cache_strategy: {ttl: {duration_secnds: 3}}\n",
            "did you mean `duration_seconds`?",
        ),
        (
            "caching_specification:\n  cache_targets:\n  - endpoint: GET /a\n    scope: pubic\n",
            "did you mean `public`?",
        ),
        (
            "caching_specification:\n  cache_strategy: {ttl: {duration_seconds: 0}}\n",
            "null for no expiration",
        ),
        ("caching_specification:\n  cache_warming: {monitoring: {progress_threshold: 90}}\n", "90 % is 0.9"),
        ("caching_specification:\n  zzz: 1\n", "allowed: meta, "),
        ("skill: backend-caching\ninputs: {}\n", "--request"),
        ("cache_targets: []\n", "first line"),
        ("caching_specificaton: {}\n", "did you mean `caching_specification`?"),
    ],
)
@pytest.mark.requirement("#179")
def test_errors_say_what_to_do_next(text, hint):
    assert hint in (error_of(text).hint or "")


def test_allowed_values_are_listed():
    error = error_of("caching_specification:\n  cache_strategy: {pattern: magic}\n")
    assert "cache_through, cache_aside, write_through, write_back" in error.message


def test_the_first_problem_in_the_file_is_raised_and_the_others_are_counted():
    error = error_of(
        "caching_specification:\n  metrics: 1\n  meta: {version: x}\n  cache_targets: [{a: 1}]\n  alerts: 2\n"
    )
    assert error.line == 2
    assert "3 more problems" in (error.hint or "")


def test_one_wrong_action_is_one_problem():
    error = error_of("caching_specification:\n  alerts: {low_hit_rate: {action: explode}}\n")
    assert error.hint is None or "more" not in error.hint


@pytest.mark.requirement("#294")
def test_a_secret_is_never_repeated_in_an_error():
    for key in ("password_env_var", "password"):
        error = error_of(f"caching_specification:\n  configuration: {{redis: {{{key}: hunter2}}}}\n")
        assert "hunter2" not in str(error)
        assert error.__cause__ is None


def test_files_that_cannot_be_read_are_spec_errors(tmp_path):
    broken = tmp_path / "latin.yaml"
    broken.write_bytes(b"caching_specification:\n  namespace: caf\xe9\n")
    with pytest.raises(SpecError) as caught:
        load_spec(broken)
    assert (caught.value.line, caught.value.column) == (2, 17)
    for path in (tmp_path / "absent.yaml", tmp_path, "a\0b"):
        with pytest.raises(SpecError, match="cannot be read"):
            load_spec(path)


def test_anchors_and_merge_keys_are_understood_and_bounded():
    text = """\
caching_specification:
  x-common: &common {scope: user, mode: shadow}
  cache_targets:
  - {<<: *common, endpoint: GET /a, mode: live}
"""
    target = loads_spec(text).spec.cache_targets[0]
    assert (target.scope, target.mode) == ("user", "live")
    bomb = "caching_specification:\n  x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for level in range(1, 9):
        bomb += f"  x-{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert "values" in error_of(bomb).message


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        (
            "invalidation:\n  - {operation: UPDATE, invalidate_patterns: [a]}\n",
            ("invalidation", "rules", 0, "operation"),
            "update",
        ),
        (
            "invalidation:\n  - triggers: [{time_based: [{schedule: 5m}, {ttl_check: true}]}]\n",
            ("invalidation", "triggers", 0, "time_based", "schedule"),
            "5m",
        ),
        (
            "alerts:\n  - low_hit_rate:\n    threshold: 0.4\n  - slow_operations: {threshold_ms: 3}\n",
            ("alerts", "low_hit_rate", "threshold"),
            0.4,
        ),
        ("metrics:\n  - performance:\n    hit_rate: 0.9\n", ("metrics", "performance", "hit_rate"), 0.9),
        (
            "cache_strategy: {eviction_policy: {type: LFU}}\n",
            ("cache_strategy", "eviction_policy", "type"),
            "lfu",
        ),
        (
            "cache_warming: {strategies: [{strategy: {type: user-specific}}]}\n",
            ("cache_warming", "strategies", 0, "type"),
            "user_specific",
        ),
        (
            "cache_warming: {predictive: [{user_based: true}, {behavior_pattern: b}]}\n",
            ("cache_warming", "predictive", "behavior_pattern"),
            "b",
        ),
        ("alerts: {low_hit_rate: {action: WARN}}\n", ("alerts", "low_hit_rate", "action", 0), "warn"),
    ],
)
@pytest.mark.requirement("C5", "C6")
def test_the_requests_literal_shapes_are_read_and_noted(text, path, value):
    body = "".join(f"  {line}\n" for line in text.splitlines())
    document = loads_spec(f"caching_specification:\n{body}")
    found = document.spec
    for part in path:
        found = found[part] if isinstance(part, int) else getattr(found, part)
    assert found == value
    assert document.normalised
    assert all(note.startswith("line ") for note in document.normalised)
    assert loads_spec(dumps_spec(document.spec)).normalised == ()


def test_what_needs_no_tolerance_gets_no_note():
    assert loads_spec(EXAMPLE).normalised == ()


def test_the_written_file_is_readable():
    text = dumps_spec(loads_spec(EXAMPLE).spec)
    assert "      levels: [l1, l2]\n" in text
    assert "    - database_query: |\n        SELECT *\n          FROM tasks\n" in text
    assert "          duration_seconds: null\n" in text
    assert all(line == line.rstrip() for line in text.splitlines())


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    [
        "yes",
        "no",
        "null",
        "~",
        "1",
        "1.0",
        "0o7",
        "010",
        "12:30",
        "2024-01-01",
        "a: b",
        "- a",
        "#x",
        " a ",
        "a\nb",
        "a\n b\n",
        "\n",
        "=",
        "<<",
        "1e3",
        "F012",
        "é\u2028",
        "{a}",
        "'\"",
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
extensions = st.dictionaries(st.from_regex(r"x-[a-z]{1,4}", fullmatch=True), plain, max_size=2)
override = st.fixed_dictionaries(
    {},
    optional={
        "ttl": st.fixed_dictionaries({}, optional={"duration_seconds": st.none() | st.integers(1, 200)}),
        "eviction_policy": st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(["lru", "lfu", "fifo", "ttl"]),
                "max_items": st.none() | st.integers(1),
            },
        ),
        "compression": st.fixed_dictionaries(
            {}, optional={"enabled": st.booleans(), "threshold_bytes": st.integers(0)}
        ),
    },
)
common = {
    "scope": st.none() | st.sampled_from(["public", "tenant", "user", "credential"]),
    "levels": st.lists(st.sampled_from(["l1", "l2", "l3", "l4"]), unique=True),
    "strategy": override,
    "depends_on": st.lists(texts, max_size=3),
    "because": st.lists(texts, max_size=3),
    "bypass_when": st.lists(texts, max_size=2),
    "max_staleness_seconds": st.integers(0),
    "percent": st.integers(0, 100),
    "cache_key_pattern": texts,
    "mode": st.sampled_from(["live", "shadow", "off"]),
}
targets = st.one_of(
    st.fixed_dictionaries(
        {"endpoint": st.sampled_from(["/a", "GET /b/{id}", "POST /é"])},
        optional={**common, "avg_query_time_ms": st.floats(0, 1e9)},
    ),
    st.fixed_dictionaries({"database_query": texts}, optional={**common, "execution_count": st.integers(0)}),
    st.fixed_dictionaries(
        {"computed_data": texts}, optional={**common, "computation_cost_ms": st.integers(0, 10**9)}
    ),
)
query = st.fixed_dictionaries(
    {"name": texts}, optional={"params": st.dictionaries(texts, plain, max_size=3), "key_pattern": texts}
)
specifications = st.fixed_dictionaries(
    {},
    optional={
        "namespace": st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True),
        "meta": st.fixed_dictionaries(
            {},
            optional={
                "feature_spec": texts,
                "generated_at": st.datetimes(timezones=st.timezones()).map(lambda t: t.isoformat()),
                "sources": st.lists(texts, max_size=2),
            },
        ),
        "cache_targets": st.lists(st.builds(lambda a, b: a | b, targets, extensions), max_size=3),
        "invalidation": st.fixed_dictionaries(
            {},
            optional={
                "rules": st.lists(
                    st.fixed_dictionaries(
                        {
                            "operation": st.sampled_from(["create", "update", "delete", "bulk_update"]),
                            "invalidate_patterns": st.lists(texts, max_size=3),
                        }
                    ),
                    max_size=2,
                )
            },
        ),
        "cache_warming": st.fixed_dictionaries(
            {}, optional={"on_startup": st.fixed_dictionaries({"queries": st.lists(query, max_size=2)})}
        ),
        "alerts": st.fixed_dictionaries(
            {
                "low_hit_rate": st.fixed_dictionaries(
                    {"threshold": st.floats(0, 1)},
                    optional={"action": st.sampled_from(["warn", ["alert"], ["warn", "disable_caching"]])},
                )
            }
        ),
        "metrics": st.fixed_dictionaries(
            {"operations": st.fixed_dictionaries({"get_operations_per_second": st.floats(0, 1e12)})}
        ),
    },
)


@settings(deadline=None, max_examples=60)
@given(specifications, extensions)
@pytest.mark.requirement("#179")
def test_load_dump_load_is_identical(data, own):
    try:
        spec = CachingSpecification.model_validate({**data, **own})
    except ValidationError:
        assume(False)
    text = dumps_spec(spec)
    document = loads_spec(text)
    assert document.spec == spec
    assert document.normalised == ()
    assert dumps_spec(document.spec) == text


@settings(deadline=None, max_examples=60)
@given(specifications)
@pytest.mark.requirement("#179")
def test_another_yaml_reader_understands_what_we_write(data):
    try:
        spec = CachingSpecification.model_validate(data)
    except ValidationError:
        assume(False)
    read = yaml.safe_load(dumps_spec(spec))["caching_specification"]
    assert CachingSpecification.model_validate(read) == spec


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60) | st.text("caching_specifion: \n-[]{}&*!|>'\"%@`#,?~<=", max_size=60))
def test_no_text_gives_anything_but_a_document_or_a_spec_error(text):
    places = []
    for candidate in (text, f"caching_specification:\n  {text}", f"caching_specification: {text}"):
        with contextlib.suppress(SpecError):
            places.append(loads_spec(candidate).position(()))
    assert None not in places
