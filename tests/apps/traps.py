"""Sync SQLAlchemy, and everything that a cache in front of an application gets wrong first."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Table,
    create_engine,
    event,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

USERS = 3
SHELVES = 12
ITEMS = 96
LABELS = 6
EVENTS = 40
TOKENS = {f"key-{user}": user for user in range(1, USERS + 1)}


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)  # noqa: TID251  an application reads its clock somewhere


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    api_key: Mapped[str] = mapped_column(unique=True)


class Shelf(Base):
    __tablename__ = "shelves"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]


item_labels = Table(
    "item_labels",
    Base.metadata,
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("label_id", ForeignKey("labels.id", ondelete="CASCADE"), primary_key=True),
)


class Label(Base):
    __tablename__ = "labels"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelves.id", ondelete="CASCADE"), index=True)
    title: Mapped[str]
    price: Mapped[int]
    closed: Mapped[bool] = mapped_column(default=False)
    labels: Mapped[list[Label]] = relationship(secondary=item_labels, order_by=Label.id, passive_deletes=True)


class Event(Base):
    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    starts_at: Mapped[datetime] = mapped_column(DateTime, index=True)


class Setting(Base):
    __tablename__ = "settings"

    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Audit(Base):
    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int]
    what: Mapped[str]


class FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class LabelOut(FromRow):
    id: int
    name: str


class ItemOut(FromRow):
    id: int
    shelf_id: int
    title: str
    price: int
    closed: bool
    labels: list[LabelOut]


class Prices(BaseModel):
    prices: dict[int, int]


class Value(BaseModel):
    value: str


def get_session(request: Request) -> Iterator[Session]:
    with request.app.state.sessions() as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


def authenticate(request: Request, session: SessionDep) -> None:
    """Say who asks through `request.state`, and return nothing."""
    key = request.headers.get("x-api-key")
    user = session.scalar(select(User).where(User.api_key == key)) if key else None
    if user is None:
        raise HTTPException(401, "a key, please")
    request.state.user = user


public = APIRouter()
private = APIRouter(dependencies=[Depends(authenticate)])


@private.get("/items", response_model=list[ItemOut])
def list_items(request: Request, session: SessionDep, closed: bool | None = None) -> list[Item]:
    query = select(Item).where(Item.owner_id == request.state.user.id).order_by(Item.id)
    return list(session.scalars(query if closed is None else query.where(Item.closed == closed)))


@private.get("/items/{item_id}", response_model=ItemOut)
def open_item(item_id: int, request: Request, session: SessionDep) -> Item:
    item = session.get(Item, item_id)
    if item is None or item.owner_id != request.state.user.id:
        raise HTTPException(404, "no such item")
    return item


@private.get("/labels/{label_id}/items")
def labelled(label_id: int, request: Request, session: SessionDep) -> list[int]:
    query = (
        select(Item.id)
        .join(item_labels, item_labels.c.item_id == Item.id)
        .where(item_labels.c.label_id == label_id, Item.owner_id == request.state.user.id)
        .order_by(Item.id)
    )
    return list(session.scalars(query))


@private.get("/shelves")
def list_shelves(request: Request, session: SessionDep) -> dict[str, int]:
    query = (
        select(Shelf.name, func.count(Item.id))
        .outerjoin(Item, Item.shelf_id == Shelf.id)
        .where(Shelf.owner_id == request.state.user.id)
        .group_by(Shelf.id)
        .order_by(Shelf.id)
    )
    return dict(session.execute(query).all())


@private.post("/items/bulk-close")
def bulk_close(request: Request, session: SessionDep, below: int) -> dict[str, str]:
    """An ORM bulk update: one UPDATE, no loaded objects."""
    session.execute(
        update(Item).where(Item.owner_id == request.state.user.id, Item.price < below).values(closed=True)
    )
    session.commit()
    return {"status": "closed"}


@private.post("/items/reprice")
def reprice(body: Prices, session: SessionDep) -> dict[str, str]:
    """A bulk update by mappings of primary keys: no owner is named in it."""
    session.bulk_update_mappings(Item, [{"id": i, "price": price} for i, price in body.prices.items()])
    session.commit()
    return {"status": "repriced"}


@private.post("/items/reopen")
def reopen(request: Request, session: SessionDep) -> dict[str, str]:
    """A write in plain text."""
    session.execute(
        text("UPDATE items SET closed = 0 WHERE owner_id = :owner AND closed"),
        {"owner": request.state.user.id},
    )
    session.commit()
    return {"status": "reopened"}


@private.put("/items/{item_id}/labels/{label_id}", status_code=204)
def put_label(item_id: int, label_id: int, session: SessionDep) -> None:
    item, label = session.get_one(Item, item_id), session.get_one(Label, label_id)
    if label not in item.labels:
        item.labels.append(label)
    session.commit()


@private.delete("/items/{item_id}/labels/{label_id}", status_code=204)
def delete_label(item_id: int, label_id: int, session: SessionDep) -> None:
    item = session.get_one(Item, item_id)
    item.labels = [label for label in item.labels if label.id != label_id]
    session.commit()


@private.delete("/shelves/{shelf_id}", status_code=204)
def delete_shelf(shelf_id: int, request: Request, session: SessionDep) -> None:
    """Delete a shelf: the database deletes its items and their labels, no statement says so."""
    shelf = session.get(Shelf, shelf_id)
    if shelf is None or shelf.owner_id != request.state.user.id:
        raise HTTPException(404, "no such shelf")
    session.delete(shelf)
    session.commit()


@private.get("/settings")
def list_settings(request: Request, session: SessionDep) -> dict[str, str]:
    rows = session.scalars(select(Setting).where(Setting.owner_id == request.state.user.id))
    return {row.name: row.value for row in rows}


@private.put("/settings/{name}")
def put_setting(name: str, body: Value, request: Request, session: SessionDep) -> dict[str, str]:
    """An upsert."""
    statement = insert(Setting).values(owner_id=request.state.user.id, name=name, value=body.value)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["owner_id", "name"], set_={"value": statement.excluded.value}
        )
    )
    session.commit()
    return {name: body.value}


@private.get("/report")
def report(request: Request, session: SessionDep, background: BackgroundTasks) -> dict[str, int | None]:
    """Count the user's items, and write an audit row when the answer has left."""
    user_id = request.state.user.id
    background.add_task(write_audit, request.app.state.sessions, user_id)
    return {"items": session.scalar(select(func.count()).where(Item.owner_id == user_id))}


