"""The request's own block, mixtures of lists and mappings included, is read; what was changed for that is said."""

from pathlib import Path

import pytest

from cachewright.errors import SpecError
from cachewright.spec.document import dumps_spec, load_spec, loads_spec

LITERAL = Path(__file__).parent / "literal_shape.yaml"
ROOT = "caching_specification:\n"


@pytest.mark.requirement("C5", "C6")
def test_the_literal_block_is_read_whole():
    spec = load_spec(LITERAL).spec
    assert [target.kind for target in spec.cache_targets] == ["endpoint", "database_query", "computed_data"]
    assert spec.invalidation.rules[0].operation == "create"
    assert spec.invalidation.triggers[0].table == "tasks"
    assert spec.invalidation.triggers[1].time_based.ttl_check is True
    assert spec.invalidation.versioning.version_field == "updated_at"
    assert spec.cache_warming.enabled is True
    assert spec.cache_warming.strategies[0].type == "on_startup"
    assert spec.cache_warming.on_startup.queries[0].params == {"limit": 50}
    assert spec.cache_warming.scheduled.execution_window == "02:00-04:00 UTC"
    assert spec.cache_warming.predictive.behavior_pattern == "mornings"
    assert spec.cache_warming.monitoring.progress_threshold == 0.5
    assert spec.metrics.health.memory_pressure == "low"
    assert spec.alerts.cache_unavailable.action == ("fallback_to_db",)
    assert spec.configuration.redis.cluster.replicas == ("10.0.0.5:6379",)


@pytest.mark.requirement("C5")
def test_what_was_changed_in_the_literal_block_is_said_with_its_lines():
    said = load_spec(LITERAL).normalised
    lines = LITERAL.read_text().splitlines()
    for section in ("invalidation", "cache_warming"):
        number = lines.index(f"  {section}:") + 1
        assert f"line {number}: {section} mixes list items and keys; read as a list" in said


def test_places_in_mended_lines_are_those_of_the_file():
    document = load_spec(LITERAL)
    lines = LITERAL.read_text().splitlines()
    line, column = document.position(("invalidation", "versioning", "version_field"))
    assert lines[line - 1][column - 1 :].startswith("version_field:")
    line, column = document.position(("cache_warming", "monitoring", "track_warming"))
    assert lines[line - 1][column - 1 :].startswith("track_warming:")


def test_an_error_in_a_mended_block_has_its_place_in_the_file():
    text = LITERAL.read_text().replace("version_field:", "version_feild:")
    line = next(n for n, found in enumerate(text.splitlines(), 1) if "version_feild" in found)
    with pytest.raises(SpecError) as caught:
        loads_spec(text, "caching.yaml")
    assert (caught.value.line, caught.value.column) == (line, 7)
    assert "did you mean `version_field`?" in caught.value.hint


def test_what_was_read_is_written_in_a_shape_that_needs_no_tolerance():
    spec = load_spec(LITERAL).spec
    again = loads_spec(dumps_spec(spec))
    assert again.spec == spec
    assert again.normalised == ()


def test_only_a_block_that_is_no_yaml_is_mended():
    text = f'{ROOT}  x-note: |\n    invalidation:\n      - a\n      b: c\n  meta: {{version: "1.0.0"}}\n'
    document = loads_spec(text)
    assert document.normalised == ()
    assert document.spec.extensions["x-note"] == "invalidation:\n  - a\nb: c\n".replace("b:", "  b:")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ROOT + "  x-a: " + "[" * 100_000, id="nesting"),
        pytest.param(ROOT + "  x-a: '" + "a" * 50_000_000 + "'", id="50 MB in one value"),
        pytest.param(ROOT + "  x-a:\n" + "  - a\n" * 8_000_000, id="50 MB of items"),
        pytest.param("#" * 20_000_000, id="50 MB of comment"),
        pytest.param(ROOT + "  x-a: " + "9" * 900_000, id="a huge integer"),
        pytest.param(
            ROOT
            + "  x-a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"  x-{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
            ),
            id="aliases",
        ),
    ],
)
def test_bombs_are_refused_for_little_work(text):
    with pytest.raises(SpecError):  # before the time limit of tests is over, which reading them would not be
        loads_spec(text)


@pytest.mark.parametrize(
    "content", ["\ufeffa: ä".encode("utf-16"), b"caching_specification: \xff", b"\x00" * 9_000_000]
)
def test_files_that_are_no_utf8_text_are_refused(tmp_path, content):
    path = tmp_path / "caching.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert caught.value.path == str(path)
