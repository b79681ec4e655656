import json

import pytest
from tests.cli.conftest import SPEC


@pytest.mark.requirement("#380")
def test_a_twin_compares_and_finds_nothing_where_the_specification_is_right(shell, spec):
    with shell.serving("verify", "shop:app", "--spec", spec, "--twin", "--json", "--out", "v.json") as server:
        server.ask("/items/1?name=cup", "PUT")
        for name in ("mug", "jug"):
            server.ask("/items/1")
            server.ask(f"/items/1?name={name}", "PUT")
            assert server.ask("/items/1")[1]["name"] == name
        server.stop()
    assert server.code == 0, server.stderr
    result = json.loads(server.stdout)
    assert result["responses"] == 4
    assert result["differences"] == 0
    assert json.loads((shell.directory / "v.json").read_text()) == result


@pytest.mark.requirement("#380")
def test_a_missing_dependency_shows_as_a_difference_and_exit_code_one(shell, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(SPEC.replace('["items(id={item_id})"]', '["prices"]'))
    with shell.serving("verify", "shop:app", "--spec", str(wrong), "--twin") as server:
        server.ask("/items/1?name=cup", "PUT")
        server.ask("/items/1")
        server.ask("/items/1?name=mug", "PUT")
        server.ask("/items/1")
        server.stop()
    assert server.code == 1, server.stderr
    assert "1 differences" in server.stdout
    assert "GET /items/{item_id}" in server.stdout
