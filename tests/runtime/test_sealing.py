"""Sealed entries in a real store: who may write them, and who may read them."""

import pytest
from tests.runtime.driving import get, request

from cachewright.runtime.settings import SealingKey

OLD, NEW = SealingKey("old", b"o" * 32), SealingKey("new", b"n" * 32)
KEYED = pytest.mark.parametrize("sealing", ["hmac", "aead"])


def answers(body: bytes):
    async def load() -> bytes:
        return body

    return load


@KEYED
async def test_processes_share_entries_while_keys_rotate(make_cache, sealing):
    """Key by key: the new one is accepted everywhere before anybody signs with it."""
    before = await make_cache(sealing=sealing, keys=(OLD, NEW))
    after = await make_cache(sealing=sealing, keys=(NEW, OLD))
    await get(before, request("a"), answers(b"1"))
    await get(after, request("b"), answers(b"2"))
    assert await get(after, request("a"), answers(b"")) == await get(
        before, request("a", levels=("l2",)), answers(b"")
    )
    assert (await get(before, request("b"), answers(b""))).payload == b"2"


@KEYED
@pytest.mark.parametrize(
    "planted", [{}, {"sealing": "hmac", "keys": (NEW,)}, {"sealing": "aead", "keys": (NEW,)}]
)
async def test_what_somebody_without_the_key_planted_is_a_counted_miss(make_cache, sealing, planted):
    """An attacker who can write to the store, and knows the program, gets nothing of it served."""
    attacker, cache = await make_cache(**planted), await make_cache(sealing=sealing, keys=(OLD,))
    await get(attacker, request(), answers(b"planted"))
    got = await get(cache, request(), answers(b"loaded"))
    assert (got.payload, got.source) == (b"loaded", "load")
    assert cache.stats.snapshot()["codec_errors"] == 1


@KEYED
async def test_an_entry_moved_to_another_key_is_a_miss(make_cache, server, namespace, sealing):
    cache = await make_cache(l1_items=0, sealing=sealing, keys=(OLD,))
    await get(cache, request("alice"), answers(b"alice's"))
    await cache.lookup(request("bob"))
    server.set(f"{namespace}:1:e:bob", server.get(f"{namespace}:1:e:alice"))
    assert (await get(cache, request("bob"), answers(b"bob's"))).payload == b"bob's"


async def test_the_store_sees_no_payload_of_encrypted_entries(make_cache, server, namespace):
    cache = await make_cache(sealing="aead", keys=(OLD,))
    await get(cache, request(), answers(b"salary: 5000"))
    assert b"salary" not in server.get(f"{namespace}:1:e:tasks")
