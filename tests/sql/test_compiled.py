"""Statements as SQLAlchemy really sends them, in four dialects."""

import enum
from typing import NamedTuple

import pytest
from sqlalchemy import (
    ForeignKey,
    String,
    create_engine,
    delete,
    event,
    exists,
    func,
    insert,
    literal_column,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg, psycopg
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)

from cachewright.sql.cache import Facts
from cachewright.sql.facts import Bind, StatementFacts
from cachewright.sql.parse import parse


class Base(DeclarativeBase):
    pass


class Mood(enum.Enum):
    calm = 1


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    mood: Mapped[Mood]
    tasks: Mapped[list["Task"]] = relationship(back_populates="user")


class Mark(Base):
    __tablename__ = "marks"
    task_id: Mapped[int] = mapped_column(ForeignKey("chores.id"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(ForeignKey("tags.id"), primary_key=True)


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]


class Task(Base):
    __tablename__ = "chores"  # no other test's: what is mapped anywhere is known in the whole process
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    rank: Mapped[int]
    user: Mapped[User] = relationship(back_populates="tasks")
    tags: Mapped[list[Tag]] = relationship(secondary="marks")


SCHEMA = {table.fullname: list(table.columns.keys()) for table in Base.metadata.tables.values()}


class Compiled(NamedTuple):
    facts: StatementFacts
    binds: dict | tuple

    def pins(self, table: str) -> dict:
        """Pinned columns of the first occurrence of a table, with the values bound."""
        read = next(read for read in self.facts.reads if read.table == table)
        return self.values(read.pinned)

    def values(self, operands) -> dict:
        return {
            column: None if op is None else self.binds[op.key] if isinstance(op, Bind) else op.value
            for column, op in operands
        }


DIALECTS = {
    "sqlite": sqlite.dialect(),
    "asyncpg": asyncpg.dialect(),
    "psycopg": psycopg.dialect(),
    "mysql": mysql.dialect(),
}


@pytest.fixture(params=sorted(DIALECTS))
def read(request):
    dialect = DIALECTS[request.param]

    def compiled(statement) -> Compiled:
        text = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        facts = parse(str(text), dialect=dialect.name, paramstyle=dialect.paramstyle, schema=SCHEMA)
        assert not facts.unknown, str(text)
        binds = tuple(text.params[name] for name in text.positiontup) if text.positional else text.params
        return Compiled(facts, binds)

    return compiled


def test_a_filtered_page(read):
    found = read(
        select(Task)
        .where(Task.user_id == 7, Task.rank > 2, Task.title.ilike("%a%"))
        .order_by(Task.id)
        .limit(5)
        .offset(10)
    )
    assert found.pins("chores") == {"user_id": 7}
    assert found.facts.reads[0].columns == {"id", "user_id", "title", "rank"}


def test_two_equalities_and_modulo(read):
    found = read(
        select(func.count()).select_from(Task).where(Task.id == 3, Task.title == "50%", Task.rank % 2 == 1)
    )
    assert found.pins("chores") == {"id": 3, "title": "50%"}


def test_an_in_list_beside_an_equality_keeps_its_positions(read):
    found = read(select(Task.id).where(Task.rank.in_([4, 5, 6]), Task.user_id == 7))
    assert found.pins("chores") == {"user_id": 7}


def test_an_in_list_of_one(read):
    assert read(select(Task.id).where(Task.user_id.in_([7]))).pins("chores") == {"user_id": 7}


def test_an_inner_join_copies_the_key(read):
    found = read(select(Task, User).join(Task.user).where(User.id == 7))
    assert found.pins("chores") == {"user_id": 7}
    assert found.pins("users") == {"id": 7}


def test_a_joined_load_reaches_the_collection(read):
    found = read(select(Task).where(Task.id == 9).options(joinedload(Task.tags)))
    assert found.pins("chores") == {"id": 9}
    assert found.pins("marks") == {"task_id": 9}
    assert found.pins("tags") == {}


def test_a_joined_load_of_a_page_stands_around_a_derived_table(read):
    found = read(select(Task).where(Task.user_id == 7).options(joinedload(Task.tags)).limit(3))
    assert found.pins("chores") == {"user_id": 7}
    assert found.pins("marks") == {}


def test_an_alias_of_the_same_table_stands_for_itself(read):
    other = aliased(Task)
    found = read(
        select(Task.id, other.id).join(other, other.user_id == Task.user_id).where(Task.user_id == 7)
    )
    assert [found.values(each.pinned) for each in found.facts.reads] == [{"user_id": 7}, {"user_id": 7}]


def test_a_correlated_exists_and_a_scalar_subquery(read):
    counted = select(func.count()).where(Task.user_id == User.id).scalar_subquery()
    found = read(select(User.name, counted).where(User.id == 7, exists().where(Mark.tag_id == 4)))
    assert found.pins("chores") == {"user_id": 7}
    assert found.pins("marks") == {"tag_id": 4}


def test_a_cte_and_a_union(read):
    mine = select(Task.id.label("i")).where(Task.user_id == 7).cte("mine")
    found = read(union_all(select(mine.c.i), select(Mark.task_id).where(Mark.tag_id == 4)))
    assert found.pins("chores") == {"user_id": 7}
    assert found.pins("marks") == {"tag_id": 4}


def test_a_lock(read):
    found = read(select(Task).where(Task.id == 9).with_for_update())
    assert found.pins("chores") == {"id": 9}


def test_an_update_and_a_delete(read):
    (write,) = (
        found := read(update(Task).where(Task.id == 9).values(title="new", rank=Task.rank + 1))
    ).facts.writes
    assert (write.table, write.action, write.whole) == ("chores", "update", False)
    assert found.values(write.pinned) == {"id": 9}
    assert found.values(write.assigned) == {"title": "new", "rank": None}
    (write,) = (found := read(delete(Task).where(Task.user_id == 7, Task.rank < 3))).facts.writes
    assert (write.action, found.values(write.pinned)) == ("delete", {"user_id": 7})


def test_an_insert_of_two_rows(read):
    rows = [{"user_id": 7, "title": "a", "rank": 1}, {"user_id": 8, "title": "b", "rank": 2}]
    (write,) = (found := read(insert(Task).values(rows))).facts.writes
    assert [found.values(row) for row in write.value_sets] == rows
    assert not write.whole


def test_an_insert_from_a_select(read):
    (write,) = (
        found := read(
            insert(Mark).from_select(
                ["task_id", "tag_id"], select(Task.id, literal_column("4")).where(Task.user_id == 7)
            )
        )
    ).facts.writes
    assert (write.table, write.action, write.whole) == ("marks", "insert", True)
    assert found.pins("chores") == {"user_id": 7}


@pytest.mark.parametrize("name", ["asyncpg", "psycopg"])
def test_a_postgres_upsert_and_an_enum(name):
    dialect = DIALECTS[name]
    statement = pg_insert(Tag).values(id=1, label="x")
    text = str(
        statement.on_conflict_do_update(index_elements=[Tag.id], set_={"label": "x"}).compile(dialect=dialect)
    )
    (write,) = parse(text, dialect="postgresql", paramstyle=dialect.paramstyle, schema=SCHEMA).writes
    assert (write.table, write.action, write.whole) == ("tags", "any", True)
    text = str(select(User.id).where(User.mood == Mood.calm, User.id == 7).compile(dialect=dialect))
    (read,) = parse(text, dialect="postgresql", paramstyle=dialect.paramstyle, schema=SCHEMA).reads
    assert "id" in dict(read.pinned)


@pytest.fixture
def sent():
    """Run a session on SQLite and give every statement it sent, with its facts and parameters."""
    engine = create_engine("sqlite://")
    facts = Facts(lambda: SCHEMA)
    seen: list[tuple[StatementFacts, object, bool]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(*sent):
        _, _, statement, parameters, _, executemany = sent
        seen.append(
            (facts.of(statement, engine.dialect.name, engine.dialect.paramstyle), parameters, executemany)
        )

    Base.metadata.create_all(engine)
    seen.clear()
    with Session(engine) as session:
        yield session, seen
    engine.dispose()


def test_a_unit_of_work_is_understood_throughout(sent):
    session, seen = sent
    ann = User(name="ann", mood=Mood.calm)
    ann.tasks = [Task(title="a", rank=1, tags=[Tag(label="x"), Tag(label="y")]), Task(title="b", rank=2)]
    session.add(ann)
    session.commit()
    task = session.scalars(select(Task).options(selectinload(Task.tags)).where(Task.title == "a")).one()
    task.rank = 5
    task.tags.pop()
    session.commit()
    session.delete(task)
    session.commit()
    assert seen
    assert not [facts for facts, _, _ in seen if facts.unknown]
    assert not [write for facts, _, _ in seen for write in facts.writes if write.whole]
    assert {write.table for facts, _, _ in seen for write in facts.writes} == {
        "users",
        "chores",
        "tags",
        "marks",
    }


def test_keys_are_positions_in_one_parameter_set_of_an_executemany(sent):
    session, seen = sent
    session.execute(insert(Tag), [{"id": 1, "label": "x"}, {"id": 2, "label": "y"}])
    ((facts, parameters, many),) = seen
    assert many
    ((row,),) = [write.value_sets for write in facts.writes]
    assert [{column: each[op.key] for column, op in row} for each in parameters] == [
        {"id": 1, "label": "x"},
        {"id": 2, "label": "y"},
    ]
