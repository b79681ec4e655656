"""What neither models nor SQLAlchemy know: drivers that commit by themselves, views, triggers, connections lent out."""

import asyncio

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note, make_engine

NOTES = get("/notes", "shop_notes", key="notes")


def with_notes(shop):
    @shop.app.get("/notes")
    def notes(session: Session = shop.given):
        return session.scalars(select(Note.title).order_by(Note.id)).all()

    return shop.app


async def test_a_driver_that_commits_each_statement_has_committed_what_sqlalchemy_rolls_back(shop, tmp_path):
    by_itself = make_engine(tmp_path / "shop.db")

    @event.listens_for(by_itself, "connect")
    def autocommit(connection, _record):
        connection.isolation_level = None

    async with driven(with_notes(shop), specification(NOTES)) as driver:
        assert await driver.caches("/notes")
        with by_itself.connect() as connection:
            connection.execute(text("UPDATE shop_notes SET title = 'at once'"))
        assert not await driver.hit("/notes")
        assert "at once" in (await driver.get("/notes")).text

        assert await driver.caches("/notes")
        with (
            by_itself.connect() as connection
        ):  # and a transaction in plain text, which is none of SQLAlchemy's
            connection.exec_driver_sql("BEGIN")
            connection.execute(text("UPDATE shop_notes SET title = 'later'"))
            assert not await driver.hit("/notes")
            connection.exec_driver_sql("COMMIT")
            assert not await driver.hit("/notes")
        assert "later" in (await driver.get("/notes")).text
    by_itself.dispose()


async def test_a_connection_that_was_lent_out_commits_before_it_is_back(shop):
    async with driven(with_notes(shop), specification(NOTES)) as driver:
        assert await driver.caches("/notes")
        raw = shop.engine.raw_connection()
        assert not await driver.hit("/notes")
        raw.cursor().execute("UPDATE shop_notes SET title = 'raw'")
        raw.commit()
        assert not await driver.hit("/notes")
        assert not await driver.hit("/notes"), "nothing is kept while it is out"
        raw.close()
        assert await driver.caches("/notes")


@pytest.mark.parametrize("depends_on", ["titles", "shop_notes"])
async def test_a_view_is_what_it_reads(shop, depends_on):
    with shop.engine.begin() as connection:
        connection.execute(text("CREATE VIEW titles AS SELECT title FROM shop_notes"))
    shop.engine.dispose()

    @shop.app.get("/titles")
    def titles(session: Session = shop.given):
        return session.scalars(text("SELECT title FROM titles")).all()

    async with driven(shop.app, specification(get("/titles", depends_on, key="titles"))) as driver:
        assert await driver.caches("/titles") is (depends_on == "shop_notes")
        with Session(shop.engine) as session:
            session.get_one(Note, 1).title = "through the view"
            session.commit()
        assert not await driver.hit("/titles")


async def test_a_trigger_writes_what_no_statement_names(shop):
    with shop.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER retitles AFTER UPDATE ON shop_tags BEGIN"
                " UPDATE shop_notes SET title = 'triggered'; END"
            )
        )
    shop.engine.dispose()
    async with driven(with_notes(shop), specification(NOTES)) as driver:
        assert await driver.caches("/notes")

        def write():
            with shop.engine.begin() as connection:
                connection.execute(text("UPDATE shop_tags SET name = 'x' WHERE id = 1"))

        await asyncio.to_thread(write)
        assert not await driver.hit("/notes")
        assert "triggered" in (await driver.get("/notes")).text


async def test_a_function_of_the_process_writes_nothing_by_itself(shop):
    @event.listens_for(shop.engine, "connect")
    def functions(connection, _record):
        connection.create_function("shout", 1, str.upper)

    @shop.app.get("/shouted")
    def shouted(session: Session = shop.given):
        return session.scalars(select(func.shout(Note.title))).all()

    async with driven(with_notes(shop), specification(NOTES)) as driver:
        assert await driver.caches("/notes")
        await driver.get("/shouted")
        assert await driver.hit("/notes")
