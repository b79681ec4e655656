"""A small shop for the tests of commands: `shop:app`, over the SQLite file in SHOP_DATABASE."""

import os
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))


engine = create_engine(
    f"sqlite:///{os.environ['SHOP_DATABASE']}", connect_args={"check_same_thread": False, "timeout": 10}
)
sessions = sessionmaker(engine)
Base.metadata.create_all(engine)
app = FastAPI()


def session() -> Iterator[Session]:
    with sessions() as opened:
        yield opened


SessionDep = Annotated[Session, Depends(session)]


@app.get("/items/{item_id}")
def read_item(item_id: int, db: SessionDep) -> dict[str, object]:
    item = db.scalar(select(Item).where(Item.id == item_id))
    if item is None:
        raise HTTPException(404)
    return {"id": item.id, "name": item.name, "pid": os.getpid()}


@app.put("/items/{item_id}")
def write_item(item_id: int, name: str, db: SessionDep) -> dict[str, object]:
    db.merge(Item(id=item_id, name=name))
    db.commit()
    return {"id": item_id, "name": name}


def make() -> FastAPI:
    return app
