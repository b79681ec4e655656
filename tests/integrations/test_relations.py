"""Views, triggers, partitions and their like: nothing that is read through them stays when what is behind changes."""

import asyncio
import threading

import pytest
from fastapi import FastAPI, Request
from sqlalchemy import StaticPool, create_engine, text
from tests.integrations.driving import driven, get, specification

from cachewright.capture import databases
from cachewright.capture.catalogue import read_catalogue

TABLES = """
CREATE TABLE tasks (id INTEGER PRIMARY KEY, owner INTEGER, title TEXT);
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE counts (owner INTEGER PRIMARY KEY, n INTEGER);
CREATE TABLE other (id INTEGER PRIMARY KEY, x TEXT);
INSERT INTO tasks VALUES (1, 1, 'a'), (2, 2, 'b');
INSERT INTO people VALUES (1, 'Ada'), (2, 'Bob');
INSERT INTO counts VALUES (1, 1), (2, 1);
"""
VIEWS = """
CREATE VIEW named AS SELECT t.id, t.title, p.name FROM tasks t JOIN people p ON p.id = t.owner;
CREATE VIEW "Again" AS SELECT * FROM named WHERE id > 0;
CREATE VIEW plain AS SELECT id, owner, title FROM tasks;
CREATE TABLE "odd name" (id INTEGER);
CREATE VIEW odd AS SELECT * FROM "odd name";
"""


def app_of(engine):
    """Whatever query and statement it is asked for."""
    app = FastAPI()

    @app.get("/read")
    def read(sql: str):
        with engine.connect() as connection:
            return [list(row) for row in connection.execute(text(sql))]

    @app.post("/write")
    async def write(request: Request):
        with engine.connect() as connection:
            connection.execute(text((await request.body()).decode()))
            connection.commit()

    return app


def kept(*depends_on):
    return specification(get("/read", *depends_on, key="read:{query.sql}"))


def run(engine, script):
    """A script that nobody watches."""
    with engine.begin() as connection:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)


@pytest.fixture
def sqlite():
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    run(engine, TABLES + VIEWS)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres(postgres_server):
    with postgres_server.database() as name:
        engine = create_engine(postgres_server.url(name, "psycopg"))
        run(engine, TABLES + VIEWS)
        yield engine
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request):
    return request.getfixturevalue(request.param)


async def ends(engine, read, write, *depends_on):
    """Whether the entry of `read` is served before `write`, and no more afterwards; a wrong answer fails."""
    async with driven(app_of(engine), kept(*depends_on)) as app:
        url = {"sql": read}
        assert await app.caches("/read", params=url), app.refused
        assert (await app.send("POST", "/write", content=write)).status_code == 200
        return not await app.hit("/read", params=url)


async def refused(engine, read, *depends_on):
    async with driven(app_of(engine), kept(*depends_on)) as app:
        assert not await app.caches("/read", params={"sql": read})
        return app.refused


@pytest.mark.parametrize("view", ["named", '"Again"'])
@pytest.mark.parametrize(
    ("write", "touched"),
    [
        ("UPDATE tasks SET title = 'new' WHERE id = 1", True),
        ("UPDATE people SET name = 'Cy' WHERE id = 1", True),
        ("INSERT INTO tasks (id, owner, title) VALUES (3, 1, 'c')", True),
        ("INSERT INTO other (id, x) VALUES (1, 'x')", False),
    ],
)
async def test_a_read_of_a_view_is_a_read_of_its_tables(engine, view, write, touched):
    query = f"SELECT * FROM {view} ORDER BY id"
    assert await ends(engine, query, write, "tasks", "people") == touched


async def test_names_that_only_quotes_hold_together_are_names(engine):
    assert await refused(engine, "SELECT * FROM odd", "odd") == ("dependency_drift",)


async def test_the_name_of_a_view_covers_no_read_of_it(engine):
    assert await refused(engine, "SELECT * FROM plain", "plain") == ("dependency_drift",)


async def test_a_table_of_an_attached_file_is_known_and_what_the_database_fills_itself_is_not(sqlite):
    run(sqlite, "ATTACH ':memory:' AS beside;\nCREATE TABLE beside.notes (id INTEGER)")
    assert await ends(
        sqlite, "SELECT * FROM beside.notes", "INSERT INTO beside.notes VALUES (1)", "beside.notes", "notes"
    )
    assert await refused(sqlite, "SELECT count(*) FROM sqlite_schema", "sqlite_schema") == (
        "dependency_drift",
    )


async def test_what_is_made_a_view_while_the_cache_runs_is_known_as_one(engine):
    async with driven(app_of(engine), kept("tasks", "other")) as app:
        sql = {"sql": "SELECT count(*) FROM later"}
        await app.send("POST", "/write", content="CREATE VIEW later AS SELECT id FROM other")
        assert await app.caches("/read", params=sql)
        await app.send("POST", "/write", content="DROP VIEW later")
        await app.send("POST", "/write", content="CREATE VIEW later AS SELECT id FROM tasks")
        assert await app.caches("/read", params=sql)
        await app.send("POST", "/write", content="DELETE FROM tasks WHERE id = 1")
        assert not await app.hit("/read", params=sql)