def write_audit(sessions: sessionmaker[Session], user_id: int) -> None:
    with sessions() as session:
        session.add(Audit(owner_id=user_id, what="report"))
        session.commit()


@private.get("/audit")
def read_audit(request: Request, session: SessionDep) -> dict[str, int | None]:
    return {"rows": session.scalar(select(func.count()).where(Audit.owner_id == request.state.user.id))}


@private.get("/balance")
def balance(request: Request, response: Response, session: SessionDep) -> dict[str, int | None]:
    response.headers["Cache-Control"] = "no-store"
    total = select(func.sum(Item.price)).where(Item.owner_id == request.state.user.id)
    return {"balance": session.scalar(total)}


@private.get("/welcome")
def welcome(request: Request, response: Response, session: SessionDep) -> dict[str, str]:
    key = session.scalar(select(User.api_key).where(User.id == request.state.user.id))
    response.set_cookie("seen", "yes")
    return {"hello": f"{key}"}


@public.get("/agenda")
def agenda(session: SessionDep) -> list[str]:
    """Read the clock: the same question has another answer later, though nobody writes."""
    now = utc_now()
    return list(session.scalars(select(Event.title).where(Event.starts_at >= now).order_by(Event.starts_at)))


@public.get("/export")
def export(request: Request) -> StreamingResponse:
    sessions = request.app.state.sessions

    def lines() -> Iterator[str]:
        with sessions() as session:
            for title in session.scalars(select(Item.title).order_by(Item.id)):
                yield f"{title}\n"

    return StreamingResponse(lines(), media_type="text/plain")


@public.get("/counter")
def counter(request: Request) -> dict[str, int]:
    """Answer from memory: no SQL at all."""
    request.app.state.count += 1
    return {"count": request.app.state.count}


