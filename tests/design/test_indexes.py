"""Which indexes come before a cache: plans of real databases for recorded queries."""

import pytest
from sqlalchemy import create_engine, text
from tests.simulator.recording import Recording

from cachewright.design.indexes import with_indexes
from cachewright.design.result import Design
from cachewright.errors import SurroundingsError
from cachewright.evidence.readers.plans import LEAST_ROWS, whole_tables
from cachewright.spec.model import CachingSpecification

SCHEMA = (
    "CREATE TABLE tasks (id integer PRIMARY KEY, user_id integer, title text)",
    "CREATE TABLE users (id integer PRIMARY KEY, name text)",
)


def filled(url, rows):
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in SCHEMA:
            connection.execute(text(statement))
        connection.execute(
            text("INSERT INTO tasks VALUES (:id, :user_id, 'x')"),
            [{"id": number, "user_id": number % 400} for number in range(rows)],
        )
        connection.execute(text("INSERT INTO users VALUES (1, 'Ada')"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    engine.dispose()


def recorded(dialect, paramstyle, mark):
    recording = Recording()
    route = recording.route("GET", "/tasks", credentials=("header:authorization",))
    for place in range(3):
        number = recording.request(route, place * 20, user=7)
        for column in ("user_id", "id"):
            recording.sql(
                f"SELECT tasks.title FROM tasks WHERE tasks.{column} = {mark} LIMIT {mark}",
                (7, 10),
                at=place * 20 + 2,
                request=number,
            )
        recording.sql(f"SELECT users.name FROM users WHERE users.name = {mark}", ("x",), at=place * 20 + 3)
        recording.sql("SELECT count(*) FROM tasks", (), at=place * 20 + 4, request=number)
    trace = recording.trace()
    for number, seen in trace.texts.items():
        trace.texts[number] = type(seen)(seen.id, seen.sql, dialect, paramstyle)
    return trace


def told(url, trace):
    found = Design(spec=CachingSpecification(namespace="todo"))
    return with_indexes(found, trace, whole_tables(url, trace)).warnings


def test_sqlite_tells_which_index_is_missing(tmp_path):
    url = f"sqlite:///{tmp_path}/shop.db"
    filled(url, LEAST_ROWS * 4)
    trace = recorded("sqlite", "qmark", "?")
    (warning,) = told(url, trace)
    assert warning.startswith("GET /tasks: all 4,000 rows of tasks are read")
    assert "CREATE INDEX ON tasks (user_id)" in warning
    with create_engine(url).begin() as connection:
        connection.execute(text("CREATE INDEX own ON tasks (user_id)"))
    assert told(url, trace) == ()


def test_small_tables_need_none(tmp_path):
    url = f"sqlite:///{tmp_path}/shop.db"
    filled(url, LEAST_ROWS - 1)
    assert told(url, recorded("sqlite", "qmark", "?")) == ()


def test_postgresql_tells_which_index_is_missing(postgres_server):
    with postgres_server.database() as name:
        url = postgres_server.url(name, "psycopg").render_as_string(hide_password=False)
        filled(url, LEAST_ROWS * 4)
        trace = recorded("postgresql", "format", "%s")
        (warning,) = told(url, trace)
        assert warning.startswith("GET /tasks: all 4,000 rows of tasks are read")
        assert "CREATE INDEX ON tasks (user_id)" in warning
        postgres_server.run("CREATE INDEX own ON tasks (user_id)", database=name)
        assert told(url, trace) == ()


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://ada:s3cret@127.0.0.1:1/none", "nothing://", "sqlite+none://"]
)
def test_a_database_that_does_not_answer_is_said_without_its_password(url):
    with pytest.raises(SurroundingsError) as refused:
        whole_tables(url, recorded("sqlite", "qmark", "?"))
    assert "s3cret" not in f"{refused.value} {refused.value.hint}"


def test_a_database_without_the_tables_of_the_recording_is_refused(tmp_path):
    with pytest.raises(SurroundingsError, match="understands none"):
        whole_tables(f"sqlite:///{tmp_path}/empty.db", recorded("sqlite", "qmark", "?"))
