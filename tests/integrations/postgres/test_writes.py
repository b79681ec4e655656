"""Every way to write to PostgreSQL, with a synchronous and an asynchronous driver: nothing stale is served."""

import asyncio

import pytest
from sqlalchemy import create_engine, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from tests.integrations.driving import driven
from tests.integrations.postgres.board import CARDS, READS, Card, Label, Owner, board_spec, labelled

CARD = "UPDATE board_cards SET title = 'changed' WHERE owner = 'bob'"


def unit_of_work(session):
    session.get_one(Card, CARDS[1]).title = "new"
    session.commit()


def owner_change(session):
    session.get_one(Card, CARDS[1]).owner = "cat"
    session.commit()


def owner_change_with_unloaded_old_value(session):
    card = session.get_one(Card, CARDS[1])
    session.expire(card)
    card.owner = "cat"
    session.commit()


def row_switch(session):
    """Deleted and added again under the same key in one flush: SQLAlchemy makes one UPDATE of it."""
    card = session.get_one(Card, CARDS[1])
    card.labels.clear()
    session.flush()
    session.delete(card)
    session.add(Card(id=CARDS[1], owner="cat", title="switched"))
    session.commit()


def query_update(session):
    session.query(Card).filter(Card.owner == "bob").update({"title": "query"})
    session.commit()


def query_delete(session):
    session.query(Card).filter(Card.id == CARDS[4]).delete()
    session.commit()


def bulk_update_mappings(session):
    session.bulk_update_mappings(Card, [{"id": CARDS[1], "title": "mapped"}])
    session.commit()


def bulk_insert_returning(session):
    session.scalars(
        insert(Card).returning(Card), [{"id": CARDS[0], "owner": "bob", "title": "returned"}]
    ).all()
    session.commit()


def many_rows(session):
    session.execute(insert(Owner), [{"code": f"o{n}", "name": "many"} for n in range(300)])
    session.execute(update(Card), [{"id": card, "title": "by key"} for card in CARDS[1:]])
    session.commit()


def an_upsert(session):
    statement = upsert(Card).values(id=CARDS[1], owner="bob", title="first")
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"owner": "cat"}))
    session.commit()


def insert_select(session):
    session.execute(
        text(
            "INSERT INTO board_cards (id, owner, title, state, word, facts, tags, urgent)"
            " SELECT gen_random_uuid(), owner, 'copy', state, word, facts, tags, urgent FROM board_cards"
        )
    )
    session.commit()


def moved_by_a_common_table_expression(session):
    session.execute(
        text(
            "WITH gone AS (DELETE FROM board_cards WHERE id = :id RETURNING owner) SELECT count(*) FROM gone"
        ),
        {"id": CARDS[1]},
    )
    session.commit()


def update_from(session):
    session.execute(
        text(
            "UPDATE board_cards c SET title = o.name || ' ' || o.code FROM board_owners o"
            " WHERE o.code = c.owner AND o.name = 'BOB'"
        )
    )
    session.commit()


def delete_using(session):
    session.execute(
        text("DELETE FROM board_cards c USING board_owners o WHERE o.code = c.owner AND o.name = 'BOB'")
    )
    session.commit()


def merge(session):
    session.execute(
        text(
            "MERGE INTO board_cards c USING (VALUES ('bob', 'merged')) v(owner, title) ON c.owner = v.owner"
            " WHEN MATCHED THEN UPDATE SET title = v.title"
        )
    )
    session.commit()


def many_to_many(session):
    card = session.get_one(Card, CARDS[1])
    card.labels.append(session.get_one(Label, 2))
    session.commit()


def many_to_many_core(session):
    session.execute(delete(labelled).where(labelled.c.card_id == CARDS[1]))
    session.commit()


def deleted_cascade(session):
    session.execute(text("DELETE FROM board_owners WHERE code = 'bob'"))
    session.commit()


def deleted_cascade_by_the_unit_of_work(session):
    session.delete(session.get_one(Owner, "bob"))
    session.commit()


def updated_cascade(session):
    session.execute(text("UPDATE board_owners SET code = 'dan' WHERE code = 'bob'"))
    session.commit()


def updated_cascade_by_the_unit_of_work(session):
    session.get_one(Owner, "bob").code = "dan"
    session.commit()


def savepoint_kept(session):
    with session.begin_nested():
        session.get_one(Card, CARDS[1]).title = "nested"
    session.commit()


def after_a_savepoint_that_was_rolled_back(session):
    nested = session.begin_nested()
    session.execute(update(Card).where(Card.owner == "ann").values(title="never"))
    nested.rollback()
    session.execute(update(Card).where(Card.owner == "bob").values(title="kept"))
    session.commit()


def two_commits(session):
    session.get_one(Card, CARDS[2]).title = "first"
    session.commit()
    session.get_one(Card, CARDS[1]).title = "second"
    session.commit()