async def test_temporary_views_are_the_connections_own(engine):
    async with driven(app_of(engine), kept("tasks", "other")) as app:
        await app.send("POST", "/write", content="CREATE TEMP VIEW other AS SELECT * FROM tasks")
        assert not await app.caches("/read", params={"sql": "SELECT count(*) FROM other"})
        assert app.refused == ("dependency_drift",)


# triggers

COUNTING = {
    "sqlite": """
CREATE TRIGGER counting AFTER INSERT ON tasks BEGIN UPDATE counts SET n = n + 1 WHERE owner = NEW.owner; END;
""",
    "postgresql": """
CREATE FUNCTION counting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  UPDATE counts SET n = n + 1 WHERE owner = NEW.owner; RETURN NEW; END $$;
CREATE TRIGGER counting AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION counting();
""",
}
INSTEAD = {
    "sqlite": """
CREATE TRIGGER naming INSTEAD OF UPDATE ON named BEGIN UPDATE people SET name = NEW.name WHERE name = OLD.name; END;
""",
    "postgresql": """
CREATE FUNCTION naming() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  UPDATE people SET name = NEW.name WHERE name = OLD.name; RETURN NEW; END $$;
CREATE TRIGGER naming INSTEAD OF UPDATE ON named FOR EACH ROW EXECUTE FUNCTION naming();
""",
}


def run_whole(engine, script):
    with engine.begin() as connection:
        for part in script[engine.dialect.name].split(";\nCREATE TRIGGER"):
            statement = part.strip()
            whole = statement if statement.startswith("CREATE") else f"CREATE TRIGGER {statement}"
            connection.exec_driver_sql(whole)


async def test_a_write_writes_what_its_triggers_write(engine):
    run_whole(engine, COUNTING)
    write = "INSERT INTO tasks (id, owner, title) VALUES (3, 1, 'c')"
    assert await ends(engine, "SELECT n FROM counts WHERE owner = 1", write, "counts(owner=1)")


async def test_a_write_to_a_view_writes_what_its_trigger_writes(engine):
    run_whole(engine, INSTEAD)
    write = "UPDATE named SET name = 'Cy' WHERE id = 1"
    assert await ends(engine, "SELECT name FROM people WHERE id = 1", write, "people(id=1)")


# PostgreSQL


async def test_a_write_to_a_view_writes_its_table(postgres):
    write = "UPDATE plain SET title = 'new' WHERE id = 1"
    assert await ends(postgres, "SELECT title FROM tasks WHERE id = 1", write, "tasks(id=1)")
    assert await ends(postgres, "SELECT * FROM plain", "UPDATE plain SET title = 'newer'", "tasks")


async def test_a_trigger_before_a_write_may_change_its_row(postgres):
    run_whole(
        postgres,
        {
            "postgresql": """
CREATE FUNCTION moving() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.owner = 2; RETURN NEW; END $$;
CREATE TRIGGER moving BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION moving();
"""
        },
    )
    write = "INSERT INTO tasks (id, owner, title) VALUES (3, 1, 'c')"
    read = "SELECT id FROM tasks WHERE owner = 2 ORDER BY id"
    assert await ends(postgres, read, write, "tasks(owner=2)"), "what the trigger may change, no write pins"
    assert await ends(postgres, read, write.replace("(3,", "(4,"), "tasks")


@pytest.mark.parametrize("body", ["EXECUTE 'UPDATE counts SET n = 7'", "PERFORM bumping()"])
async def test_a_trigger_that_cannot_be_read_may_write_anything(postgres, body):
    run(postgres, "CREATE FUNCTION bumping() RETURNS void LANGUAGE sql AS 'UPDATE counts SET n = 7'")
    run_whole(
        postgres,
        {
            "postgresql": f"""
CREATE FUNCTION hidden() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$;
CREATE TRIGGER hidden AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION hidden();
"""
        },
    )
    assert await ends(postgres, "SELECT n FROM counts", "INSERT INTO tasks VALUES (3, 1, 'c')", "counts")


async def test_a_write_writes_what_its_rules_write(postgres):
    run(postgres, "CREATE RULE bump AS ON DELETE TO other DO ALSO UPDATE counts SET n = 7")
    assert await ends(postgres, "SELECT n FROM counts", "DELETE FROM other WHERE id = 5", "counts")


async def test_a_materialised_view_is_written_by_its_refresh(postgres):
    run(postgres, "CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM tasks")
    refresh = "REFRESH MATERIALIZED VIEW CONCURRENTLY public.kept"
    run(postgres, "CREATE UNIQUE INDEX once ON kept (n)")
    assert not await ends(postgres, "SELECT n FROM kept", "DELETE FROM tasks WHERE id = 1", "kept"), "not yet"
    assert await ends(postgres, "SELECT n FROM kept", refresh, "kept")
    assert not await ends(postgres, "SELECT n FROM counts", refresh, "counts"), "nothing else is written"


