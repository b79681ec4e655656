"""The servers that other tests stand on."""

import sys

import httpx
import pytest
import redis
from tests.servers import NEVER, denied, guarded, serve_app, serve_process, valkey


def test_the_shared_valkey_answers(valkey_url):
    with redis.Redis.from_url(valkey_url) as client:
        assert client.ping()


def test_a_valkey_takes_directives_and_is_gone_afterwards():
    with valkey(maxmemory="4mb", maxmemory_policy="noeviction") as url, redis.Redis.from_url(url) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(4 * 1024 * 1024)}
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_what_is_never_sent_would_be_refused_and_be_on_record():
    commands = ["CONFIG SET maxmemory 1", "FLUSHALL", "FLUSHDB", "KEYS *", "CLUSTER RESET", "SHUTDOWN"]
    with valkey() as url, redis.Redis.from_url(guarded(url)) as client:
        assert denied(url) == []
        for words in commands:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*words.split())
        assert client.config_get("maxmemory")
        tried = denied(url)
    assert len(tried) == len(commands)
    assert set(tried) <= set(NEVER)


def test_a_process_is_entered_when_ready_and_stopped_afterwards():
    program = "import time; print('ready on 4711', flush=True); time.sleep(60)"
    with serve_process([sys.executable, "-c", program], {}, r"ready on (\d+)") as served:
        assert served.ready.group(1) == "4711"
        assert served.process.poll() is None
    assert served.process.returncode is not None


def test_a_process_that_ends_without_being_ready_shows_what_it_said():
    program = "print('no such file')"
    with (
        pytest.raises(AssertionError, match="no such file"),
        serve_process([sys.executable, "-c", program], {}, "ready"),
    ):
        pass


def test_the_environment_given_reaches_the_process():
    program = "import os, time; print('got', os.environ['ANSWER'], flush=True); time.sleep(60)"
    with serve_process([sys.executable, "-c", program], {"ANSWER": "42"}, r"got 42"):
        pass


def test_an_application_is_served_from_a_thread():
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    with serve_app(app) as base_url:
        assert httpx.get(base_url, trust_env=False).text == "hello"
