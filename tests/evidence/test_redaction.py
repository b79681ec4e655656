"""Secrets planted wherever an application and its users put them, and the bytes of every file looked through."""

import base64
import json
import sqlite3
import time
import uuid

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request, Response
from sqlalchemy import StaticPool, create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from cachewright.capture.asgi import Watched
from cachewright.capture.database import DatabaseWatch
from cachewright.evidence.recorder import Recorder
from cachewright.evidence.recording import Recording
from cachewright.evidence.tracemerge import merge_traces
from cachewright.evidence.tracereader import read_trace

NAMES = [
    "header",
    "cookie_name",
    "cookie",
    "query_name",
    "query",
    "path",
    "form",
    "document",
    "answer",
    "answer_name",
    "answer_header",
    "exception",
    "http_exception",
    "bind",
    "bind_name",
    "many_bind",
    "many_other",
    "literal",
    "quoted_name",
    "comment",
    "failed_sql",
    "row",
    "claim",
    "claim_name",
    "basic",
    "fragment",
    "method",
    "upload",
    "redirect",
    "file_name",
]
SECRETS = {name: f"s3cr3t{number:02}{name.replace('_', '')}z" for number, name in enumerate(NAMES)}


def application(engine):
    app = FastAPI()

    @app.post("/notes/{name}")
    async def add(name: str, request: Request, response: Response, q: str = ""):
        body = await request.json()
        request.headers.get("x-diary")
        _ = request.cookies, request.query_params.get("free"), request.headers.get("authorization")
        with engine.begin() as connection:
            connection.execute(
                text("INSERT INTO notes (id, title) VALUES (:id, :title)"),
                {"id": None, "title": SECRETS["bind"]},
            )
            connection.execute(
                text("INSERT INTO notes (title) VALUES (:title)"),
                [{"title": SECRETS["many_bind"]}, {"title": SECRETS["many_other"]}],
            )
            connection.execute(
                text(
                    f"SELECT '{SECRETS['literal']}', \"{SECRETS['quoted_name']}@x\" /* {SECRETS['comment']} */"
                )
            )
        response.set_cookie("sid", SECRETS["answer_header"])
        response.headers["x-answer"] = SECRETS["answer_header"]
        return {"q": q, "name": name, "body": body}

    @app.get("/answer")
    def answer():
        return {
            "value": SECRETS["answer"],
            SECRETS["answer_name"] + "@x.example": str(uuid.uuid4()),
            "at": str(uuid.uuid4()),
        }

    @app.get("/raises")
    def raises():
        raise RuntimeError(SECRETS["exception"])

    @app.get("/refuses")
    def refuses():
        raise HTTPException(400, SECRETS["http_exception"], {"x-why": SECRETS["http_exception"]})

    @app.get("/fails")
    def fails():
        with pytest.raises((IntegrityError, OperationalError)), engine.begin() as connection:
            connection.execute(text("INSERT INTO notes (id, title) VALUES (1, :t)"), {"t": SECRETS["row"]})
        with pytest.raises(OperationalError), engine.begin() as connection:
            connection.execute(text(f"SELEKT '{SECRETS['failed_sql']}"))

    @app.get("/moves")
    def moves():
        return Response(status_code=302, headers={"location": f"/x?t={SECRETS['redirect']}"})

    return app


def token():
    claims = {"sub": SECRETS["claim"], SECRETS["claim_name"] + " ": "x", "name": SECRETS["claim"]}
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2ln"])


async def traffic(app):
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
        headers = {
            "x-diary": SECRETS["header"],
            "x-api-key": SECRETS["header"],
            "authorization": f"Bearer {token()}",
            "cookie": f"{SECRETS['cookie_name']}={SECRETS['cookie']}; sid={SECRETS['cookie']}",
            "referer": f"http://x/?{SECRETS['query']}#{SECRETS['fragment']}",
        }
        query = f"q={SECRETS['query']}&free={SECRETS['query']}&{SECRETS['query_name']}={SECRETS['query']}"
        for _ in range(4):
            answer = await client.post(
                f"/notes/{SECRETS['path']}?{query}", headers=headers, json={"text": SECRETS["document"]}
            )
            assert answer.status_code == 200
        basic = base64.b64encode(f"ada:{SECRETS['basic']}".encode()).decode()
        for path in (
            "/raises",
            "/refuses",
            "/fails",
            "/moves",
            f"/nowhere/{SECRETS['path']}",
            *["/answer"] * 12,
        ):
            await client.get(path, headers={**headers, "authorization": f"Basic {basic}"})
        await client.request(
            SECRETS["method"].upper(), "/answer", headers={"cookie": f"{SECRETS['cookie_name']}={token()}"}
        )
        files = {SECRETS["file_name"]: (SECRETS["file_name"], SECRETS["upload"].encode())}
        await client.post("/notes/x", files=files, headers={"authorization": SECRETS["form"]})


def look_through(directory):
    needles = [secret.lower().encode() for secret in SECRETS.values()]
    needles += [token().split(".")[1].lower().encode(), b"lovelace"]
    looked = 0
    for file in directory.iterdir():
        try:
            content = file.read_bytes()
        except FileNotFoundError:  # the log beside a file that was closed just now
            continue
        looked += len(content)
        for needle in needles:
            assert needle not in content.lower(), (file.name, needle)
    return looked


@pytest.mark.parametrize(
    "options",
    [{}, {"volatile": ["at"], "rotate": 30_000}, {"sample": 0.5, "worker": 2}],
    ids=["plain", "volatile, rotated", "sampled worker"],
)
async def test_no_file_ever_holds_a_secret(tmp_path, options):
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (id integer PRIMARY KEY, title text)"))
        connection.execute(text("INSERT INTO notes VALUES (1, 'x')"))
    recording = Recording.begin()
    recorder = Recorder(tmp_path / "t", "tests:app", {}, time.monotonic_ns, recording, **options)
    database = DatabaseWatch(recorder, time.monotonic_ns).open()
    app = Watched(application(engine), recorder, clock=time.monotonic_ns)
    try:
        await traffic(app)
        time.sleep(0.6)
        assert look_through(tmp_path) > 0, "while it is being written, the log beside it too"
        recorder.add_routes(app.routes)
    finally:
        app.close()
        database.close()
        recorder.close()
        engine.dispose()
    first = min(tmp_path.iterdir(), key=lambda file: len(file.name))
    merge_traces([first], tmp_path / "merged")
    assert look_through(tmp_path) > 0
    trace = read_trace(tmp_path / "merged")
    assert trace.dropped == 0
    assert len(trace.requests) + trace.left_out == 23
    for file in tmp_path.iterdir():
        with sqlite3.connect(file) as connection:
            assert recording.key not in connection.serialize()
        connection.close()
