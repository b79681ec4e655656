"""What the listeners report of real engines and sessions."""

import time

import pytest
from sqlalchemy import ForeignKey, String, create_engine, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cachewright.capture.context import CURRENT, RequestContext
from cachewright.capture.database import DatabaseWatch
from cachewright.capture.events import UNKNOWN
from cachewright.capture.metadata import declared_tables


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "capture_owners"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))


class Item(Base):
    __tablename__ = "capture_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("capture_owners.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(50))


class Sink:
    """Keeps what it is told."""

    def __init__(self):
        self.statements, self.images, self.ends, self.escapes = [], [], [], []
        self.commits = []

    def executed(self, statement, transaction, context):
        self.statements.append((statement, transaction, context))

    def flushed(self, images, transaction, context):
        self.images.extend((image, transaction) for image in images)

    def committing(self, transaction, context):
        self.commits.append(transaction)

    def ended(self, transaction, *, committed, started, ended, context):
        self.ends.append((transaction, committed))

    def escaped(self, context, escape):
        self.escapes.append(escape)


@pytest.fixture
def sink():
    sink = Sink()
    watch = DatabaseWatch(sink, time.monotonic_ns).open()
    yield sink
    watch.close()


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Owner(id=1, name="a"))
        session.add(Owner(id=2, name="b"))
        session.add(Item(id=1, owner_id=1, title="t"))
        session.commit()
    yield engine
    engine.dispose()


def test_images_hold_old_and_new_values_of_an_owner_change(engine, sink):
    with Session(engine) as session:
        item = session.get(Item, 1)
        item.owner_id = 2
        session.commit()

    [(image, transaction)] = sink.images
    assert (image.table, image.action) == ("capture_items", "update")
    assert (image.old["owner_id"], image.new["owner_id"]) == (1, 2)
    assert image.changed == {"owner_id"}
    assert (transaction, True) in sink.ends


def test_a_commit_is_told_before_it_happens_and_a_rollback_is_not(engine, sink):
    seen = []
    sink.committing = lambda transaction, _context: seen.append((transaction, list(sink.ends)))
    with Session(engine) as session:
        session.get(Item, 1).title = "new"
        session.commit()
        session.get(Item, 1).title = "other"
        session.rollback()

    [(transaction, before)] = seen
    assert (transaction, True) not in before
    assert (transaction, True) in sink.ends


def test_an_old_value_that_was_never_loaded_is_unknown(engine, sink):
    with Session(engine) as session:
        item = session.get(Item, 1)
        session.expire(item)
        item.owner_id = 2
        session.commit()

    [(image, _)] = sink.images
    assert image.old["owner_id"] is UNKNOWN
    assert image.new["owner_id"] == 2


def test_inserts_and_deletes_have_one_side(engine, sink):
    with Session(engine) as session:
        session.add(Item(owner_id=2, title="n"))
        session.delete(session.get(Item, 1))
        session.commit()

    images = {image.action: image for image, _ in sink.images}
    assert images["insert"].old is None
    assert images["insert"].new["owner_id"] == 2
    assert images["insert"].new["id"] == 2
    assert images["delete"].new is None
    assert images["delete"].old["owner_id"] == 1


def test_statements_of_a_flush_are_told_from_core_inside_it(engine, sink):
    with Session(engine) as session:
        session.add(Item(owner_id=2, title="n"))
        session.flush()
        session.execute(update(Item).where(Item.id == 1).values(title="bulk"))
        session.execute(text("UPDATE capture_items SET title = 'x' WHERE id = 1"))
        session.commit()

    kinds = [(s.sql.split()[0], s.unit_of_work) for s, _, _ in sink.statements]
    assert kinds == [("INSERT", True), ("UPDATE", False), ("UPDATE", False)]


def test_a_commit_is_reported_after_the_driver_committed(engine, sink):
    seen = []
    original = sink.ended

    def look(transaction, **named):
        with engine.connect() as other:
            seen.append(other.execute(text("SELECT title FROM capture_items WHERE id = 1")).scalar_one())
        original(transaction, **named)

    sink.ended = lambda *a, **k: None
    with engine.connect() as connection:
        connection.execute(update(Item).where(Item.id == 1).values(title="after"))
        sink.ended = look
        done = look

        def once(transaction, **named):
            sink.ended = original
            done(transaction, **named)

        sink.ended = once
        connection.commit()

    assert seen == ["after"]


