from collections.abc import Iterator

import pytest
from tests.servers import valkey


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A Valkey for the whole session: tests share it, so each uses names of its own or empties it first."""
    with valkey() as url:
        yield url
