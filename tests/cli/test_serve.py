import json
import os
import signal

from tests.servers import valkey


def test_one_worker_serves_with_the_specification_applied(shell, spec, monkeypatch):
    counted = shell.directory / "figures"
    counted.mkdir()
    monkeypatch.setenv("CACHEWRIGHT_STATS_DIR", str(counted))
    with valkey() as redis, shell.serving("serve", "shop:app", "--spec", spec, "--redis", redis) as server:
        assert server.ask("/items/1?name=cup", "PUT")[0] == 200
        for _ in range(2):
            assert server.ask("/items/1")[1]["name"] == "cup"
        server.ask("/items/1?name=mug", "PUT")
        assert server.ask("/items/1")[1]["name"] == "mug"
        server.stop()
    assert server.code == 0
    assert server.stdout == ""
    (file,) = counted.glob("*.json")
    assert json.loads(file.read_text())["targets"]["GET /items/{item_id}"]["hits"] == {"l2": 1}


def test_two_workers_share_entries_are_replaced_and_end_together(shell, spec):
    with (
        valkey() as redis,
        shell.serving("serve", "shop:app", "--spec", spec, "--redis", redis, "--workers", "2") as server,
    ):
        server.ask("/items/1?name=cup", "PUT")
        answers = [server.ask("/items/1")[1] for _ in range(20)]
        assert all(answer == answers[0] for answer in answers)  # it holds the process that made it
        os.kill(answers[0]["pid"], signal.SIGKILL)
        assert server.next_line("starting another")
        assert server.ask("/items/1")[1] == answers[0]
        server.stop()
    assert server.code == 0


def test_a_redis_that_does_not_answer_is_said_and_does_not_stop_serving(shell, spec):
    arguments = ("serve", "shop:app", "--spec", spec, "--redis", "redis://:secret@127.0.0.1:1/0")
    with shell.serving(*arguments) as server:
        assert server.ask("/items/9")[0] == 404
        server.stop()
    assert "warning: redis://127.0.0.1:1/0 does not answer" in server.stderr
    assert "secret" not in server.stderr


def test_two_workers_that_cannot_import_the_application_say_so_once(shell, spec):
    (shell.directory / "broken.py").write_text("import json\n\n1 / 0\n")
    refused = shell.run("serve", "broken:app", "--spec", spec, "--workers", "2", "--port", "0")
    assert refused.returncode == 3
    assert refused.stderr.count("broken.py:3: ZeroDivisionError") == 1
    assert "Traceback" not in refused.stderr
    assert "ready" not in refused.stderr


def test_a_broken_specification_names_its_line_before_anything_starts(command, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("caching_specification:\n  cache_targets:\n    - endpoint: GET /x\n      scoop: public\n")
    code, _, err = command("serve", "shop:app", "--spec", "wrong.yaml", "--port", "0")
    assert code == 2
    assert "wrong.yaml:4:7: unknown key `scoop`" in err
    assert "did you mean `scope`?" in err


def test_a_redis_url_that_is_none_is_a_usage_error(command, spec):
    code, _, err = command("serve", "shop:app", "--spec", spec, "--redis", "localhost:6379", "--port", "0")
    assert code == 2
    assert "not a Redis URL" in err
