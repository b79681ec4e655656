import pytest
from tests.integrations.shop import Shop


@pytest.fixture(autouse=True)
def state_directory(tmp_path, monkeypatch):
    """Journals of undelivered invalidations belong to the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path / "shop.db")
    yield shop
    shop.engine.dispose()
