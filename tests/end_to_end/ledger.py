"""A backend whose writes are committed when its answer leaves: entries of a ledger, by the owner of a token."""

import os
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import create_engine, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

app = FastAPI()
engine = create_engine(
    os.environ.get("APP_DATABASE_URL", "sqlite:///./ledger.db"), connect_args={"timeout": 30}
)


@event.listens_for(engine, "connect")
def _write_ahead(connection, _record):
    connection.execute("PRAGMA journal_mode=WAL")


class Base(DeclarativeBase):
    pass


class Entry(Base):
    __tablename__ = "ledger_entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)


def prepare(url: str) -> None:
    """Make the tables, once, before any worker starts."""
    made = create_engine(url)
    Base.metadata.create_all(made)
    made.dispose()


def session() -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


def owner(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    return credentials.credentials


@app.post("/entries")
def add(owner: Annotated[str, Depends(owner)], session: Annotated[Session, Depends(session)]) -> int:
    session.add(Entry(owner=owner))
    session.commit()
    return count(owner, session)["count"]


@app.get("/entries/count")
def count(owner: Annotated[str, Depends(owner)], session: Annotated[Session, Depends(session)]) -> dict:
    found = session.scalar(select(func.count()).select_from(Entry).where(Entry.owner == owner))
    return {"owner": owner, "count": found}
