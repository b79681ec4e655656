import json

import pytest
from tests.cli.conftest import SPEC

LEAKY = """\
caching_specification:
  namespace: shop
  identity: {user: "claim:sub"}
  cache_targets:
    - endpoint: GET /me
      scope: user
      cache_key_pattern: me
      depends_on: [users]
"""
CROWDED = SPEC.replace('["items(id={item_id})"]', str([f"t{number}" for number in range(30)]))


@pytest.fixture
def written(tmp_path):
    for name, text in (("leaky.yaml", LEAKY), ("crowded.yaml", CROWDED), ("good.yaml", SPEC)):
        (tmp_path / name).write_text(text)


def test_an_error_is_a_line_with_its_place_and_exit_code_one(command, written):
    code, out, err = command("check", "leaky.yaml")
    assert code == 1
    assert out.startswith("leaky.yaml:7:7 CW001 ")
    assert "leaky.yaml: 1 error" in err


def test_a_good_specification_is_silent_on_stdout(command, written):
    code, out, err = command("check", "good.yaml")
    assert (code, out) == (0, "")
    assert "good.yaml: no errors, no warnings" in err


def test_warnings_fail_only_where_asked_to(command, written):
    code, out, _ = command("check", "crowded.yaml")
    assert code == 0
    assert "CW010 (warning) " in out
    assert command("check", "crowded.yaml", "--strict")[0] == 1


def test_findings_as_json_have_their_public_names(command, written):
    code, out, _ = command("check", "leaky.yaml", "--json")
    assert code == 1
    (finding,) = [found for found in json.loads(out)["findings"] if found["severity"] == "error"]
    assert {name: finding[name] for name in ("code", "file", "line", "column")} == {
        "code": "CW001",
        "file": "leaky.yaml",
        "line": 7,
        "column": 7,
    }


def test_yaml_that_cannot_be_read_is_a_usage_error_with_its_place(command, tmp_path):
    (tmp_path / "bad.yaml").write_text("caching_specification:\n  cache_targets: [\n")
    code, out, err = command("check", "bad.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("error: bad.yaml:")
    assert "Traceback" not in err


def test_a_trace_that_is_none_is_a_usage_error(command, written, tmp_path):
    (tmp_path / "notes.txt").write_text("not a trace")
    for arguments in (
        ("check", "good.yaml", "--trace", "notes.txt"),
        ("simulate", "good.yaml", "--trace", "notes.txt"),
        ("design", "notes.txt"),
    ):
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert "notes.txt: not a trace" in err
