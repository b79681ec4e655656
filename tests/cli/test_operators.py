"""Figures of a running application, and invalidations, from the command line; and the dashboard in a real browser."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time

import pytest
from tests.servers import free_port, valkey

TOKEN = "a-token-of-the-administrator"


@pytest.fixture
def opened(shell, spec, monkeypatch):
    """A shop with two workers whose administrator's door is open."""
    monkeypatch.setenv("CACHEWRIGHT_ADMIN_TOKEN", TOKEN)
    with (
        valkey() as redis,
        shell.serving("serve", "shop:app", "--spec", spec, "--redis", redis, "--workers", "2") as server,
    ):
        server.ask("/items/1?name=cup", "PUT")
        for _ in range(10):
            server.ask("/items/1")
        yield server


def until_counted(shell, url, lookups):
    for _ in range(50):
        found = json.loads(shell.run("stats", url, "--json").stdout)
        if found["targets"]["GET /items/{item_id}"]["lookups"] >= lookups:
            return found
    raise AssertionError(found)


def test_figures_of_all_workers_and_invalidations(shell, opened, monkeypatch):
    found = until_counted(shell, opened.url, 10)
    assert sum(worker["alive"] for worker in found["workers"]) == 2
    assert sum(found["targets"]["GET /items/{item_id}"]["hits"].values()) >= 8
    shown = shell.run("stats", opened.url)
    assert shown.returncode == 0
    assert "GET /items/{item_id}" in shown.stdout
    assert "healthy" in shown.stdout
    done = shell.run("invalidate", opened.url, "--target", "GET /items/{item_id}", "--json")
    assert json.loads(done.stdout) == {"invalidated": 1}
    assert shell.run("invalidate", opened.url, "--all").stderr == "1 tag in use invalidated\n"
    wrong = shell.run("invalidate", opened.url)
    assert (wrong.returncode, "takes one subject" in wrong.stderr) == (2, True)
    monkeypatch.delenv("CACHEWRIGHT_ADMIN_TOKEN")
    refused = shell.run("stats", opened.url)
    assert (refused.returncode, "does not let us in" in refused.stderr) == (3, True)


def test_servers_targets_and_switches(shell, opened):
    asked = shell.run("servers", opened.url)
    assert asked.returncode == 1  # a plain server has unlimited memory, which no specification asks for
    assert "unlimited" in asked.stdout
    assert "maxmemory" in asked.stdout
    told = json.loads(shell.run("servers", opened.url, "--json").stdout)
    assert [one["role"] for one in told["servers"]] == ["master"]
    name = "GET /items/{item_id}"
    assert "switched off" in shell.run("targets", opened.url, "--off", name).stdout
    for _ in range(50):
        if f"switched off: {name}" in shell.run("stats", opened.url).stdout:
            break
    else:
        raise AssertionError(shell.run("stats", opened.url).stdout)
    on = json.loads(shell.run("targets", opened.url, "--on", name, "--json").stdout)
    assert [one["switched_off"] for one in on["targets"]] == [False]
    unknown = shell.run("targets", opened.url, "--off", "GET /nothing")
    assert (unknown.returncode, name in unknown.stderr) == (2, True)


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("http://127.0.0.1:1", 3, "does not answer"),
        ("localhost:8000", 2, "no http or https URL"),
        ("file:///etc/passwd", 2, "no http or https URL"),
    ],
)
def test_what_is_no_running_application_is_said(command, url, code, said):
    ended, out, err = command("stats", url)
    assert (ended, out) == (code, "")
    assert said in err


PAGE = """\
import os
import sys

import uvicorn
from fastapi import Depends, Response

import cachewright
from cachewright.integrations.dashboard import POLICY, content
from shop import app


def answer(text, kind):
    return Response(text, media_type=kind, headers={"Content-Security-Policy": POLICY})


@app.get("/_cachewright/driven")
def driven():
    page = content("page.html").replace(b"</head>", b'<script src="driver.js" defer></script></head>')
    return answer(page, "text/html")


@app.get("/_cachewright/driver.js")
def driver():
    return answer(open("driver.js").read(), "text/javascript")

app.include_router(cachewright.admin_router([Depends(lambda: None)]), prefix="/_cachewright")
cachewright.install(app, sys.argv[1], workers=1)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""
#: Clicks like a person, and writes what it has seen into the page.
DRIVER = """\
"use strict";
const until = async (find) => {
  for (;;) {
    const found = find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
const one = (selector) => until(() => document.querySelector(selector));
const off = async () => (await (await fetch("targets")).json()).targets.filter((target) => target.switched_off).length;
const said = (part) => until(() => document.getElementById("done").textContent.includes(part));

(async () => {
  const seen = [];
  for (const reply of ["no", "yes"]) {
    (await one('#targets button[aria-label^="Turn off"]')).click();
    (await one(`#sure[open] button[value=${reply}]`)).click();
    if (reply === "yes") await said("is off");
    seen.push(`${reply}: ${await off()} off`);
  }
  (await one('#targets button[aria-label^="Turn on"]')).click();
  await said("is on");
  seen.push(`on: ${await off()} off`);
  document.getElementById("subject").value = "all";
  document.querySelector("#invalidate button").click();
  (await one("#sure[open] button[value=yes]")).click();
  await said("are invalid now");
  const counted = (await (await fetch("stats")).json()).counters.invalidations;
  seen.push(`invalidations: ${counted}`);
  document.body.append(`seen: ${seen.join(", ")}.`);
})();
"""
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture
def browse(shell, spec, tmp_path):
    """What stands in a page of the administrator's door once its script has run."""
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    port = free_port()
    (tmp_path / "page.py").write_text(PAGE)
    (tmp_path / "driver.js").write_text(DRIVER)
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "page.py", spec, str(port)],
        cwd=tmp_path,
        env=shell.environment,
        stdin=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield lambda path: subprocess.run(
            [BROWSER, *QUIET, f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=4000", "--dump-dom",
             f"{url}/_cachewright/{path}"],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout  # fmt: skip
    finally:
        process.terminate()
        process.wait(10)


def test_a_browser_shows_the_targets_with_their_figures(browse):
    shown = browse("")
    assert "GET /items/{item_id}" in shown
    assert '<strong class="good">healthy</strong>' in shown
    assert 'id="main">' in shown  # no longer hidden


def test_buttons_do_what_they_say_once_it_was_confirmed(browse):
    assert "seen: no: 0 off, yes: 1 off, on: 0 off, invalidations: 1." in browse("driven")
