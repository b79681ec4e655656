"""Every way to write: what was cached is never served afterwards, and what was not touched stays."""

import asyncio
import threading
import uuid
from urllib.parse import urlsplit

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Engineer, Kind, Note, Seat, Shop, Status, Tag, User, Versioned, tagged
from tests.runtime.proxy import Proxy

NOTES = "/users/{user_id}/notes"
SPEC = get(
    NOTES, "shop_notes(user_id={path.user_id})", "shop_tagged", "shop_tags", key="notes:user={path.user_id}"
)


def notes_app(shop: Shop):
    @shop.app.get(NOTES)
    def list_notes(user_id: int, session: Session = shop.given):
        notes = session.scalars(select(Note).where(Note.user_id == user_id).order_by(Note.id)).all()
        mine = tagged.c.note_id.in_([note.id for note in notes])
        tags = session.execute(
            select(tagged.c.note_id, Tag.name).join(Tag).where(mine).order_by(Tag.id)
        ).all()
        return [[n.id, n.title, n.folder, [name for note, name in tags if note == n.id]] for n in notes]

    return shop.app


def flush_update(session):
    session.get_one(Note, 1).title = "new"
    session.commit()


def flush_insert(session):
    session.add(Note(user_id=2, title="more"))
    session.commit()


def flush_delete(session):
    session.delete(session.get_one(Note, 1))
    session.commit()


def move_loaded(session):
    session.get_one(Note, 1).user_id = 3
    session.commit()


def move_with_unloaded_old_value(session):
    note = session.get_one(Note, 1)
    session.expire(note)
    note.user_id = 3
    session.commit()


def orphan(session):
    """The relationship deletes the row: it stands in none of the session's own lists."""
    other, user = session.get_one(Note, 2), session.get_one(User, 2)
    other.title = "another user's"
    user.notes.pop(0)
    session.commit()


def merge_detached(session):
    session.merge(Note(id=1, user_id=3, title="merged"))
    session.commit()


def orm_bulk_update(session):
    session.execute(update(Note).where(Note.user_id == 2).values(title="bulk"))
    session.commit()


def orm_bulk_move(session):
    session.execute(update(Note).where(Note.id == 1).values(user_id=3))
    session.commit()


def orm_bulk_update_by_primary_key(session):
    session.execute(update(Note), [{"id": 1, "title": "by key"}, {"id": 2, "title": "by key"}])
    session.commit()


def orm_bulk_insert(session):
    session.execute(insert(Note), [{"user_id": 2, "title": "a"}, {"user_id": 3, "title": "b"}])
    session.commit()


def bulk_update_mappings(session):
    session.bulk_update_mappings(Note, [{"id": 1, "title": "mapped"}])
    session.commit()


def bulk_after_a_flush_of_the_same_table(session):
    session.get_one(Note, 3).title = "flushed"
    session.flush()
    session.bulk_update_mappings(Note, [{"id": 1, "title": "mapped"}])
    session.commit()


def bulk_before_a_flush_of_the_same_table(session):
    session.bulk_update_mappings(Note, [{"id": 1, "title": "mapped"}])
    session.get_one(Note, 3).title = "flushed"
    session.commit()


def bulk_save_objects(session):
    session.bulk_save_objects([Note(user_id=2, title="saved")])
    session.commit()


def core_update(session):
    session.connection().execute(update(Note.__table__).where(Note.user_id == 2).values(title="core"))
    session.commit()


def core_executemany(session):
    session.connection().execute(
        insert(Note.__table__), [{"user_id": n % 3 + 1, "title": f"many {n}"} for n in range(200)]
    )
    session.commit()


def plain_text(session):
    session.execute(text("UPDATE shop_notes SET title = 'text' WHERE user_id = :user"), {"user": 2})
    session.commit()


def driver_text(session):
    session.connection().exec_driver_sql("UPDATE shop_notes SET title = 'driver' WHERE user_id = ?", (2,))
    session.commit()


def insert_from_select(session):
    session.execute(text("INSERT INTO shop_notes (user_id, title) SELECT user_id, 'copy' FROM shop_notes"))
    session.commit()


def an_upsert(session):
    statement = upsert(Note).values(id=1, user_id=2, title="upserted")
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"title": "upserted"}))
    session.commit()


