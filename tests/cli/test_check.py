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


OPENAPI = """\
openapi: 3.1.0
paths:
  /items/{item_id}:
    parameters: [{name: item_id, in: path, schema: {type: integer}}]
    get:
      parameters: [{name: unit, in: query, schema: {enum: [metric, imperial]}}]
      responses: {"200": {content: {application/json: {schema: {properties: {api_key: {}}}}}}}
"""


def test_an_openapi_document_stands_for_the_application(command, written, tmp_path):
    (tmp_path / "openapi.yaml").write_text(OPENAPI)
    code, out, _ = command("check", "good.yaml", "--openapi", "openapi.yaml")
    assert code == 1
    assert "CW008 the key of GET /items/{item_id} lacks query unit" in out
    assert "CW019 GET /items/{item_id} keeps api_key" in out


def test_what_is_no_openapi_document_is_a_usage_error(command, written, tmp_path):
    (tmp_path / "list.yaml").write_text("[1, 2]")
    code, out, err = command("check", "good.yaml", "--openapi", "list.yaml")
    assert (code, out) == (2, "")
    assert "no OpenAPI document" in err


def test_fix_changes_what_is_to_blame_and_nothing_else(command, written, tmp_path):
    commented = LEAKY.replace("cache_key_pattern: me", "cache_key_pattern: me   # short")
    (tmp_path / "leaky.yaml").write_text(commented)
    code, out, err = command("check", "leaky.yaml", "--fix")
    assert (code, out) == (0, "")
    assert "leaky.yaml: 1 change made" in err
    assert (tmp_path / "leaky.yaml").read_text() == commented.replace(": me   #", ': "user:{user_id}:me"   #')


def test_a_file_without_anything_to_fix_is_not_written(command, written, tmp_path):
    before = (tmp_path / "good.yaml").stat().st_mtime_ns
    assert command("check", "good.yaml", "--fix")[0] == 0
    assert (tmp_path / "good.yaml").stat().st_mtime_ns == before


def test_sarif_names_the_rule_and_the_place(command, written):
    code, out, _ = command("check", "leaky.yaml", "--format", "sarif")
    assert code == 1
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    (result,) = [result for result in run["results"] if result["level"] == "error"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "CW001"
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "leaky.yaml"}, "region": {"startLine": 7, "startColumn": 7}}


def test_github_shows_findings_beside_their_lines(command, written):
    code, out, _ = command("check", "leaky.yaml", "--format", "github")
    assert code == 1
    assert out.startswith("::error file=leaky.yaml,line=7,col=7,title=CW001::GET /me: its scope is user")


def test_programs_get_an_unreadable_file_as_a_finding_too(command, tmp_path):
    (tmp_path / "bad.yaml").write_text("caching_specification:\n  cache_targets: [\n")
    code, out, err = command("check", "bad.yaml", "--json")
    assert code == 2
    (finding,) = json.loads(out)["findings"]
    assert (finding["code"], finding["severity"], finding["line"]) == ("CWE100", "error", 3)
    assert err.startswith("error: bad.yaml:")


def test_a_comment_with_a_reason_silences(command, tmp_path):
    (tmp_path / "quiet.yaml").write_text(
        SPEC.replace("scope: public", "scope: public  # cw: ignore[CW009] the test of it").replace(
            "levels: [l2]", "strategy: {ttl: {duration_seconds: 1}}  # cw: ignore[CW009] measured"
        )
    )
    code, out, _ = command("check", "quiet.yaml", "--all")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["CW035"]


def test_several_files_are_checked_at_once_and_one_that_cannot_be_read_hides_none(command, written, tmp_path):
    (tmp_path / "bad.yaml").write_text("caching_specification:\n  cache_targets: [\n")
    code, out, err = command("check", "bad.yaml", "leaky.yaml", "good.yaml")
    assert code == 2
    assert out.startswith("leaky.yaml:7:7 CW001 ")
    assert "good.yaml: no errors, no warnings" in err
    assert "error: bad.yaml:3" in err
    log = json.loads(command("check", "bad.yaml", "leaky.yaml", "--format", "sarif")[1])
    assert [result["ruleId"] for result in log["runs"][0]["results"]][:1] == ["CWE100"]
