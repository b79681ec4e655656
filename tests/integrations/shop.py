"""Tables of many kinds for tests of reads and writes."""

import enum
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from fastapi import Depends, FastAPI
from sqlalchemy import (
    Column,
    Engine,
    Enum,
    ForeignKey,
    MetaData,
    String,
    Table,
    TypeDecorator,
    Uuid,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, column_property, mapped_column, relationship


class Base(DeclarativeBase):
    metadata = MetaData()


class Status(enum.Enum):
    OPEN = "open"
    DONE = "finished"


class Backwards(TypeDecorator[str]):
    """A text that is stored the other way round."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else value[::-1]

    def process_result_value(self, value, dialect):
        return None if value is None else value[::-1]


tagged = Table(
    "shop_tagged",
    Base.metadata,
    Column("note_id", ForeignKey("shop_notes.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("shop_tags.id", ondelete="CASCADE"), primary_key=True),
)


class User(Base):
    __tablename__ = "shop_users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    notes: Mapped[list["Note"]] = relationship(
        cascade="all, delete-orphan", order_by="Note.id", passive_deletes=False
    )


class Tag(Base):
    __tablename__ = "shop_tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Note(Base):
    __tablename__ = "shop_notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("shop_users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(default="")
    folder: Mapped[str | None]
    tags: Mapped[list[Tag]] = relationship(secondary=tagged, order_by=Tag.id, passive_deletes=True)

    @hybrid_property
    def loud(self) -> str:
        return self.title.upper()

    @loud.inplace.expression
    @classmethod
    def _loud(cls):
        return func.upper(cls.title)


User.note_count = column_property(
    select(func.count(Note.id)).where(Note.user_id == User.id).correlate_except(Note).scalar_subquery()
)


class Kind(Base):
    """A table whose columns are bound in ways of their own."""

    __tablename__ = "shop_kinds"
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    status: Mapped[Status] = mapped_column(Enum(Status))
    mirrored: Mapped[str] = mapped_column(Backwards(20))
    folded: Mapped[str] = mapped_column(String(20, collation="NOCASE"))
    number: Mapped[int]
    text: Mapped[str] = mapped_column(default="")


class Versioned(Base):
    __tablename__ = "shop_versioned"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    text: Mapped[str]
    stamp: Mapped[int] = mapped_column(default=0, onupdate=lambda context: 5)
    __mapper_args__: ClassVar = {"version_id_col": version}


class Person(Base):
    __tablename__ = "shop_people"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__: ClassVar = {"polymorphic_on": "kind", "polymorphic_identity": "person"}


class Engineer(Person):
    __tablename__ = "shop_engineers"
    id: Mapped[int] = mapped_column(ForeignKey("shop_people.id"), primary_key=True)
    language: Mapped[str]
    __mapper_args__: ClassVar = {"polymorphic_identity": "engineer"}


class Seat(Base):
    __tablename__ = "shop_seats"
    hall: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    guest: Mapped[str] = mapped_column(default="")


def foreign_keys(connection, _record):
    connection.execute("PRAGMA foreign_keys=ON")


def make_engine(path, **options) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"check_same_thread": False}, max_overflow=-1, **options
    )
    event.listen(engine, "connect", foreign_keys)
    return engine


def fill(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(User(id=n, name=f"user {n}") for n in (1, 2, 3, -4))
        session.add_all(Tag(id=n, name=f"tag {n}") for n in (1, 2))
        session.flush()
        session.add_all(Note(id=n, user_id=n % 3 + 1, title=f"note {n}") for n in range(1, 10))
        session.flush()
        session.execute(tagged.insert(), [{"note_id": 1, "tag_id": 1}, {"note_id": 2, "tag_id": 2}])
        session.add_all(
            Kind(
                id=uuid.UUID(int=n),
                status=Status.OPEN if n % 2 else Status.DONE,
                mirrored=f"abc{n}",
                folded="Straw" if n % 2 else "Berry",
                number=n % 2,
            )
            for n in range(1, 5)
        )
        session.add_all(Versioned(id=n, text=f"text {n}") for n in (1, 2))
        session.add_all(Engineer(id=n, name=f"engineer {n}", language="C") for n in (1, 2))
        session.add_all(Seat(hall=h, number=n) for h in (1, 2) for n in (1, 2))
        session.commit()


@cache
def filled() -> bytes:
    """A whole database file with its first rows."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "shop.db")
        engine = make_engine(path)
        fill(engine)
        engine.dispose()
        return path.read_bytes()


class Shop:
    """An application over these tables, with an engine of its own."""

    def __init__(self, path, **options):
        Path(path).write_bytes(filled())
        self.engine = make_engine(path, **options)
        self.app = FastAPI()

    def session(self) -> Iterator[Session]:
        with Session(self.engine) as session:
            yield session

    @property
    def given(self):
        """A session as a parameter of an endpoint."""
        return Depends(self.session)