def replace_into(session):
    session.execute(text("REPLACE INTO shop_notes (id, user_id, title) VALUES (1, 3, 'replaced')"))
    session.commit()


def secondary_append(session):
    note = session.get_one(Note, 1)
    note.tags.append(session.get_one(Tag, 2))
    session.commit()


def secondary_remove(session):
    note = session.get_one(Note, 1)
    note.tags.clear()
    session.commit()


def secondary_core(session):
    session.execute(delete(tagged).where(tagged.c.note_id == 1))
    session.commit()


def related_row(session):
    session.get_one(Tag, 1).name = "renamed"
    session.commit()


def database_cascade(session):
    session.connection().exec_driver_sql("DELETE FROM shop_users WHERE id = 2")
    session.commit()


def savepoint_kept(session):
    with session.begin_nested():
        session.get_one(Note, 1).title = "nested"
    session.commit()


def savepoint_rolled_back_outer_kept(session):
    session.get_one(Note, 3).title = "outer"
    try:
        with session.begin_nested():
            session.add(Note(id=1, user_id=2, title="twice"))
            session.flush()
    except IntegrityError:
        session.expunge_all()
    session.get_one(Note, 1).title = "after the savepoint"
    session.commit()


def commit_in_plain_text(session):
    connection = session.connection()
    connection.exec_driver_sql("UPDATE shop_notes SET title = 'x' WHERE user_id = 2")
    connection.exec_driver_sql("COMMIT")
    session.close()


def two_commits(session):
    session.get_one(Note, 3).title = "first"
    session.commit()
    session.get_one(Note, 1).title = "second"
    session.commit()


def raw_connection(session):
    raw = session.get_bind().raw_connection()
    raw.cursor().execute("UPDATE shop_notes SET title = 'raw' WHERE user_id = 2")
    raw.commit()
    raw.close()


def connection_of_a_session(session):
    """The driver's connection, reached through one of SQLAlchemy's."""
    cursor = session.connection().connection.cursor()
    cursor.execute("UPDATE shop_notes SET title = 'lent' WHERE user_id = 2")
    session.commit()
    session.close()


def ddl(session):
    session.execute(text("ALTER TABLE shop_notes RENAME COLUMN folder TO folder2"))
    session.execute(text("ALTER TABLE shop_notes RENAME COLUMN folder2 TO folder"))
    session.execute(text("UPDATE shop_notes SET title = 'x'"))
    session.commit()


WRITES = [
    value
    for value in list(globals().values())
    if getattr(value, "__module__", None) == __name__ and value is not notes_app
]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
@pytest.mark.requirement("#99", "#100", "#230")
async def test_after_any_write_the_answers_are_those_of_the_application(shop, write, valkey_url):
    async with driven(notes_app(shop), specification(SPEC), redis_url=valkey_url) as driver:
        before = {}
        for user in (1, 2, 3):
            assert await driver.caches(f"/users/{user}/notes")
            before[user] = (await driver.get(f"/users/{user}/notes")).content

        def run():
            with Session(shop.engine) as session:
                write(session)

        await asyncio.to_thread(run)

        after = {}
        for user in (1, 2, 3):
            await driver.hit(f"/users/{user}/notes")
            after[user] = (await driver.get(f"/users/{user}/notes")).content
        assert before != after, "this write should show"


