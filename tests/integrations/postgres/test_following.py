"""Writes of other programs, followed by the log of PostgreSQL and by the version of a SQLite file."""

import sqlite3
import threading

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification
from tests.integrations.postgres.board import board_spec
from tests.integrations.shop import Note

from cachewright.errors import SurroundingsError
from cachewright.integrations.decoding import DecodedChanges, setup_sql
from cachewright.integrations.following import FileVersion, Following
from cachewright.spec.tags import NAMESPACE_TAG
from cachewright.spec.target import compile_plan

SLOT = "cachewright_test"


@pytest.fixture(scope="module")
def slot(postgres_server, database):
    """The database as the printed SQL sets it up."""
    name = database("").database
    printed = setup_sql(SLOT, ["board_cards"]).replace("ALTER ROLE follower REPLICATION;", "")
    postgres_server.run(
        *(line for line in printed.splitlines() if line and not line.startswith("--")), database=name
    )
    yield name
    postgres_server.run(f"SELECT pg_drop_replication_slot('{SLOT}')", database=name)


@pytest.fixture
def changes(slot, board):
    engine = create_engine(board("psycopg"))
    changes = DecodedChanges(engine, SLOT, compile_plan(board_spec()).column_sets)
    changes.open()
    changes.learn()
    changes.confirm(changes.poll())
    yield changes
    engine.dispose()


def test_rows_of_another_program_are_told_apart(changes, postgres_server, slot):
    write = lambda *statements: postgres_server.run(*statements, database=slot)  # noqa: E731
    seen = {}
    for name, statement in {
        "update": "UPDATE board_cards SET title = 'it''s [new]: 1' WHERE owner = 'bob'",
        "move": "UPDATE board_cards SET owner = 'cat' WHERE id = '00000000-0000-0000-0000-000000000001'",
        "delete": "DELETE FROM board_cards WHERE owner = 'ann'",
        "cascade": "UPDATE board_owners SET code = 'dan' WHERE code = 'cat'",
        "truncate": "TRUNCATE board_owners CASCADE",
    }.items():
        write(statement)
        batch = changes.poll()
        changes.confirm(batch)
        seen[name] = {tag for tag in batch.tags if tag.startswith("board_cards")}
        assert batch.transactions == 1
        assert batch.lag >= 0

    assert seen["update"] == {"board_cards", "board_cards(owner=bob)"}
    assert seen["move"] == {"board_cards", "board_cards(owner=bob)", "board_cards(owner=cat)"}
    assert seen["delete"] == {"board_cards", "board_cards(owner=ann)"}
    assert seen["cascade"] == {"board_cards", "board_cards(owner=cat)", "board_cards(owner=dan)"}
    assert seen["truncate"] == {"board_cards", "board_cards#bulk"}
    assert changes.poll().transactions == 0


def test_what_was_not_confirmed_is_said_again(changes, postgres_server, slot):
    postgres_server.run("UPDATE board_cards SET title = 'once' WHERE owner = 'bob'", database=slot)
    first, again = changes.poll(), changes.poll()
    assert first.tags == again.tags != frozenset()
    changes.confirm(again)
    assert changes.poll().tags == frozenset()


def test_a_rolled_back_transaction_is_none(changes, slot, board):
    engine = create_engine(board("psycopg"))
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE board_cards SET title = 'never'")
        connection.rollback()
    engine.dispose()
    assert changes.poll().transactions == 0


def test_a_slot_that_is_not_there_is_named(board):
    engine = create_engine(board("psycopg"))
    with pytest.raises(SurroundingsError, match="no slot 'nowhere'"):
        DecodedChanges(engine, "nowhere", {}).open()
    engine.dispose()


async def test_a_stale_answer_ends_with_the_next_look(app, changes, postgres_server, slot):
    async with driven(app, board_spec()) as client:
        assert await client.caches("/owners/bob/cards")
        assert await client.caches("/owners/cat/cards")
        client.installed._watch.close()  # who follows is another process
        postgres_server.run("UPDATE board_cards SET title = 'x' WHERE owner = 'bob'", database=slot)

        stop = threading.Event()
        portal = client.installed.cache.portal
        following = Following(changes, lambda tags: (portal.invalidate(tags), stop.set()), every=0.01)
        following.run(stop)

        assert not await client.hit("/owners/bob/cards")
        assert await client.hit("/owners/cat/cards")
        figures = following.figures()
        assert figures["transactions"] == 1
        assert figures["lag_ms"]["max"] >= 0
        assert figures["bound_ms"] >= 10


async def test_a_file_that_somebody_wrote_to_invalidates_everything(tmp_path):
    from tests.integrations.shop import Shop

    shop = Shop(tmp_path / "shop.db")

    @shop.app.get("/notes")
    def notes(session: Session = shop.given):
        return session.scalars(select(Note.title)).all()

    async with driven(shop.app, specification(get("/notes", "shop_notes", key="notes"))) as client:
        assert await client.caches("/notes")
        version = FileVersion(shop.engine)
        version.open()
        assert version.poll().tags == frozenset()
        with sqlite3.connect(tmp_path / "shop.db") as other:
            other.execute("UPDATE shop_notes SET title = 'elsewhere'")
        other.close()
        found = version.poll()
        assert found.tags == {NAMESPACE_TAG}
        client.installed.cache.portal.invalidate(found.tags)
        assert not await client.hit("/notes")
        assert version.poll().tags == frozenset()
        version._connection.close()
    shop.engine.dispose()
