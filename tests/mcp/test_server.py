"""The tools for agents, as a real client meets them: in a child process, over HTTP, and beside a real application."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI, Header, HTTPException
from tests.cli.conftest import SPEC, shell  # noqa: F401 - a fixture
from tests.servers import serve_app, serve_process

from cachewright.mcp.project import Project
from cachewright.mcp.server import server
from mcp import Client, MCPError, StdioServerParameters

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "cachewright", "mcp")
READING = {
    "caching_design",
    "caching_check",
    "caching_explain",
    "caching_simulate",
    "caching_review",
    "caching_stats",
}
TOKEN = "a-token-of-the-administrator"


def text_of(result):
    return result.content[0].text


@pytest.fixture
def here(tmp_path):
    (tmp_path / "caching.yaml").write_text(SPEC)
    return Client(server(Project(root=tmp_path), version="1"))


async def test_what_a_client_is_offered(here):
    async with here as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {name for name, tool in tools.items() if tool.annotations.read_only_hint} == READING
        assert tools["caching_invalidate"].annotations.destructive_hint
        assert set(tools) == READING | {"caching_invalidate", "caching_warm"}
        resources = {str(resource.uri) for resource in (await client.list_resources()).resources}
        assert resources == {"caching://schema", "caching://checks", "skill://backend-caching/SKILL.md"}
        schema = (await client.read_resource("caching://schema")).contents[0].text
        assert json.loads(schema)["required"] == ["caching_specification"]
        assert "CW035" in (await client.read_resource("caching://checks")).contents[0].text
        skill = (await client.read_resource("skill://backend-caching/SKILL.md")).contents[0].text
        assert skill == (ROOT / "skills/backend-caching/SKILL.md").read_text()


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("caching_check", {"spec": "../caching.yaml"}, "is outside"),
        ("caching_check", {"spec": "cashing.yaml"}, "there are caching.yaml"),
        ("caching_check", {}, "spec"),
        ("caching_explain", {"subject": "CW999"}, "there is no CW999"),
        (
            "caching_explain",
            {"subject": "GET /nope", "spec": "caching.yaml"},
            "there are GET /items/{item_id}",
        ),
        ("caching_explain", {"subject": "GET /nope"}, "needs `spec`"),
        ("caching_design", {"trace": "caching.yaml"}, "not a trace"),
        ("caching_simulate", {"spec": "caching.yaml", "trace": "none.trace"}, "there is no file"),
        ("caching_simulate", {"spec": "caching.yaml", "trace": "caching.yaml", "require": "luck"}, "luck"),
        ("caching_review", {"spec": "caching.yaml"}, "nothing to compare with"),
        ("caching_design", {}, "skill: backend-caching"),
        ("caching_design", {"request": "inputs: {cache_targets: 7}\n"}, "cache_targets"),
        ("caching_design", {"specs": ".."}, "no directory"),
        ("caching_stats", {}, "cachewright mcp --url"),
        ("caching_invalidate", {"tags": ["items"]}, "no running application"),
    ],
)
@pytest.mark.requirement("#374")
async def test_what_an_agent_can_correct_reaches_it_as_text(here, tool, arguments, says):
    async with here as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert says in text_of(result)
    assert "Traceback" not in text_of(result)


async def test_a_specification_is_given_as_text_and_what_cannot_be_read_is_a_finding(here):
    async with here as client:
        good = await client.call_tool("caching_check", {"spec": SPEC})
        bad = await client.call_tool("caching_check", {"spec": SPEC.replace("levels:", "level:")})
    assert (good.is_error, good.structured_content["errors"]) == (False, 0)
    (finding,) = bad.structured_content["findings"]
    assert (finding["code"], finding["line"]) == ("CWE100", 7)
    assert "did you mean `levels`" in finding["message"]


REQUEST = """\
skill: backend-caching
inputs:
  cache_targets:
  - {endpoint: GET /api/tasks, query_frequency: 100 req/min, avg_query_time_ms: 80}
