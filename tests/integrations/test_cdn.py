"""Level l4: a Varnish in front of the service holds what is public, and lets go of what a write changes."""

import asyncio
import shutil
import subprocess
import time
from contextlib import contextmanager

import httpx
import pytest
from fastapi import Header
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, patience, specification
from tests.integrations.shop import Note
from tests.servers import free_port, serve_app

from cachewright.integrations.install import Installed
from cachewright.integrations.surroundings import Surroundings

VARNISHD = shutil.which("varnishd") or shutil.which("varnishd", path="/usr/sbin:/usr/local/sbin")
needs_varnish = pytest.mark.skipif(VARNISHD is None, reason="varnishd is not installed")

VCL = """vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{port}"; }}
sub vcl_recv {{
  if (req.method == "PURGE") {{
    ban("obj.http.surrogate-key ~ " + regsuball(req.http.surrogate-key, " +", "|"));
    return (synth(200, "Purged"));
  }}
}}
"""


@contextmanager
def varnish(directory, port: int, backend: int):
    """A Varnish on `port` in front of `backend`."""
    script = directory / "test.vcl"
    script.write_text(VCL.format(port=backend))
    command = [VARNISHD, "-F", "-n", str(directory / "varnish"), "-a", f"127.0.0.1:{port}", "-f", str(script)]
    with (directory / "varnish.log").open("wb") as log:
        process = subprocess.Popen([*command, "-s", "malloc,16m", "-j", "none"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/ready")
                break
            except httpx.TransportError:
                assert process.poll() is None, (directory / "varnish.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def called(shop):
    """An application, and how often its endpoints ran."""
    count = {"public": 0, "mine": 0, "picky": 0}

    @shop.app.get("/notes/{note_id}")
    def note(note_id: int, session: Session = shop.given):
        count["public"] += 1
        return session.scalar(select(Note.title).where(Note.id == note_id))

    @shop.app.get("/mine")
    def mine(x_api_key: str = Header(), session: Session = shop.given):
        count["mine"] += 1
        return [x_api_key, session.scalar(select(Note.title).where(Note.id == 1))]

    @shop.app.get("/picky")
    def picky(x_shade: str = Header("-"), session: Session = shop.given):
        count["picky"] += 1
        return [x_shade, session.scalar(select(Note.title).where(Note.id == 1))]

    @shop.app.post("/notes/{note_id}")
    def write(note_id: int, session: Session = shop.given):
        session.get_one(Note, note_id).title += "!"
        session.commit()

    return count


def public(path="/notes/{note_id}", **extra):
    return get(path, "shop_notes(id={note_id})", key="note:{note_id}", levels=["l1", "l4"], **extra)


def at_the_cdn(url: str | None, *targets, **extra):
    cdn = {"purge_url": url} if url else {}
    return specification(*targets, configuration={**patience(5000), "cdn": {**cdn, **extra}})


TARGETS = (
    public(),
    get("/mine", "shop_notes", scope="credential", levels=["l1"]),
    get("/picky", "shop_notes", levels=["l1", "l4"]),
)


@needs_varnish
@pytest.mark.requirement("#38")
def test_varnish_holds_what_is_public_until_a_write_changes_it(shop, called, tmp_path):
    port, backend = free_port(), free_port()
    document = at_the_cdn(f"http://127.0.0.1:{port}/", *TARGETS)
    app = Installed(shop.app, document, Surroundings(workers=1))
    with serve_app(app, port=backend), varnish(tmp_path, port, backend) as client:
        for number in (1, 2):
            titles = {client.get(f"/notes/{number}").json() for _ in range(5)}
            assert titles == {f"note {number}"}
        assert called["public"] == 2
        assert len(client.get("/notes/1").headers["x-varnish"].split()) == 2, "a hit of Varnish"

        assert client.post("/notes/1").status_code == 200
        deadline = time.monotonic() + 10
        while client.get("/notes/1").json() != "note 1!":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(1.5)  # the repeated purge
        client.get("/notes/1")
        assert called["public"] == 3
        assert len(client.get("/notes/2").headers["x-varnish"].split()) == 2, "the other one stayed"

        for key in ("one", "two", "one", "two"):  # Varnish itself knows nothing of this header
            assert client.get("/mine", headers={"X-Api-Key": key}).json()[0] == key
        for shade in ("red", "blue", "red"):
            assert client.get("/picky", headers={"X-Shade": shade}).json()[0] == shade
        for path in (
            "/mine/nothing.css",
            "/mine%2Fnothing.css",
            "/mine;x.css",
            "/mine?x=nothing.css",
            "/mine/",
        ):
            for key in ("one", "two"):  # deception: a private answer under a name that looks like a file's
                answer = client.get(path, headers={"X-Api-Key": key}, follow_redirects=True)
                assert answer.status_code in (404, 200)
                if answer.status_code == 200:
                    assert answer.json()[0] == key


async def test_only_public_answers_that_are_kept_are_offered_to_a_cdn(shop, called):
    async with driven(shop.app, at_the_cdn(None, *TARGETS)) as driver:
        for _ in range(3):
            answer = await driver.get("/notes/1")
            assert answer.headers["cache-control"].startswith("public, max-age=0, s-maxage=")
            digests = answer.headers["surrogate-key"].split()
            assert len(digests) >= 3
            assert all(len(digest) == 16 for digest in digests)
            assert "shop_notes" not in str(answer.headers)
            answer = await driver.get("/mine", headers={"X-Api-Key": "k"})
            assert answer.headers["cache-control"] == "private"
            assert "surrogate-key" not in answer.headers
            answer = await driver.get("/picky", headers={"X-Shade": "red"})
            assert answer.headers["cache-control"] == "no-store"
            assert "surrogate-key" not in answer.headers


async def test_a_key_with_a_header_varies_by_it(shop, called):
    target = get("/picky", "shop_notes", key="picky:shade={header.x-shade}", levels=["l1", "l4"])
    async with driven(shop.app, at_the_cdn(None, target, tag_header="Cache-Tag")) as driver:
        for _ in range(2):
            answer = await driver.get("/picky")
            assert answer.headers["vary"] == "x-shade"
            assert "," in answer.headers["cache-tag"]


async def test_purges_tell_digests_of_public_tags_twice_and_a_token(shop, called, monkeypatch):
    heard, busy = [], set()

    async def listening(reader, writer):
        busy.add(writer)
        heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        busy.discard(writer)

    server = await asyncio.start_server(listening, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("PURGE_TOKEN", "secret")
    document = at_the_cdn(
        f"http://127.0.0.1:{port}/purge", public(), token_env_var="PURGE_TOKEN", purge_method="BAN"
    )
    async with driven(shop.app, document) as driver:
        digests = set((await driver.get("/notes/1")).headers["surrogate-key"].split())
        await driver.send("POST", "/notes/1")
        async with asyncio.timeout(10):
            while len(heard) < 2:
                await asyncio.sleep(0.02)
    server.close()
    while busy:
        await asyncio.sleep(0.01)
    for request in heard[:2]:
        assert request.startswith("BAN /purge HTTP/1.1")
        assert "Authorization: Bearer secret" in request
        told = next(line for line in request.splitlines() if line.startswith("Surrogate-Key: "))
        assert digests & set(told.partition(": ")[2].split())


async def test_a_cdn_that_is_away_fails_no_write_and_is_said_once(shop, called, caplog):
    document = at_the_cdn(f"http://127.0.0.1:{free_port()}/", public())
    async with driven(shop.app, document) as driver:
        for count in range(3):
            assert (await driver.get("/notes/1")).json() == "note 1" + "!" * count
            assert (await driver.send("POST", "/notes/1")).status_code == 200
    assert sum("the CDN was not purged" in record.getMessage() for record in caplog.records) == 1
