"""Notes: async SQLModel; who asks stands in the token alone, lists are paged by skip and limit."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import jwt
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from .models import Note, NoteCreate, NotePublic, NotesPublic, NoteUpdate, Token, User, UserPublic

KEY = os.environ.get("NOTES_SIGNING_KEY", "a key for development, 32 bytes at least")
engine = create_async_engine(os.environ.get("NOTES_DATABASE_URL", "sqlite+aiosqlite:///./notes.db"))
HOURS = 8
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="/api/v1/login")


async def get_session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


async def current_user(token: Annotated[str, Depends(oauth2_scheme)], session: SessionDep) -> User:
    try:
        claims = jwt.decode(token, KEY, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "The token is not valid.") from error
    user = await session.get(User, int(claims["sub"]))
    if user is None or not user.is_active:
        raise HTTPException(401, "The account is not active.")
    return user


CurrentUser = Annotated[User, Depends(current_user)]


async def own_note(note_id: int, user: CurrentUser, session: SessionDep) -> Note:
    note = await session.get(Note, note_id)
    if note is None or note.owner_id != user.id:
        raise HTTPException(404, "There is no such note.")
    return note


OwnNote = Annotated[Note, Depends(own_note)]
router = APIRouter(prefix="/api/v1")


@router.post("/login")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()], session: SessionDep) -> Token:
    user = (await session.exec(select(User).where(User.email == form.username))).first()
    if user is None or user.password != form.password:
        raise HTTPException(401, "The password is not right.")
    claims = {"sub": str(user.id), "exp": int(time.time()) + HOURS * 3600}
    return Token(access_token=jwt.encode(claims, KEY, algorithm="HS256"))


@router.get("/me", response_model=UserPublic)
async def read_me(user: CurrentUser) -> User:
    return user


@router.get("/notes")
async def list_notes(
    user: CurrentUser,
    session: SessionDep,
    skip: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> NotesPublic:
    count = (await session.exec(select(func.count()).select_from(Note).where(Note.owner_id == user.id))).one()
    page = select(Note).where(Note.owner_id == user.id).order_by(col(Note.id).desc())
    notes = (await session.exec(page.offset(skip).limit(limit))).all()
    return NotesPublic(data=[NotePublic.model_validate(note) for note in notes], count=count)


@router.get("/notes/{note_id}", response_model=NotePublic)
async def read_note(note: OwnNote) -> Note:
    return note


@router.post("/notes", response_model=NotePublic, status_code=201)
async def create_note(body: NoteCreate, user: CurrentUser, session: SessionDep) -> Note:
    note = Note.model_validate(body, update={"owner_id": user.id})
    session.add(note)
    await session.commit()
    await session.refresh(note)
    return note


@router.patch("/notes/{note_id}", response_model=NotePublic)
async def update_note(body: NoteUpdate, note: OwnNote, session: SessionDep) -> Note:
    note.sqlmodel_update(body.model_dump(exclude_unset=True))
    session.add(note)
    await session.commit()
    await session.refresh(note)
    return note


@router.delete("/notes/{note_id}", status_code=204)
async def delete_note(note: OwnNote, session: SessionDep) -> None:
    await session.delete(note)
    await session.commit()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(title="Notes", lifespan=lifespan)
app.include_router(router)