"""


async def test_a_written_request_is_designed(here):
    async with here as client:
        designed = await client.call_tool("caching_design", {"request": REQUEST})
    assert not designed.is_error, text_of(designed)
    assert designed.structured_content["specification"].startswith("caching_specification:")


async def test_a_specification_that_stands_is_changed(here, tmp_path):
    standing = "caching_specification:  # ours\n  cache_targets:\n  - {endpoint: GET /a, cache_key_pattern: a, scope: public, depends_on: [a]}\n"
    (tmp_path / "caching.yaml").write_text(standing)
    change = "inputs:\n  cache_targets:\n  - {endpoint: GET /a, ttl_seconds: 900}\n"
    async with here as client:
        given = {"standing": "caching.yaml", "request": change}
        answer = (await client.call_tool("caching_design", given)).structured_content
        (changed,) = answer["changes"]
        assert (changed["what"], changed["after"]) == ("ttl_seconds", 900)
        assert "# ours" in answer["specification"]
        assert answer["comments_kept"]
        refused = await client.call_tool("caching_design", {"standing": "caching.yaml"})
        assert refused.is_error
        assert "request" in text_of(refused)


@pytest.mark.requirement("#374", "#378")
async def test_the_eight_calls_over_stdio_beside_a_running_application(shell, monkeypatch):  # noqa: F811 - a fixture
    spec = shell.directory / "caching.yaml"
    spec.write_text(SPEC)
    with shell.serving("record", "shop:app", "--out", "traffic.trace") as recording:
        recording.ask("/items/1?name=cup", "PUT")
        for _ in range(40):
            recording.ask("/items/1")
        recording.stop()
    monkeypatch.setenv("CACHEWRIGHT_ADMIN_TOKEN", TOKEN)
    with shell.serving("serve", "shop:app", "--spec", str(spec)) as serving:
        serving.ask("/items/1")
        serving.ask("/items/1")
        arguments = ["-m", "cachewright", "mcp", "--root", str(shell.directory), "--url", serving.url]
        parameters = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))
        async with Client(parameters) as client:

            async def call(tool, **given):
                result = await client.call_tool(tool, given)
                assert not result.is_error, text_of(result)
                return result.structured_content

            designed = await call("caching_design", trace="traffic.trace")
            assert designed["specification"].startswith("caching_specification:")
            assert (await call("caching_check", spec=designed["specification"], trace="traffic.trace"))[
                "errors"
            ] == 0
            explained = await call("caching_explain", subject="GET /items/{item_id}", spec="caching.yaml")
            assert explained["key"] == "items:{item_id}"
            simulated = await call(
                "caching_simulate", spec="caching.yaml", trace="traffic.trace", require="hit_rate>1.0"
            )
            assert simulated["wrong_answers"] == 0
            assert len(simulated["not_reached"]) == 1
            stats = await call("caching_stats")
            assert stats["targets"]["GET /items/{item_id}"]["lookups"] == 2
            reviewed = await call("caching_review", spec="caching.yaml", live=True, trace="traffic.trace")
            assert reviewed["measured"]["targets"] == {"GET /items/{item_id}": 0.5}
            assert reviewed["forecast"]["wrong_answers"] == 0
            assert reviewed["revision"]["changes"]
            assert await call("caching_invalidate", target="GET /items/{item_id}") == {"invalidated": 1}
            refused = await client.call_tool("caching_invalidate", {})
            assert (refused.is_error, "takes one subject" in text_of(refused)) == (True, True)


async def test_warming_is_asked_of_the_administrators_door(tmp_path):
    app, asked = FastAPI(), []

    @app.post("/_cachewright/warm")
    def warm(body: dict, authorization: str = Header()):
        if authorization != f"Bearer {TOKEN}":
            raise HTTPException(401)
        asked.append(body)
        return {"loaded": 3}

    with serve_app(app) as url:
        project = Project(root=tmp_path, url=url, token=TOKEN)
        async with Client(server(project, version="1")) as client:
            done = await client.call_tool("caching_warm", {"job": "on_startup"})
            assert done.structured_content == {"loaded": 3}
            await client.call_tool("caching_warm", {})
        async with Client(server(Project(root=tmp_path, url=url, token="wrong"), version="1")) as client:
            refused = await client.call_tool("caching_warm", {})
    assert asked == [{"job": "on_startup"}, {}]
    assert "does not let us in" in text_of(refused)


@pytest.mark.requirement("#374")
async def test_over_http(tmp_path):
    (tmp_path / "caching.yaml").write_text(SPEC)
    command = [*COMMAND, "--transport", "http", "--root", str(tmp_path), "--port", "0"]
    with serve_process(command, {}, r"ready (http://\S+)", cwd=ROOT) as process:
        async with Client(process.ready[1]) as client:
            found = await client.call_tool("caching_check", {"spec": "caching.yaml"})
            assert found.structured_content["errors"] == 0
            with pytest.raises(MCPError):
                await client.read_resource("caching://nothing")


def test_it_listens_to_this_machine_alone(tmp_path):
    done = subprocess.run(
        [*COMMAND, "--transport", "http", "--host", "0.0.0.0"],  # noqa: S104 - it is refused
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "a proxy with a sign-in" in done.stderr
