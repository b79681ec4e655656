import json

import pytest


def test_a_check_is_explained_by_its_code(command):
    code, out, _ = command("explain", "cw012")
    assert code == 0
    assert out.startswith("CW012: time dependent (error)\n")
    assert "## Fix" in out


def test_an_error_is_explained_by_its_code(command):
    code, out, _ = command("explain", "CWE301", "--json")
    assert code == 0
    assert json.loads(out)["name"] == "SurroundingsError"


def test_an_unknown_code_is_a_usage_error(command):
    code, out, err = command("explain", "CW999")
    assert (code, out) == (2, "")
    assert "there is no CW999" in err


def test_a_target_is_explained_from_its_specification(command, spec):
    code, out, _ = command("explain", "GET /items/{item_id}", "--spec", spec, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["scope"] == "public"
    assert told["key"] == "items:{item_id}"
    assert told["ttl_seconds"] == 300


@pytest.mark.parametrize(
    ("more", "says"), [((), "a target needs --spec"), (("--spec", "caching.yaml"), "GET /items/{item_id}")]
)
def test_what_is_no_target_is_a_usage_error_that_helps(command, spec, more, says):
    code, out, err = command("explain", "GET /nope", *more)
    assert (code, out) == (2, "")
    assert says in err
