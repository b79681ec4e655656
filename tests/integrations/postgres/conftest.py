import pytest
from sqlalchemy import create_engine
from tests.integrations.postgres.board import KEEP, RESTORE, board_app, made


@pytest.fixture(autouse=True)
def state_directory(tmp_path, monkeypatch):
    """Journals of undelivered invalidations belong to the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def database(postgres_server):
    """The URL of the tests' database for a driver."""
    with postgres_server.database() as name:
        made(postgres_server.url(name, "psycopg"))
        postgres_server.run(*KEEP, database=name)
        yield lambda driver: postgres_server.url(name, driver)


@pytest.fixture
def board(postgres_server, database):
    """The database with its first rows."""
    yield database
    postgres_server.run(*RESTORE, database=database("").database)


@pytest.fixture
def engine(board):
    engine = create_engine(board("psycopg"))
    yield engine
    engine.dispose()


@pytest.fixture
def app(engine):
    return board_app(engine)