@pytest.mark.parametrize(
    ("write", "touched"),
    [
        (flush_update, {2}),
        (flush_insert, {2}),
        (flush_delete, {1, 2, 3}),
        (move_loaded, {2, 3}),
        (orm_bulk_update, {2}),
        (plain_text, {2}),
        (orm_bulk_insert, {2, 3}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.requirement("#104")
async def test_a_write_that_says_whose_rows_it_changes_leaves_the_others_cached(shop, write, touched):
    spec = get(
        NOTES,
        "shop_notes(user_id={path.user_id})",
        "shop_tagged",
        "shop_tags",
        key="notes:user={path.user_id}",
    )
    async with driven(notes_app(shop), specification(spec)) as driver:
        for user in (1, 2, 3):
            assert await driver.caches(f"/users/{user}/notes")
        with Session(shop.engine) as session:
            write(session)

        assert {user for user in (1, 2, 3) if not await driver.hit(f"/users/{user}/notes")} == touched


@pytest.mark.requirement("#99")
async def test_a_rollback_forgets_the_write(shop, valkey_url):
    async with driven(notes_app(shop), specification(SPEC), redis_url=valkey_url) as driver:
        assert await driver.caches("/users/2/notes")
        with Session(shop.engine) as session:
            session.get_one(Note, 1).title = "never"
            session.flush()
            session.rollback()

        assert await driver.hit("/users/2/notes")


async def test_between_flush_and_commit_nothing_is_served_or_filled_that_the_write_touches(shop):
    async with driven(notes_app(shop), specification(SPEC)) as driver:
        assert await driver.caches("/users/2/notes")
        with Session(shop.engine) as session:
            session.get_one(Note, 1).title = "later"
            session.flush()
            assert not await driver.hit("/users/2/notes")
            assert not await driver.hit("/users/2/notes")
            assert str(driver.outcomes[-1].reason) == "held"
            session.commit()
        assert await driver.caches("/users/2/notes")


async def test_a_transaction_that_began_before_the_cache_was_there_is_followed(shop, valkey_url):
    session = Session(shop.engine)
    note = session.get_one(Note, 1)
    async with driven(notes_app(shop), specification(SPEC), redis_url=valkey_url) as driver:
        assert await driver.caches("/users/2/notes")
        note.title = "an old transaction"
        session.flush()
        await driver.hit("/users/2/notes")
        session.commit()
        await driver.hit("/users/2/notes")
        assert await driver.caches("/users/2/notes")
    session.close()


async def test_two_cached_applications_in_one_process_both_see_every_write(shop, tmp_path, valkey_url):
    first, second = notes_app(shop), Shop(tmp_path / "second.db")
    other = notes_app(second)

    @other.get("/theirs")
    def theirs():
        with Session(shop.engine) as session:
            return session.scalar(select(Note.title).where(Note.user_id == 2).order_by(Note.id))

    spec = specification(get("/theirs", "shop_notes(user_id=2)"))
    async with (
        driven(first, specification(SPEC), redis_url=valkey_url) as one,
        driven(other, spec, redis_url=valkey_url) as two,
    ):
        assert await one.caches("/users/2/notes")
        assert await two.caches("/theirs")
        with Session(shop.engine) as session:
            flush_update(session)
        await one.hit("/users/2/notes")
        await two.hit("/theirs")
        assert "new" in (await one.get("/users/2/notes")).text
    second.engine.dispose()


async def test_an_autocommit_engine_invalidates_with_the_statement(tmp_path):
    shop = Shop(tmp_path / "auto.db", isolation_level="AUTOCOMMIT")
    async with driven(notes_app(shop), specification(SPEC)) as driver:
        assert await driver.caches("/users/2/notes")
        with shop.engine.connect() as connection:
            connection.execute(update(Note).where(Note.user_id == 2).values(title="at once"))
            assert not await driver.hit("/users/2/notes")
        assert await driver.caches("/users/2/notes")
        with Session(shop.engine) as session:
            session.get_one(Note, 1).title = "orm"
            session.flush()
            await driver.hit("/users/2/notes")
        await driver.hit("/users/2/notes")
        assert "orm" in (await driver.get("/users/2/notes")).text
    shop.engine.dispose()


async def test_writes_of_threads_and_executors_invalidate_too(shop):
    @shop.app.post("/threaded")
    def threaded():
        def work():
            with Session(shop.engine) as session:
                flush_update(session)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    async with driven(notes_app(shop), specification(SPEC)) as driver:
        assert await driver.caches("/users/2/notes")
        await driver.send("POST", "/threaded")
        assert not await driver.hit("/users/2/notes")


async def test_kinds_of_columns_meet_in_the_same_tag(shop):
    """Uuid, Enum, TypeDecorator, a case-insensitive collation, and the spellings of numbers."""

    @shop.app.get("/by-id/{key}")
    def by_id(key: uuid.UUID, session: Session = shop.given):
        return [k.text for k in session.scalars(select(Kind).where(Kind.id == key))]

    @shop.app.get("/by-status/{status}")
    def by_status(status: Status, session: Session = shop.given):
        return [k.text for k in session.scalars(select(Kind).where(Kind.status == status).order_by(Kind.id))]

    @shop.app.get("/mirrored/{word}")
    def mirrored(word: str, session: Session = shop.given):
        return [k.text for k in session.scalars(select(Kind).where(Kind.mirrored == word))]

    @shop.app.get("/folded/{word}")
    def folded(word: str, session: Session = shop.given):
        return [k.text for k in session.scalars(select(Kind).where(Kind.folded == word).order_by(Kind.id))]

    @shop.app.get("/number/{word}")
    def number(word: str, session: Session = shop.given):
        rows = session.execute(text("SELECT text FROM shop_kinds WHERE number = :n ORDER BY id"), {"n": word})
        return [row.text for row in rows]

    spec = specification(
        get("/by-id/{key}", "shop_kinds(id={key})", key="k:{key}"),
        get("/by-status/{status}", "shop_kinds(status={status})", key="s:{status}"),
        get("/mirrored/{word}", "shop_kinds(mirrored={word})", key="m:{word}"),
        get("/folded/{word}", "shop_kinds(folded={word})", key="f:{word}"),
        get("/number/{word}", "shop_kinds(number={word})", key="n:{word}"),
    )
    first = uuid.UUID(int=1)
    urls = [
        f"/by-id/{first}",
        f"/by-id/{first.hex}",
        f"/by-id/{str(first).upper()}",
        "/by-status/open",
        "/by-status/finished",
        "/mirrored/abc1",
        "/mirrored/1cba",
        "/folded/straw",
        "/folded/STRAW",
        "/folded/stRaw",
        "/number/1",
        "/number/01",
        "/number/1.0",
        "/number/1e0",
        "/number/١",  # noqa: RUF001 - a digit to Python, none to SQLite
        "/number/+1",
    ]
    async with driven(shop.app, spec) as driver:
        cached = [url for url in urls if await driver.caches(url)]
        assert {f"/by-id/{first}", "/by-status/open", "/folded/straw", "/number/1"} <= set(cached)
        for round_, change in enumerate(
            (
                lambda session: setattr(session.get_one(Kind, first), "text", "flush"),
                lambda session: session.execute(
                    update(Kind).where(Kind.folded == "sTRAW").values(text="bulk")
                ),
                lambda session: session.execute(
                    text("UPDATE shop_kinds SET text = 'text' WHERE number = '1'")
                ),
                lambda session: session.execute(
                    update(Kind).where(Kind.mirrored == "abc1").values(text="mirror")
                ),
                lambda session: session.execute(
                    update(Kind).where(Kind.status == Status.OPEN).values(text="enum")
                ),
                lambda session: setattr(session.get_one(Kind, first), "status", Status.DONE),
                lambda session: setattr(session.get_one(Kind, uuid.UUID(int=3)), "folded", "berry"),
            )
        ):
            with Session(shop.engine) as session:
                change(session)
                session.commit()
            for url in urls:
                await driver.hit(url), (round_, url)


@pytest.mark.parametrize(
    "user",
    ["1", "-4", "01", "+1", "1e0", "9" * 19, "9" * 400, "007", "٣", "1_0"],
)
async def test_strange_numbers_in_the_path_are_answered_as_by_the_application(shop, user):
    async with driven(notes_app(shop), specification(SPEC)) as driver:
        for _ in range(2):
            await driver.hit(f"/users/{user}/notes")
            with Session(shop.engine) as session:
                session.add(Note(user_id=1, title="one more"))
                session.add(Note(user_id=-4, title="one more"))
                session.commit()
            await driver.hit(f"/users/{user}/notes")


async def test_null_is_a_value_of_its_own(shop):
    @shop.app.get("/folder")
    def folder(name: str | None = None, session: Session = shop.given):
        return session.scalars(select(Note.id).where(Note.folder == name).order_by(Note.id)).all()

    spec = specification(get("/folder", "shop_notes(folder={name})", key="folder:name={name}"))
    async with driven(shop.app, spec) as driver:
        for url in ("/folder", "/folder?name=", "/folder?name=null", "/folder?name=None", "/folder?name=a"):
            await driver.caches(url)
        for value in ("a", "", None, "null"):
            with Session(shop.engine) as session:
                session.get_one(Note, 1).folder = value
                session.commit()
            for url in (
                "/folder",
                "/folder?name=",
                "/folder?name=null",
                "/folder?name=None",
                "/folder?name=a",
            ):
                await driver.hit(url)


async def test_inheritance_composite_keys_versions_and_computed_properties(shop):
    @shop.app.get("/engineers/{number}")
    def engineer(number: int, session: Session = shop.given):
        found = session.get_one(Engineer, number)
        return [found.name, found.language]

    @shop.app.get("/seats/{hall}/{number}")
    def seat(hall: int, number: int, session: Session = shop.given):
        return session.get_one(Seat, (hall, number)).guest

    @shop.app.get("/versioned/{number}")
    def versioned(number: int, session: Session = shop.given):
        found = session.get_one(Versioned, number)
        return [found.version, found.text, found.stamp]

    @shop.app.get("/stamped/{stamp}")
    def stamped(stamp: int, session: Session = shop.given):
        return session.scalars(select(Versioned.text).where(Versioned.stamp == stamp)).all()

    @shop.app.get("/people/{number}/count")
    def count(number: int, session: Session = shop.given):
        user = session.get_one(User, number)
        return [user.note_count, [note.loud for note in user.notes]]

    spec = specification(
        get(
            "/engineers/{number}", "shop_people(id={number})", "shop_engineers(id={number})", key="e:{number}"
        ),
        get("/seats/{hall}/{number}", "shop_seats(hall={hall},number={number})", key="s:{hall}:{number}"),
        get("/versioned/{number}", "shop_versioned(id={number})", key="v:{number}"),
        get("/stamped/{stamp}", "shop_versioned(stamp={stamp})", key="t:{stamp}"),
        get("/people/{number}/count", "shop_users(id={number})", "shop_notes", key="c:{number}"),
    )
    urls = [
        "/engineers/1",
        "/seats/1/2",
        "/seats/2/1",
        "/versioned/1",
        "/stamped/0",
        "/stamped/5",
        "/people/1/count",
    ]
    changes = [
        lambda session: setattr(session.get_one(Engineer, 1), "name", "N"),
        lambda session: setattr(session.get_one(Engineer, 1), "language", "Rust"),
        lambda session: setattr(session.get_one(Seat, (1, 2)), "guest", "G"),
        lambda session: session.execute(
            update(Seat).where(Seat.hall == 2, Seat.number == 1).values(guest="H")
        ),
        lambda session: setattr(session.get_one(Versioned, 1), "text", "T"),
        lambda session: setattr(session.get_one(Versioned, 2), "text", "U"),
        lambda session: session.add(Note(user_id=1, title="counted")),
        lambda session: setattr(session.get_one(Seat, (1, 2)), "number", 7),
    ]
    async with driven(shop.app, spec) as driver:
        for url in urls:
            assert await driver.caches(url), (url, driver.refused)
        for change in changes:
            with Session(shop.engine) as session:
                change(session)
                session.commit()
            for url in urls:
                await driver.hit(url)
            for url in urls:
                await driver.hit(url)


async def test_a_write_of_many_tags_asks_the_server_once(shop, valkey_url):
    """All its tags go in one piece, answered once: a commit is later by one round trip."""
    app = notes_app(shop)

    @app.post("/notes/{note_id}")
    def rename(note_id: int, session: Session = shop.given) -> None:
        session.get_one(Note, note_id).title = "new"
        session.commit()

    keys = "user_id={path.user_id}", "id={path.user_id}", "id={path.user_id},user_id={path.user_id}"
    reads = [f"shop_notes({key})" for key in keys]
    spec = specification(get(NOTES, *reads, "shop_tagged", "shop_tags", key="notes:user={path.user_id}"))
    async with (
        Proxy(urlsplit(valkey_url).port).open() as proxy,
        driven(app, spec, redis_url=proxy.url) as driver,
    ):
        assert await driver.caches("/users/2/notes")
        proxy.asked.clear()
        assert (await driver.send("POST", "/notes/1")).status_code == 200
        (asked,) = (data for data in proxy.asked if b"shop_notes" in data)
        for tag in ("", "(user_id=2)", "(id=1)", "(id=1,user_id=2)"):
            assert f":shop_notes{tag}\r\n".encode() in asked
        assert b"PUBLISH" in asked.upper()
        assert not await driver.hit("/users/2/notes")
