import pytest
from tests.integrations.shop import Shop


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path / "shop.db")
    yield shop
    shop.engine.dispose()