def test_rollback_and_savepoints(engine, sink):
    with Session(engine) as session:
        session.execute(insert(Item).values(owner_id=1, title="the transaction begins"))
        with session.begin_nested():
            session.execute(insert(Item).values(owner_id=1, title="s"))
        assert not sink.ends, "the release of a savepoint is no commit"
        session.rollback()

    assert [committed for _, committed in sink.ends] == [False]


def test_a_savepoint_that_began_the_transaction_of_sqlite_commits_when_it_is_released(engine, sink):
    with Session(engine) as session:
        with session.begin_nested():
            session.execute(insert(Item).values(owner_id=1, title="stays"))
        session.rollback()

    statement, written, _ = next(seen for seen in sink.statements if seen[0].sql.startswith("INSERT"))
    assert not statement.autocommit
    assert (written, True) in sink.ends
    with Session(engine) as session:
        assert session.scalar(select(Item.title).where(Item.title == "stays")) == "stays"


def test_autocommit_ends_with_its_statement(engine, sink):
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(delete(Item).where(Item.id == 1))

    assert [(t.id, committed) for t, committed in sink.ends][:1] == [(0, True)]


def test_raw_connections_are_reported(engine, sink):
    connection = engine.raw_connection()
    connection.cursor().execute("UPDATE capture_items SET title = 'raw'")
    connection.commit()
    connection.close()

    with Session(engine) as session:
        session.get(Item, 1)

    assert sink.escapes == ["out", "committed", "back"]


async def test_async_engines_and_the_context(tmp_path, sink):
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/y.db")
    context = RequestContext(started=0, scope={})
    token = CURRENT.set(context)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE z (a int)"))
        await connection.execute(text("INSERT INTO z VALUES (1)"))
        await connection.execute(text("SELECT a FROM z"))
    CURRENT.reset(token)
    await engine.dispose()

    assert [s.sql.split()[0] for s, _ in context.statements] == ["CREATE", "INSERT", "SELECT"]
    assert [committed for _, committed in sink.ends] == [True, True], "SQLite commits a definition at once"


def test_closing_puts_everything_back(engine):
    dialect = engine.dialect
    before = dialect.do_commit
    sink = Sink()
    watch = DatabaseWatch(sink, time.monotonic_ns).open()
    with engine.begin() as connection:
        connection.execute(select(Item))
    assert sink.statements
    watch.close()

    assert dialect.do_commit == before
    count = len(sink.statements)
    with engine.begin() as connection:
        connection.execute(select(Item))
    assert len(sink.statements) == count


def test_declared_tables_name_keys_and_references():
    tables = declared_tables()

    assert tables.columns["capture_items"] == ("id", "owner_id", "title")
    assert tables.primary_keys["capture_owners"] == ("id",)
    [reference] = [r for r in tables.references if r.table == "capture_items"]
    assert (reference.target, reference.on_delete, reference.columns) == (
        "capture_owners",
        "CASCADE",
        ("owner_id",),
    )


def test_rows_inserted_in_one_batch_are_one_set_of_parameters(engine, sink):
    with engine.begin() as connection:
        connection.execute(
            insert(Item).returning(Item.id),
            [{"owner_id": 1, "title": "a"}, {"owner_id": 2, "title": "b"}],
        ).all()

    [statement] = [s for s, _, _ in sink.statements if s.sql.startswith("INSERT")]
    assert not statement.many
    assert set(statement.parameters) == {1, "a", 2, "b"}


def test_a_connection_that_dies_takes_its_transaction_with_it(engine, sink):
    connection = engine.connect()
    connection.execute(update(Item).where(Item.id == 1).values(title="lost"))
    connection.invalidate()
    connection.close()

    assert [committed for _, committed in sink.ends] == [False]


def test_sql_of_what_outlives_its_request_belongs_to_nobody(engine, sink):
    context = RequestContext(started=0, scope={})
    token = CURRENT.set(context)
    context.returned = 1
    with engine.connect() as connection:
        connection.execute(select(Item))
    CURRENT.reset(token)

    assert not context.statements
    assert [c for _, _, c in sink.statements] == [None]


def test_a_commit_that_raised_counts_as_one_that_may_have_happened(engine, sink):
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        connection.execute(insert(Item).values(owner_id=99, title="nobody's"))
        with pytest.raises(IntegrityError):
            connection.commit()

    assert [committed for transaction, committed in sink.ends if transaction.doubtful] == [True]
