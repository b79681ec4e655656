"""Async SQLModel on aiosqlite; who asks is known only from an opaque token that a table holds.

One router stands under two prefixes; pages are skip/limit; the lifespan creates the tables.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import create_engine, func
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, Session, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.versions import QUERY_MODELS

USERS = 5
ITEMS = 200
TOKENS = {f"opaque-{number}": number % USERS + 1 for number in range(USERS + 1)}


class Person(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
    active: bool = True


class Login(SQLModel, table=True):
    __tablename__ = "sessions"

    token: str = Field(primary_key=True)
    person_id: int = Field(foreign_key="person.id", index=True)


class ItemBase(SQLModel):
    title: str
    rank: int = 0
    done: bool = False


class Item(ItemBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    owner_id: int = Field(foreign_key="person.id", index=True)


class ItemOut(ItemBase):
    id: int


class ItemPatch(SQLModel):
    title: str | None = None
    rank: int | None = None
    done: bool | None = None


class ItemPage(BaseModel):
    data: list[ItemOut]
    count: int


class ItemSearch(BaseModel):
    """Query parameters declared as one model."""

    text: str = ""
    done: bool | None = None
    limit: int = Field(default=10, le=50)


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
bearer = HTTPBearer()


async def get_token(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
    return credentials.credentials


async def get_person(token: Annotated[str, Depends(get_token)], session: SessionDep) -> Person:
    query = select(Person).join(Login, col(Login.person_id) == col(Person.id)).where(Login.token == token)
    person = (await session.exec(query)).first()
    if person is None or not person.active:
        raise HTTPException(401, "unknown token")
    return person


PersonDep = Annotated[Person, Depends(get_person)]
#: A model whose fields are query parameters: before FastAPI 0.115 a dependency.
AS_QUERY = Query() if QUERY_MODELS else Depends()
router = APIRouter()


async def own_item(item_id: int, person: PersonDep, session: SessionDep) -> Item:
    item = await session.get(Item, item_id)
    if item is None or item.owner_id != person.id:
        raise HTTPException(404, "no such item")
    return item


ItemDep = Annotated[Item, Depends(own_item)]


@router.get("/me")
async def me(person: PersonDep) -> dict[str, str | int | None]:
    return {"id": person.id, "name": person.name}


@router.get("/items")
async def list_items(
    person: PersonDep,
    session: SessionDep,
    skip: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(le=100)] = 20,
) -> ItemPage:
    count = (await session.exec(select(func.count()).where(Item.owner_id == person.id))).one()
    query = select(Item).where(Item.owner_id == person.id).order_by(col(Item.id)).offset(skip).limit(limit)
    rows = (await session.exec(query)).all()
    return ItemPage(data=[ItemOut.model_validate(row) for row in rows], count=count)


@router.get("/items/search")
async def search_items(
    search: Annotated[ItemSearch, AS_QUERY], person: PersonDep, session: SessionDep
) -> list[ItemOut]:
    query = select(Item).where(Item.owner_id == person.id, col(Item.title).contains(search.text))
    if search.done is not None:
        query = query.where(Item.done == search.done)
    rows = (await session.exec(query.order_by(col(Item.rank).desc(), col(Item.id)).limit(search.limit))).all()
    return [ItemOut.model_validate(row) for row in rows]


@router.get("/items/{item_id}", response_model=ItemOut)
async def open_item(item: ItemDep) -> Item:
    return item


@router.post("/items", response_model=ItemOut, status_code=201)
async def create_item(body: ItemBase, person: PersonDep, session: SessionDep) -> Item:
    item = Item.model_validate(body, update={"owner_id": person.id})
    session.add(item)
    await session.commit()
    await session.refresh(item)
    return item


@router.patch("/items/{item_id}", response_model=ItemOut)
async def edit_item(body: ItemPatch, item: ItemDep, session: SessionDep) -> Item:
    item.sqlmodel_update(body.model_dump(exclude_unset=True))
    session.add(item)
    await session.commit()
    await session.refresh(item)
    return item


@router.delete("/items/{item_id}", status_code=204)
async def delete_item(item: ItemDep, session: SessionDep) -> None:
    await session.delete(item)
    await session.commit()


def build(database_url: str) -> FastAPI:
    engine = create_async_engine(database_url.replace("sqlite://", "sqlite+aiosqlite://", 1))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)
        yield
        await engine.dispose()

    application = FastAPI(title="async SQLModel", lifespan=lifespan)
    application.state.sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
    application.include_router(router, prefix="/v1")
    application.include_router(router, prefix="/v2")
    return application


def seed(database_url: str) -> None:
    engine = create_engine(database_url)
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.connection().exec_driver_sql("PRAGMA journal_mode=WAL")
        session.add_all(Person(id=number, name=f"Person {number}") for number in range(1, USERS + 1))
        session.flush()
        session.add_all(Login(token=token, person_id=person) for token, person in TOKENS.items())
        session.add_all(
            Item(id=number, owner_id=number % USERS + 1, title=f"Item {number}", rank=number * 7 % 50)
            for number in range(1, ITEMS + 1)
        )
        session.commit()
    engine.dispose()


def exercise(client: httpx.Client) -> None:
    """Make 400 requests as five users with six tokens, through both prefixes; raise on a surprising status."""
    rng = Random(5)
    own = {user: [n for n in range(1, ITEMS + 1) if n % USERS + 1 == user] for user in range(1, USERS + 1)}
    for turn in range(400):
        token, user = rng.choice(list(TOKENS.items()))
        mine = own[user]
        prefix = rng.choice(("/v1", "/v2"))
        item = f"{prefix}/items/{rng.choice(mine[:4])}"
        title = {"title": f"Title {turn}", "rank": turn}
        headers = {"Authorization": f"Bearer {token}"}
        method, url, expected, body = rng.choices(
            (
                ("GET", f"{prefix}/items", 200, None),
                ("GET", f"{prefix}/items?skip=10&limit=10", 200, None),
                ("GET", f"{prefix}/items?limit=10&skip=10", 200, None),
                ("GET", f"{prefix}/items/search?text=Item&done=false", 200, None),
                ("GET", f"{prefix}/me", 200, None),
                ("GET", item, 200, None),
                ("GET", f"{prefix}/items/{own[user % USERS + 1][0]}", 404, None),
                ("POST", f"{prefix}/items", 201, title),
                ("PATCH", item, 200, title),
            ),
            weights=(30, 12, 6, 8, 8, 16, 2, 2, 4),
        )[0]
        if turn % 50 == 49:
            method, url, expected, body = "DELETE", f"{prefix}/items/{mine.pop()}", 204, None
        if turn % 60 == 59:
            headers, expected = {}, 401
        response = client.request(method, url, headers=headers, json=body)
        assert response.status_code == expected, f"{method} {url}: {response.status_code} {response.text}"


app = build(os.environ.get("APP_DATABASE_URL", "sqlite:///./async_sqlmodel.db"))
