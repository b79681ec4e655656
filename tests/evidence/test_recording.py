"""A real application under the recorder: from the first byte of a request to the trace."""

import time
from typing import Annotated

import httpx
import jwt
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import ForeignKey, StaticPool, create_engine, event, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cachewright.capture.asgi import Watched
from cachewright.capture.database import DatabaseWatch
from cachewright.evidence.recorder import Recorder
from cachewright.evidence.tracereader import read_trace

KEY = "a-key-that-only-the-application-knows"


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "evidence_owners"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


class Note(Base):
    __tablename__ = "evidence_notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("evidence_owners.id", ondelete="CASCADE"))
    title: Mapped[str]


def application(engine):
    app = FastAPI()
    token = OAuth2PasswordBearer(tokenUrl="/login")

    def session():
        with Session(engine) as opened:
            yield opened

    def user(encoded: Annotated[str, Depends(token)], db: Annotated[Session, Depends(session)]) -> Owner:
        owner = db.get(Owner, int(jwt.decode(encoded, KEY, algorithms=["HS256"])["sub"]))
        if owner is None:
            raise HTTPException(401)
        return owner

    @app.get("/notes")
    def notes(
        owner: Annotated[Owner, Depends(user)],
        db: Annotated[Session, Depends(session)],
        limit: int = 20,
        accept_language: Annotated[str, Header()] = "en",
    ) -> list[str]:
        found = db.scalars(select(Note.title).where(Note.owner_id == owner.id).limit(limit))
        return [f"{accept_language}:{title}" for title in found]

    @app.post("/notes", status_code=201)
    def add(
        owner: Annotated[Owner, Depends(user)], db: Annotated[Session, Depends(session)], title: str
    ) -> int:
        note = Note(owner_id=owner.id, title=title)
        db.add(note)
        db.commit()
        return note.id

    @app.patch("/notes/{note_id}")
    def move(db: Annotated[Session, Depends(session)], note_id: int, owner_id: int) -> None:
        note = db.get(Note, note_id)
        _ = note.title, note.owner_id
        note.owner_id = owner_id
        db.commit()

    @app.post("/touch")
    def touch(request: Request, response: Response, tasks: BackgroundTasks) -> str:
        tasks.add_task(count)
        response.set_cookie("seen", request.headers.get("x-zone", ""))
        return "ok"

    def count() -> None:
        with engine.begin() as connection:
            connection.execute(text("UPDATE evidence_notes SET title = title"))

    return app


@pytest.fixture
def engine():
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=ON"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Owner(id=1, email="ada@x.example"), Owner(id=2, email="bob@x.example")])
        session.commit()
    yield engine
    engine.dispose()


@pytest.fixture
async def recorded(engine, tmp_path):
    """Ten requests of two users, and the trace of them."""
    recorder = Recorder(tmp_path / "t.trace", "tests:app", {"user": "claim:sub"}, time.monotonic_ns)
    database = DatabaseWatch(recorder, time.monotonic_ns).open()
    app = Watched(application(engine), recorder, clock=time.monotonic_ns)
    ada, bob = (
        {"Authorization": f"Bearer {jwt.encode({'sub': str(user), 'exp': 4_000_000_000}, KEY)}"}
        for user in (1, 2)
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://shop.example"
    ) as client:
        answers = [
            await client.get("/notes", headers=ada),
            await client.post("/notes?title=private-title", headers=ada),
            await client.get("/notes", headers=ada),
            await client.get("/notes?limit=5", headers={**bob, "Accept-Language": "de"}),
            await client.patch("/notes/1?owner_id=2"),
            await client.get("/notes", headers=bob),
            await client.get("/notes"),
            await client.get("/nowhere"),
            await client.get("/notes?limit=x", headers=ada),
            await client.post("/touch", headers={"X-Zone": "north"}),
        ]
    recorder.add_routes(app.routes)
    app.close()
    database.close()
    recorder.close()
    assert [answer.status_code for answer in answers] == [200, 201, 200, 200, 200, 200, 401, 404, 422, 200]
    return read_trace(tmp_path / "t.trace")


