import json

import pytest
from tests.cli.conftest import SPEC


@pytest.fixture
def two(tmp_path):
    (tmp_path / "old.yaml").write_text(SPEC)
    (tmp_path / "new.yaml").write_text(SPEC.replace('["items(id={item_id})"]', "[prices]"))


def test_risk_comes_first_and_the_cache_is_spoken_of(command, two):
    code, out, err = command("diff", "old.yaml", "new.yaml")
    assert code == 0
    assert out.startswith("high   GET /items/{item_id}: depends_on: ")
    assert "cold cache: needed, by a new namespace" in out
    assert "1 change; greatest risk: high" in err


def test_a_change_can_fail_a_build(command, two):
    assert command("diff", "old.yaml", "new.yaml", "--fail-on", "high")[0] == 1
    assert command("diff", "old.yaml", "old.yaml", "--fail-on", "low")[0] == 0


def test_the_difference_as_json(command, two):
    _, out, _ = command("diff", "old.yaml", "new.yaml", "--json")
    found = json.loads(out)
    assert found["changes"][0]["risk"] == "high"
    assert found["cold_cache"]["targets"] == ["GET /items/{item_id}"]


def test_an_export_is_text_on_stdout(command, two):
    code, out, err = command("export", "old.yaml", "redis-conf")
    assert (code, err) == (0, "")
    assert "maxmemory-policy allkeys-lru" in out
