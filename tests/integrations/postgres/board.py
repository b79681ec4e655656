"""Tables as PostgreSQL has them, and an application that reads them every way: for tests of writes."""

import enum
import uuid
from datetime import datetime
from typing import Any

from fastapi import Depends, FastAPI
from sqlalchemy import (
    Column,
    DateTime,
    Enum,
    ForeignKey,
    MetaData,
    String,
    Table,
    create_engine,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, CITEXT, JSONB, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from tests.integrations.driving import get, specification

from cachewright.spec.document import Document


class Base(DeclarativeBase):
    metadata = MetaData()


class State(enum.Enum):
    OPEN = "open"
    DONE = "done"


labelled = Table(
    "board_labelled",
    Base.metadata,
    Column("card_id", ForeignKey("board_cards.id", ondelete="CASCADE"), primary_key=True),
    Column("label_id", ForeignKey("board_labels.id", ondelete="CASCADE"), primary_key=True),
)


class Owner(Base):
    __tablename__ = "board_owners"
    code: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str]


class Label(Base):
    __tablename__ = "board_labels"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Card(Base):
    __tablename__ = "board_cards"
    id: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    owner: Mapped[str] = mapped_column(
        ForeignKey("board_owners.code", ondelete="CASCADE", onupdate="CASCADE")
    )
    title: Mapped[str] = mapped_column(default="")
    state: Mapped[State] = mapped_column(Enum(State, name="board_state"), default=State.OPEN)
    word: Mapped[str] = mapped_column(CITEXT, default="word")
    due: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    tags: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    urgent: Mapped[bool] = mapped_column(default=False)
    labels: Mapped[list[Label]] = relationship(secondary=labelled, order_by=Label.id, passive_deletes=True)


CARDS = [uuid.UUID(int=number) for number in range(10)]


def fill(session: Session) -> None:
    session.add_all(Owner(code=code, name=code.upper()) for code in ("ann", "bob", "cat"))
    session.add_all(Label(id=number, name=f"label {number}") for number in (1, 2))
    session.flush()
    for number, card in enumerate(CARDS[1:], 1):
        session.add(Card(id=card, owner=("ann", "bob", "cat")[number % 3], title=f"card {number}"))
    session.flush()
    session.execute(labelled.insert(), [{"card_id": CARDS[1], "label_id": 1}])


CARDS_OF, LABELS_OF = "/owners/{owner}/cards", "/owners/{owner}/labels"
READS = [CARDS_OF.format(owner=owner) for owner in ("bob", "cat", "dan")] + [LABELS_OF.format(owner="bob")]


def board_app(engine: Any) -> FastAPI:
    """What belongs to an owner, read with a synchronous engine."""
    app = FastAPI()

    def session():
        with Session(engine) as session:
            yield session

    @app.get(CARDS_OF)
    def cards(owner: str, session: Session = Depends(session)) -> list[Any]:
        rows = session.scalars(select(Card).where(Card.owner == owner).order_by(Card.id))
        return [[card.title, card.state.value, card.word, card.urgent] for card in rows]

    @app.get(LABELS_OF)
    def labels(owner: str, session: Session = Depends(session)) -> list[Any]:
        joined = select(Card.title, Label.name).join(Card.labels).where(Card.owner == owner)
        return [list(row) for row in session.execute(joined.order_by(Label.id))]

    return app


def board_spec(**extra: Any) -> Document:
    cards = "board_cards(owner={owner})"
    return specification(
        get(CARDS_OF, cards, key="cards:{owner}"),
        get(LABELS_OF, cards, "board_labelled", "board_labels", key="labels:{owner}"),
        **extra,
    )


_TABLES = ("board_owners", "board_labels", "board_cards", "board_labelled")
KEEP = [f"CREATE TABLE kept_{table} AS SELECT * FROM {table}" for table in _TABLES]
RESTORE = ["TRUNCATE board_owners, board_labels CASCADE"] + [
    f"INSERT INTO {table} SELECT * FROM kept_{table}" for table in _TABLES
]


def made(url: Any) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION citext"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.commit()
    engine.dispose()
