from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from .config import settings


def build_engine(url: str) -> Engine:
    """Return an engine for `url`; on SQLite one whose connections may read while another writes."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=20, max_overflow=20)
    # A request keeps its connection between two turns on a worker thread, so more connections than threads
    # can be out at once: the overflow is unlimited, for a waiting thread could be the one to return one.
    engine = create_engine(url, connect_args={"check_same_thread": False}, pool_size=40, max_overflow=-1)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


engine = build_engine(settings.database_url)
SessionLocal = sessionmaker(engine, autoflush=False)


def get_session() -> Iterator[Session]:
    with SessionLocal() as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]
