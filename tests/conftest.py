import os
import tempfile
from collections.abc import Iterator

import pytest
from tests.postgres import Postgres, postgres
from tests.servers import denied, guarded, valkey

# what undelivered invalidations leave behind stays out of the home directory, in child processes too
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="cachewright-state-")


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A Valkey for the whole session: tests share it, so each uses names of its own or empties it first.

    Who uses it may do all but `NEVER`, and by the end of the session nobody has tried.
    """
    with valkey() as url:
        yield guarded(url)
        assert denied(url) == []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL for the whole session: each test makes databases of its own."""
    with postgres() as server:
        yield server