def enforce_foreign_keys(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON")


def build_engine(database_url: str) -> Engine:
    engine = create_engine(database_url, connect_args={"check_same_thread": False}, max_overflow=-1)
    event.listen(engine, "connect", enforce_foreign_keys)
    return engine


def build(database_url: str) -> FastAPI:
    application = FastAPI(title="traps")
    application.state.engine = build_engine(database_url)
    application.state.sessions = sessionmaker(application.state.engine)
    application.state.count = 0
    application.include_router(public)
    application.include_router(private, prefix="/my")
    return application


def seed(database_url: str, *, start: datetime | None = None) -> None:
    """Fill the database; an event begins every second from `start` (UTC, by default now) on, and some before."""
    engine = build_engine(database_url)
    Base.metadata.create_all(engine)
    start = start or utc_now()
    with Session(engine) as session:
        session.connection().exec_driver_sql("PRAGMA journal_mode=WAL")
        session.add_all(User(id=user, api_key=key) for key, user in TOKENS.items())
        session.add_all(Label(id=number, name=f"label {number}") for number in range(1, LABELS + 1))
        session.flush()
        session.add_all(Shelf(id=n, owner_id=n % USERS + 1, name=f"Shelf {n}") for n in range(1, SHELVES + 1))
        session.flush()
        session.add_all(
            Item(
                id=number,
                owner_id=number % SHELVES % USERS + 1,
                shelf_id=number % SHELVES or SHELVES,
                title=f"Item {number}",
                price=number * 17 % 90 + 10,
            )
            for number in range(1, ITEMS + 1)
        )
        session.flush()
        pairs = [{"item_id": n, "label_id": n % LABELS + 1} for n in range(1, ITEMS + 1)]
        session.execute(item_labels.insert(), pairs)
        session.add_all(
            Event(id=n, title=f"Event {n}", starts_at=start + timedelta(seconds=n - 5))
            for n in range(1, EVENTS + 1)
        )
        session.commit()
    engine.dispose()


def exercise(client: httpx.Client) -> None:
    """Make 500 requests as three users, each kind of write among them; raise on a surprising status."""
    rng = Random(9)
    own = {
        user: [n for n in range(1, ITEMS + 1) if n % SHELVES % USERS + 1 == user] for user in TOKENS.values()
    }
    shelves = {user: [n for n in range(1, SHELVES + 1) if n % USERS + 1 == user] for user in TOKENS.values()}
    for turn in range(500):
        key, user = rng.choice(list(TOKENS.items()))
        method, url, expected, body = _choose(rng, turn, own[user])
        if turn % 90 == 89 and len(shelves[user]) > 1:
            shelf = shelves[user].pop()
            own[user] = [n for n in own[user] if (n % SHELVES or SHELVES) != shelf]
            method, url, expected, body = "DELETE", f"/my/shelves/{shelf}", 204, None
        headers = {"X-API-Key": key}
        if turn % 80 == 79:
            method, url, headers, expected, body = "GET", "/my/items", {}, 401, None
        response = client.request(method, url, headers=headers, json=body)
        assert response.status_code == expected, f"{method} {url}: {response.status_code} {response.text}"
        client.cookies.clear()


def _choose(rng: Random, turn: int, own: list[int]) -> tuple[str, str, int, dict[str, Any] | None]:
    item = rng.choice(own[:6])
    label = rng.randint(1, LABELS)
    reads = (
        ("/my/items", 20),
        ("/my/items?closed=false", 8),
        (f"/my/items/{item}", 14),
        (f"/my/labels/{label}/items", 10),
        ("/my/shelves", 8),
        ("/my/settings", 8),
        ("/my/report", 4),
        ("/my/audit", 4),
        ("/my/balance", 4),
        ("/my/welcome", 3),
        ("/agenda", 4),
        ("/export", 3),
        ("/counter", 4),
    )
    if rng.random() < 0.85:
        return "GET", rng.choices([url for url, _ in reads], [weight for _, weight in reads])[0], 200, None
    return rng.choice(
        (
            ("POST", f"/my/items/bulk-close?below={rng.randint(15, 40)}", 200, None),
            ("POST", "/my/items/reprice", 200, {"prices": {own[0]: turn, own[1]: turn + 1}}),
            ("POST", "/my/items/reopen", 200, None),
            ("PUT", f"/my/items/{item}/labels/{label}", 204, None),
            ("DELETE", f"/my/items/{item}/labels/{label}", 204, None),
            ("PUT", f"/my/settings/{rng.choice(('theme', 'density'))}", 200, {"value": f"v{turn}"}),
        )
    )


app = build(os.environ.get("APP_DATABASE_URL", "sqlite:///./traps.db"))