def commit_in_plain_text(session):
    connection = session.connection()
    connection.execute(text(CARD))
    connection.execute(text("COMMIT"))
    session.close()


def writing_function(session):
    session.execute(text("SELECT board_rename('bob', 'by a function')"))
    session.commit()


def writing_function_in_from(session):
    session.execute(text("SELECT * FROM board_rename('bob', 'by a function') AS r"))
    session.commit()


def writing_function_through_func(session):
    from sqlalchemy import func

    session.execute(select(func.board_rename("bob", "by func")))
    session.commit()


def called(session):
    session.execute(text("CALL board_retitle('bob')"))
    session.commit()


def do_block(session):
    session.execute(text(f"DO $$ BEGIN {CARD}; END $$"))
    session.commit()


def truncate(session):
    session.execute(text("TRUNCATE board_labelled"))
    session.commit()


def truncate_cascade(session):
    session.execute(text("TRUNCATE board_owners CASCADE"))
    session.commit()


def prepared(session):
    session.execute(text(f"PREPARE retitle AS {CARD}"))
    session.execute(text("EXECUTE retitle"))
    session.execute(text("DEALLOCATE retitle"))
    session.commit()


def ddl(session):
    session.execute(text("ALTER TABLE board_cards ALTER title TYPE varchar USING 'altered'"))
    session.commit()


def explain_analyze(session):
    session.execute(text(f"EXPLAIN ANALYZE {CARD}"))
    session.commit()


def trigger_on_another_table(session):
    """The metadata knows nothing of it; the catalogue does."""
    session.execute(text("UPDATE board_labels SET name = 'x' WHERE id = 2"))
    session.commit()


def partition(session):
    session.execute(text("UPDATE board_cards SET urgent = true, title = 'x' WHERE owner IN ('bob')"))
    session.commit()


def text_of_a_boolean(session):
    session.execute(text("UPDATE board_cards SET title = 'b' WHERE urgent = 'no' AND owner = 'bob'"))
    session.commit()


def raw_connection(session):
    raw = session.connection().engine.raw_connection()
    cursor = raw.cursor()
    cursor.execute(CARD)
    cursor.close()
    raw.commit()
    raw.close()


def lent_connection(session):
    cursor = session.connection().connection.cursor()
    cursor.execute(CARD)
    cursor.close()
    session.commit()
    session.close()


SETUP = (
    """CREATE FUNCTION board_rename(who text, called text) RETURNS integer LANGUAGE plpgsql AS $$
    BEGIN UPDATE board_cards SET title = called WHERE owner = who; RETURN 1; END $$""",
    """CREATE PROCEDURE board_retitle(who text) LANGUAGE sql AS $$
    UPDATE board_cards SET title = 'called' WHERE owner = who $$""",
    """CREATE FUNCTION board_touch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN UPDATE board_cards SET title = 'triggered' WHERE owner = 'bob'; RETURN NULL; END $$""",
    """CREATE TRIGGER board_touches AFTER UPDATE ON board_labels FOR EACH ROW
    EXECUTE FUNCTION board_touch()""",
)

WRITES = [
    value
    for value in list(globals().values())
    if getattr(value, "__module__", None) == __name__ and callable(value)
]


#: What an asynchronous engine does in its own way.
ASYNC = (
    unit_of_work,
    owner_change,
    bulk_insert_returning,
    many_rows,
    an_upsert,
    query_update,
    moved_by_a_common_table_expression,
    updated_cascade,
    savepoint_kept,
    commit_in_plain_text,
    writing_function,
    raw_connection,
    lent_connection,
)
CASES = [(write, "psycopg") for write in WRITES] + [(write, "asyncpg") for write in ASYNC]


@pytest.fixture(scope="module")
def database(postgres_server, database):
    postgres_server.run(*SETUP, database=database("").database)
    return database


async def answers(driver):
    found = {}
    for url in READS:
        await driver.hit(url)
        found[url] = (await driver.get(url)).content
    return found


@pytest.mark.parametrize(("write", "driver"), CASES, ids=lambda value: getattr(value, "__name__", value))
async def test_after_any_write_the_answers_are_those_of_the_application(app, board, write, driver):
    async def written():
        if driver == "asyncpg":
            engine = create_async_engine(board(driver))
            async with AsyncSession(engine) as session:
                await session.run_sync(write)
            await engine.dispose()
            return
        engine = create_engine(board(driver))

        def run():
            with Session(engine) as session:
                write(session)

        await asyncio.to_thread(run)
        engine.dispose()

    async with driven(app, board_spec()) as client:
        for url in READS:
            assert await client.caches(url), client.refused
        before = await answers(client)
        await written()
        assert await answers(client) != before, "this write should show"
