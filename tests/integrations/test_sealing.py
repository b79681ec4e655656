"""Keys of the environment reach the cache of a served application."""

import pytest
from fastapi import FastAPI

from cachewright.errors import SealingError
from cachewright.integrations.install import from_environment
from cachewright.runtime.settings import SealingKey

KEYS = "new:" + "ab" * 32 + ",old:" + "cd" * 32


@pytest.fixture
def served(tmp_path):
    spec = tmp_path / "caching.yaml"
    spec.write_text("caching_specification: {namespace: sealed, cache_targets: []}\n", encoding="utf-8")
    return lambda **more: from_environment(
        {"CACHEWRIGHT_SPEC": str(spec), **more}, lambda _name, _factory: FastAPI()
    )


@pytest.mark.parametrize(("named", "sealing"), [({}, "hmac"), ({"CACHEWRIGHT_SEALING": "aead"}, "aead")])
def test_keys_of_the_environment_seal_entries(served, named, sealing):
    settings = served(CACHEWRIGHT_KEYS=KEYS, **named).cache.settings
    assert settings.sealing == sealing
    assert settings.keys == (SealingKey("new", b"\xab" * 32), SealingKey("old", b"\xcd" * 32))


def test_without_keys_entries_carry_a_checksum(served):
    assert served().cache.settings.sealing == "checksum"


@pytest.mark.parametrize("said", [{"CACHEWRIGHT_SEALING": "hmac"}, {"CACHEWRIGHT_KEYS": "new:1234"}])
def test_what_cannot_seal_stops_the_start(served, said):
    with pytest.raises(SealingError):
        served(**said)