async def test_requests_know_their_route_and_their_values(recorded):
    routes = {route.id: (route.method, route.template) for route in recorded.routes}
    assert [request.route and routes[request.route] for request in recorded.requests] == [
        ("GET", "/notes"),
        ("POST", "/notes"),
        ("GET", "/notes"),
        ("GET", "/notes"),
        ("PATCH", "/notes/{note_id}"),
        ("GET", "/notes"),
        ("GET", "/notes"),
        None,
        ("GET", "/notes"),
        ("POST", "/touch"),
    ]
    assert ("GET", "/openapi.json") in routes.values(), "routes that nobody asked for are known as well"
    first, _, _, bobs, *_ = recorded.requests
    assert {"query.limit", "header.accept-language", "claim.sub", "host"} <= set(first.values)
    assert first.values["claim.sub"] != bobs.values["claim.sub"]
    assert first.credential != bobs.credential
    assert recorded.dropped == 0


async def test_digests_tell_equal_answers_from_others(recorded):
    empty, _, one, _, _, bobs, *_ = recorded.requests
    assert empty.digest != one.digest
    assert one.digest == bobs.digest


async def test_statements_meet_the_values_of_their_requests(recorded):
    first = recorded.requests[0]
    security, query = (seen for seen in recorded.statements if seen.request == first.id)
    claim = first.values["claim.sub"].loose
    assert claim in {value.loose for value in security.binds.values()}
    assert claim in {value.loose for value in query.binds.values()}
    assert "evidence_notes" in recorded.texts[query.text].sql
    assert (
        first.started <= first.entered <= security.started <= query.ended <= first.answered <= first.returned
    )


async def test_the_unit_of_work_gives_images_and_a_commit(recorded):
    insert, update = recorded.images
    posted, patched = recorded.requests[1], recorded.requests[4]
    owner = posted.values["claim.sub"].loose
    assert (insert.table, insert.action, insert.old) == ("evidence_notes", "insert", None)
    assert insert.new["owner_id"].loose == owner == update.old["owner_id"].loose
    assert update.new["owner_id"].loose == patched.values["query.owner_id"].loose
    assert "owner_id" in update.changed
    end = recorded.transactions[insert.transaction]
    assert (end.committed, end.request) == (True, posted.id)
    assert end.began <= end.ending <= end.ended
    assert any(seen.unit_of_work and seen.transaction == insert.transaction for seen in recorded.statements)


async def test_reads_flags_and_background_work(recorded):
    touched = recorded.requests[-1]
    assert "header:x-zone" in touched.reads
    assert touched.values["header.x-zone"].kind == "s"
    assert (touched.set_cookie, touched.background) == (True, True)
    [update] = (seen for seen in recorded.statements if "SET title = title" in recorded.texts[seen.text].sql)
    assert update.request == touched.id


def test_new_rows_whose_keys_the_database_makes_are_statements_with_their_own_binds(engine, tmp_path):
    """SQLAlchemy calls a batch of `INSERT … RETURNING` many, yet passes one flat set of parameters."""
    recorder = Recorder(tmp_path / "batch.trace", "tests:app", {}, time.monotonic_ns)
    database = DatabaseWatch(recorder, time.monotonic_ns).open()
    with Session(engine) as session:
        session.add_all(Note(owner_id=1, title=f"title {number}") for number in range(3))
        session.commit()
        session.execute(insert(Note), [{"owner_id": 1, "title": "t"}, {"owner_id": 2, "title": "t"}])
        session.commit()
    database.close()
    recorder.close()
    *batch, plain = read_trace(tmp_path / "batch.trace").statements
    assert {statement.many for statement in batch} == {1}
    assert sum(len(statement.binds) for statement in batch) == 6
    assert plain.many == 2


async def test_the_schema_is_kept(recorded):
    assert recorded.schema.tables["evidence_notes"] == ("id", "owner_id", "title")
    assert recorded.schema.primary_keys["evidence_owners"] == ("id",)
    [key] = (key for key in recorded.schema.foreign_keys if key.table == "evidence_notes")
    assert (key.target, key.columns, key.on_delete) == ("evidence_owners", ("owner_id",), "CASCADE")


async def test_the_file_holds_nothing_private(recorded, tmp_path):
    content = (tmp_path / "t.trace").read_bytes()
    for private in (b"private-title", b"ada@x.example", b"eyJ", b"north", KEY.encode()):
        assert private not in content