PARTITIONS = """
CREATE TABLE logs (id INTEGER, day INTEGER, line TEXT) PARTITION BY RANGE (day);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (10);
CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (10) TO (20);
CREATE TABLE more_logs (extra TEXT) INHERITS (other)
"""


@pytest.mark.parametrize(
    ("read", "tag", "write"),
    [
        ("SELECT * FROM logs WHERE id = 1", "logs(id=1)", "INSERT INTO logs_1 (id, day) VALUES (1, 1)"),
        ("SELECT * FROM logs_1", "logs_1", "INSERT INTO logs (id, day) VALUES (1, 1)"),
        ("SELECT id FROM other", "other", "INSERT INTO more_logs (id) VALUES (1)"),
        ("SELECT id FROM more_logs", "more_logs", "UPDATE other SET x = 'new'"),
    ],
)
async def test_partitions_and_heirs_are_part_of_their_parent(postgres, read, tag, write):
    run(postgres, PARTITIONS)
    parents = ("logs",) if "logs_1" in read else ("other",) if "more_logs" in read else ()
    assert await ends(postgres, read, write, tag, *parents)


async def test_a_view_that_asks_a_function_reads_what_that_reads(postgres):
    run(
        postgres,
        "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM people';\n"
        "CREATE VIEW peeking AS SELECT id, peek() AS n FROM tasks",
    )
    write = "DELETE FROM people WHERE id = 1"
    for read in ("SELECT * FROM peeking", "SELECT peek()", "SELECT * FROM peek()"):
        assert await refused(postgres, read, "tasks", "peeking") == ("dependency_drift",)
    assert await ends(postgres, "SELECT * FROM peeking", write, "tasks", "people")


async def test_tables_of_another_server_are_never_kept(postgres):
    run(
        postgres,
        "CREATE EXTENSION IF NOT EXISTS file_fdw;\nCREATE SERVER files FOREIGN DATA WRAPPER file_fdw;\n"
        "CREATE FOREIGN TABLE abroad (line TEXT) SERVER files OPTIONS (program 'echo one');\n"
        "CREATE VIEW through AS SELECT line FROM abroad",
    )
    for name in ("abroad", "through"):
        assert await refused(postgres, f"SELECT * FROM {name}", "abroad", "through") == ("dependency_drift",)


async def test_a_table_in_another_schema_is_one_whatever_it_is_called(postgres):
    run(
        postgres,
        "CREATE SCHEMA area;\nCREATE TABLE area.places (id INTEGER);\nCREATE VIEW seen AS SELECT * FROM area.places",
    )
    write = "INSERT INTO area.places (id) VALUES (1)"
    assert await ends(postgres, "SELECT * FROM seen", write, "area.places", "places")
    path = "SET search_path TO area, public; INSERT INTO places (id) VALUES (2)"
    assert await ends(postgres, "SELECT * FROM seen", path, "area.places", "places")


# SQLite


async def test_a_full_text_table_reads_the_table_it_indexes(sqlite):
    run(sqlite, "CREATE VIRTUAL TABLE found USING fts5(title, content='tasks', content_rowid='id')")
    assert await refused(sqlite, "SELECT title FROM found", "found") == ("dependency_drift",)
    write = "UPDATE tasks SET title = 'new' WHERE id = 1"
    assert await ends(sqlite, "SELECT title FROM found WHERE rowid = 1", write, "found", "tasks")


# before the catalogue is known


async def test_while_the_catalogue_is_being_read_nothing_is_kept_and_a_write_may_be_to_anything(
    postgres, monkeypatch
):
    """The first connection reads it; others do not wait for that."""
    run_whole(postgres, COUNTING)
    begun, enough = threading.Event(), threading.Event()

    def slowly(*arguments):
        begun.set()
        assert enough.wait(10)
        return read_catalogue(*arguments)

    counts, write = {"sql": "SELECT n FROM counts WHERE owner = 1"}, "INSERT INTO tasks VALUES (3, 1, 'c')"
    async with driven(app_of(postgres), kept("counts(owner=1)")) as app:
        assert await app.caches("/read", params=counts)
        monkeypatch.setattr(databases, "read_catalogue", slowly)
        await app.send("POST", "/write", content="CREATE TABLE fresh (id INTEGER)")
        reading = asyncio.create_task(app.get("/read", params={"sql": "SELECT 1"}))
        await asyncio.to_thread(begun.wait, 10)
        assert not await app.caches("/read", params=counts)
        assert (await app.send("POST", "/write", content=write)).status_code == 200
        enough.set()
        await reading
        assert await app.caches("/read", params=counts)
        assert (await app.get("/read", params=counts)).json() == [[2]]
