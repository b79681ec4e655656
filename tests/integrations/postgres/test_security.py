"""Row-level security: who sees what is decided by settings of the session that stand in no query."""

import pytest
from fastapi import Depends, FastAPI, Request
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification

SETUP = (
    "CREATE TABLE files (id int PRIMARY KEY, tenant text NOT NULL, title text NOT NULL)",
    """INSERT INTO files SELECT n, CASE WHEN n % 2 = 0 THEN 'acme' ELSE 'bolt' END, 'file ' || n
    FROM generate_series(1, 8) n""",
    "ALTER TABLE files ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own ON files USING (tenant = current_setting('app.tenant', true))",
    "CREATE ROLE app_role LOGIN",
    "GRANT ALL ON files TO app_role",
)


@pytest.fixture(scope="module")
def secured(postgres_server):
    with postgres_server.database() as name:
        postgres_server.run(*SETUP, database=name)
        yield postgres_server.url(name, "psycopg").set(username="app_role")
        postgres_server.run("DROP OWNED BY app_role", database=name)
    postgres_server.run("DROP ROLE app_role")


@pytest.fixture
def engine(secured):
    engine = create_engine(secured)
    yield engine
    engine.dispose()


def files_app(engine, tell):
    """The tenant is the first part of the host; `tell` makes the session know it."""
    app = FastAPI()

    def session(request: Request):
        with Session(engine) as session:
            tell(session, request.headers["host"].partition(".")[0])
            yield session

    @app.get("/files")
    def files(session: Session = Depends(session)):
        return session.execute(text("SELECT title FROM files ORDER BY id")).scalars().all()

    return app


def by_function(session, tenant):
    session.execute(text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": tenant})


def by_statement(session, tenant):
    session.execute(text(f"SET LOCAL app.tenant = '{tenant}'"))


def unseen(session, tenant):
    cursor = session.connection().connection.cursor()
    cursor.execute(f"SET LOCAL app.tenant = '{tenant}'")


def target(*depends_on, **extra):
    return get("/files", "files", *depends_on, key="files", **extra)


HOST = {"identity": {"tenant": "host"}, "consistency": {"single_host": True}}


@pytest.mark.parametrize("tell", [by_function, by_statement])
async def test_a_tenant_that_only_a_setting_names_is_shared_with_nobody(engine, tell):
    """The key holds no tenant, and `Host` is not part of it either: nothing says that all may see these rows."""
    for declared in ((), ("pg_settings",)):
        spec = specification(target(*declared), consistency={"single_host": True})
        async with driven(files_app(engine, tell), spec) as client:
            for _ in range(2):
                for host in ("acme.test", "bolt.test"):
                    assert not await client.hit("/files", headers={"Host": host})
            assert "dependency_drift" in client.refused


@pytest.mark.parametrize("tell", [by_function, by_statement])
async def test_what_the_specification_derives_from_the_request_may_be_kept(engine, tell):
    spec = specification(
        get(
            "/files/{tenant}",
            "files",
            "pg_settings(app.tenant={path.tenant})",
            key="files:{path.tenant}",
        )
    )
    app = FastAPI()

    @app.get("/files/{tenant}")
    def files(tenant: str):
        with Session(engine) as session:
            tell(session, "bolt" if tenant == "wrong" else tenant)
            return session.execute(text("SELECT title FROM files ORDER BY id")).scalars().all()

    async with driven(app, spec) as client:
        assert await client.caches("/files/acme"), client.refused
        assert await client.caches("/files/bolt")
        assert not await client.caches("/files/wrong"), "the setting is not what the key says"
        with Session(engine) as session:
            tell(session, "acme")
            session.execute(text("UPDATE files SET title = title || '!' WHERE id = 2"))
            session.commit()
        assert not await client.hit("/files/acme")


async def test_rows_of_a_secured_table_are_not_shared_where_nobody_saw_what_the_session_was_told(engine):
    @event.listens_for(engine, "connect")
    def told_on_connecting(connection, _record):
        with connection.cursor() as cursor:
            cursor.execute("SET app.tenant = 'acme'")
        connection.commit()

    app = FastAPI()

    @app.get("/files")
    def files():
        with Session(engine) as session:
            return session.execute(text("SELECT title FROM files ORDER BY id")).scalars().all()

    for declared in ((), ("pg_settings",)):
        async with driven(app, specification(target(*declared))) as client:
            assert not await client.caches("/files")
            assert "dependency_drift" in client.refused
