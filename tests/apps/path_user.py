"""Sync SQLAlchemy; the user's id stands in the path, and a dependency compares it with the token's subject.

The session commits in the teardown of its `yield` dependency: after the response, on present FastAPI.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Annotated

import httpx
import jwt
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

SIGNING_KEY = "a key for tests that is long enough for HS256"
FAR_FUTURE = datetime.fromisoformat("2100-01-01T00:00:00+00:00")
USERS = 4
NOTES = 120


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    active: Mapped[bool] = mapped_column(default=True)


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str]
    text: Mapped[str] = mapped_column(default="")
    pinned: Mapped[bool] = mapped_column(default=False)


class NoteIn(BaseModel):
    title: str
    text: str = ""
    pinned: bool = False


class NoteOut(NoteIn):
    model_config = ConfigDict(from_attributes=True)

    id: int
    user_id: int


class Credentials(BaseModel):
    name: str


def get_session(request: Request) -> Iterator[Session]:
    with request.app.state.sessions() as session:
        yield session
        session.commit()


SessionDep = Annotated[Session, Depends(get_session)]
bearer = HTTPBearer()


def claims(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> dict[str, str]:
    try:
        return jwt.decode(credentials.credentials, SIGNING_KEY, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "bad token") from error


def path_user(user_id: int, payload: Annotated[dict[str, str], Depends(claims)], session: SessionDep) -> User:
    if payload["sub"] != str(user_id):
        raise HTTPException(403, "not yours")
    user = session.get(User, user_id)
    if user is None or not user.active:
        raise HTTPException(401, "no such user")
    return user


UserDep = Annotated[User, Depends(path_user)]
router = APIRouter(prefix="/users/{user_id}")


def own_note(note_id: int, user: UserDep, session: SessionDep) -> Note:
    note = session.scalar(select(Note).where(Note.id == note_id, Note.user_id == user.id))
    if note is None:
        raise HTTPException(404, "no such note")
    return note


NoteDep = Annotated[Note, Depends(own_note)]


@router.get("/notes", response_model=list[NoteOut])
def list_notes(user: UserDep, session: SessionDep, pinned: bool | None = None) -> list[Note]:
    query = select(Note).where(Note.user_id == user.id).order_by(Note.id)
    if pinned is not None:
        query = query.where(Note.pinned == pinned)
    return list(session.scalars(query))


@router.get("/summary")
def summary(user: UserDep, session: SessionDep) -> dict[str, int]:
    rows = session.execute(
        select(Note.pinned, func.count()).where(Note.user_id == user.id).group_by(Note.pinned)
    )
    counts = dict(rows.all())
    return {"pinned": counts.get(True, 0), "other": counts.get(False, 0)}


@router.get("/notes/{note_id}", response_model=NoteOut)
def open_note(note: NoteDep) -> Note:
    return note


@router.post("/notes", response_model=NoteOut, status_code=201)
def create_note(body: NoteIn, user: UserDep, session: SessionDep) -> Note:
    note = Note(user_id=user.id, **body.model_dump())
    session.add(note)
    session.flush()
    return note


@router.put("/notes/{note_id}", response_model=NoteOut)
def put_note(body: NoteIn, note: NoteDep) -> Note:
    """Change the note without a flush: no SQL of this write exists when the response is sent."""
    for name, value in body.model_dump().items():
        setattr(note, name, value)
    return note


@router.delete("/notes/{note_id}", status_code=204)
def delete_note(note: NoteDep, session: SessionDep) -> None:
    session.delete(note)


def login(body: Credentials, session: SessionDep) -> dict[str, str]:
    user = session.scalar(select(User).where(User.name == body.name))
    if user is None:
        raise HTTPException(401, "who?")
    token = jwt.encode({"sub": str(user.id), "exp": FAR_FUTURE}, SIGNING_KEY, algorithm="HS256")
    return {"token": token}


def build(database_url: str) -> FastAPI:
    engine = create_engine(database_url, connect_args={"check_same_thread": False}, max_overflow=-1)
    application = FastAPI(title="user in the path")
    application.state.engine = engine
    application.state.sessions = sessionmaker(engine)
    application.add_api_route("/login", login, methods=["POST"])
    application.include_router(router)
    return application


def seed(database_url: str) -> None:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.connection().exec_driver_sql("PRAGMA journal_mode=WAL")
        session.add_all(User(id=number, name=f"user{number}") for number in range(1, USERS + 1))
        session.add_all(
            Note(id=number, user_id=number % USERS + 1, title=f"Note {number}", pinned=number % 3 == 0)
            for number in range(1, NOTES + 1)
        )
        session.commit()
    engine.dispose()


def exercise(client: httpx.Client) -> None:
    """Make 400 requests as four users, each under a path of its own; raise on a surprising status."""
    rng = Random(6)
    tokens = {
        user: client.post("/login", json={"name": f"user{user}"}).raise_for_status().json()["token"]
        for user in range(1, USERS + 1)
    }
    own = {user: [n for n in range(1, NOTES + 1) if n % USERS + 1 == user] for user in tokens}
    for turn in range(400):
        user = rng.randint(1, USERS)
        base = f"/users/{user}"
        note = f"{base}/notes/{rng.choice(own[user][:4])}"
        body = {"title": f"Title {turn}", "text": "words", "pinned": turn % 2 == 0}
        method, url, expected, content = rng.choices(
            (
                ("GET", f"{base}/notes", 200, None),
                ("GET", f"{base}/notes?pinned=true", 200, None),
                ("GET", f"{base}/summary", 200, None),
                ("GET", note, 200, None),
                ("GET", f"/users/{user % USERS + 1}/notes", 403, None),
                ("POST", f"{base}/notes", 201, body),
                ("PUT", note, 200, body),
            ),
            weights=(30, 10, 20, 20, 3, 3, 5),
        )[0]
        if turn % 70 == 69:
            method, url, expected, content = "DELETE", f"{base}/notes/{own[user].pop()}", 204, None
        headers = {"Authorization": f"Bearer {tokens[user]}"}
        response = client.request(method, url, headers=headers, json=content)
        assert response.status_code == expected, f"{method} {url}: {response.status_code} {response.text}"


app = build(os.environ.get("APP_DATABASE_URL", "sqlite:///./path_user.db"))
