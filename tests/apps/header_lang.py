"""Async SQLAlchemy Core; a public catalogue in the language of the Accept-Language header.

A trigger writes one table, one GET counts views, one creates defaults on its first read, and the back office is a
mounted application.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy import (
    DDL,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

PRODUCTS = 60
LANGUAGES = ("en", "de", "fr")
CATEGORIES = ("books", "tools", "toys")

metadata = MetaData()
products = Table(
    "products",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("category", String(20), nullable=False, index=True),
    Column("price", Integer, nullable=False),
)
names = Table(
    "product_names",
    metadata,
    Column("product_id", ForeignKey("products.id"), primary_key=True),
    Column("language", String(5), primary_key=True),
    Column("name", String(80), nullable=False),
)
views = Table(
    "product_views",
    metadata,
    Column("product_id", ForeignKey("products.id"), primary_key=True),
    Column("views", Integer, nullable=False),
)
price_log = Table(
    "price_log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("product_id", Integer, nullable=False),
    Column("old_price", Integer, nullable=False),
    Column("new_price", Integer, nullable=False),
)
preferences = Table(
    "preferences",
    metadata,
    Column("visitor", String(40), primary_key=True),
    Column("currency", String(3), nullable=False),
    Column("page_size", Integer, nullable=False),
)
event.listen(
    price_log,
    "after_create",
    DDL(
        "CREATE TRIGGER log_price AFTER UPDATE OF price ON products BEGIN "
        "INSERT INTO price_log (product_id, old_price, new_price) VALUES (old.id, old.price, new.price); END"
    ),
)


class Price(BaseModel):
    price: int


class Currency(BaseModel):
    currency: str


async def get_connection(request: Request) -> AsyncIterator[AsyncConnection]:
    async with request.app.state.engine.connect() as connection:
        yield connection


ConnectionDep = Annotated[AsyncConnection, Depends(get_connection)]


def wanted_language(request: Request) -> str:
    """Read the header in plain code: no declared parameter says that the answer depends on it."""
    language = request.headers.get("accept-language", "en")[:2].lower()
    return language if language in LANGUAGES else "en"


def localised(language: str) -> Any:
    return (
        select(products.c.id, products.c.category, products.c.price, names.c.name)
        .join(names, names.c.product_id == products.c.id)
        .where(names.c.language == language)
        .order_by(products.c.id)
    )


async def list_products(
    request: Request, connection: ConnectionDep, category: str | None = None, page: int = 1, size: int = 10
) -> list[dict[str, Any]]:
    query = localised(wanted_language(request)).limit(size).offset((page - 1) * size)
    if category is not None:
        query = query.where(products.c.category == category)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def open_product(product_id: int, request: Request, connection: ConnectionDep) -> dict[str, Any]:
    query = localised(wanted_language(request)).where(products.c.id == product_id)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise HTTPException(404, "no such product")
    return dict(row)


async def list_categories(connection: ConnectionDep) -> dict[str, int]:
    query = select(products.c.category, func.count()).group_by(products.c.category)
    return dict((await connection.execute(query)).all())


async def visit_product(product_id: int, connection: ConnectionDep) -> dict[str, int]:
    """Count a view: a GET that always writes."""
    await connection.execute(
        update(views).where(views.c.product_id == product_id).values(views=views.c.views + 1)
    )
    count = await connection.scalar(select(views.c.views).where(views.c.product_id == product_id))
    await connection.commit()
    return {"views": count}


async def read_preferences(visitor: str, connection: ConnectionDep) -> dict[str, Any]:
    """Create the defaults when there are none yet: a GET that sometimes writes."""
    query = select(preferences).where(preferences.c.visitor == visitor)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        await connection.execute(insert(preferences).values(visitor=visitor, currency="EUR", page_size=10))
        await connection.commit()
        row = (await connection.execute(query)).mappings().one()
    return dict(row)


async def put_preferences(visitor: str, body: Currency, connection: ConnectionDep) -> dict[str, str]:
    await connection.execute(
        update(preferences).where(preferences.c.visitor == visitor).values(currency=body.currency)
    )
    await connection.commit()
    return {"currency": body.currency}


async def read_price_log(connection: ConnectionDep, product_id: int | None = None) -> list[dict[str, Any]]:
    query = select(price_log).order_by(price_log.c.id)
    if product_id is not None:
        query = query.where(price_log.c.product_id == product_id)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def put_price(product_id: int, body: Price, connection: ConnectionDep) -> dict[str, int]:
    result = await connection.execute(
        update(products).where(products.c.id == product_id).values(price=body.price)
    )
    if result.rowcount == 0:
        raise HTTPException(404, "no such product")
    await connection.commit()
    return {"price": body.price}


async def stock_value(connection: ConnectionDep) -> dict[str, int]:
    return {"value": await connection.scalar(select(func.sum(products.c.price)))}


def build(database_url: str) -> FastAPI:
    engine = create_async_engine(database_url.replace("sqlite://", "sqlite+aiosqlite://", 1))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    application = FastAPI(title="catalogue", lifespan=lifespan)
    application.get("/products")(list_products)
    application.get("/products/{product_id}")(open_product)
    application.get("/products/{product_id}/visit")(visit_product)
    application.get("/categories")(list_categories)
    application.get("/price-log")(read_price_log)
    application.get("/visitors/{visitor}/preferences")(read_preferences)
    application.put("/visitors/{visitor}/preferences")(put_preferences)
    back_office = FastAPI(title="back office")
    back_office.get("/products/{product_id}")(open_product)
    back_office.put("/products/{product_id}/price")(put_price)
    back_office.get("/value")(stock_value)
    application.state.engine = back_office.state.engine = engine
    application.mount("/backoffice", back_office)
    return application


def seed(database_url: str) -> None:
    engine = create_engine(database_url)
    numbers = range(1, PRODUCTS + 1)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        metadata.create_all(connection)
        connection.execute(
            insert(products),
            [{"id": n, "category": CATEGORIES[n % 3], "price": 100 + n * 13 % 70} for n in numbers],
        )
        connection.execute(
            insert(names),
            [
                {"product_id": n, "language": language, "name": f"{language}: thing {n}"}
                for n in numbers
                for language in LANGUAGES
            ],
        )
        connection.execute(insert(views), [{"product_id": n, "views": 0} for n in numbers])
    engine.dispose()


def exercise(client: httpx.Client) -> None:
    """Make 400 requests without credentials, in four languages; raise on a surprising status."""
    rng = Random(7)
    for turn in range(400):
        product = min(int(rng.expovariate(0.3)) + 1, PRODUCTS)
        visitor = f"/visitors/v{rng.randint(1, 6)}/preferences"
        method, url, body = rng.choices(
            (
                ("GET", "/products", None),
                ("GET", f"/products?category={rng.choice(CATEGORIES)}", None),
                ("GET", "/products?page=2&size=10", None),
                ("GET", f"/products/{product}", None),
                ("GET", "/categories", None),
                ("GET", "/price-log?product_id=1", None),
                ("GET", "/price-log", None),
                ("GET", f"/products/{product}/visit", None),
                ("GET", visitor, None),
                ("GET", f"/backoffice/products/{product}", None),
                ("GET", "/backoffice/value", None),
                ("PUT", f"/backoffice/products/{product}/price", {"price": 100 + turn}),
                ("PUT", visitor, {"currency": rng.choice(("EUR", "USD", "JPY"))}),
            ),
            weights=(20, 15, 6, 25, 6, 6, 4, 8, 10, 6, 3, 4, 2),
        )[0]
        headers = {"Accept-Language": rng.choice(("en", "de-DE,de;q=0.9", "fr", "ja"))}
        response = client.request(method, url, headers=headers, json=body)
        assert response.status_code == 200, f"{method} {url}: {response.status_code} {response.text}"
    assert client.get(f"/products/{PRODUCTS + 1}").status_code == 404


app = build(os.environ.get("APP_DATABASE_URL", "sqlite:///./header_lang.db"))
