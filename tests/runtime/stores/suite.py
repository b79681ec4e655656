"""What every store does, whatever it is made of: each store's tests run all of this against it."""

import time
from dataclasses import dataclass, field
from typing import Protocol

from cachewright.runtime.codec import Entry

WIDE, NARROW = "rows", "rows(id=1)"


class Shelf(Protocol):
    """A store as the tests see it: entries that may be served come back, others do not."""

    async def put(self, entry: Entry, seconds: float | None) -> None: ...
    async def get(self, key: str) -> Entry | None: ...
    async def tokens(self, tags: tuple[str, ...]) -> dict[str, bytes]: ...
    async def drop(self, tags: tuple[str, ...]) -> None: ...
    async def discard(self, key: str) -> None: ...
    async def is_within_bounds(self) -> bool: ...


class StoresBytes(Shelf, Protocol):
    """A store whose entries are bytes somewhere, which somebody may damage."""

    async def stored(self, key: str) -> bytes | None: ...
    async def overwrite(self, key: str, data: bytes) -> None: ...


@dataclass
class Wall:
    """A clock that tests turn; it starts at the time it is, which is what a server goes by."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


async def entry(shelf, key="k", payload=b"value", tags=(WIDE, NARROW), *, ends=None, wall=time.time):
    return Entry.of(
        key,
        loaded_at=wall(),
        expires_at=ends,
        tokens=await shelf.tokens(tuple(tags)),
        variant=None,
        payload=payload,
    )


class StoreSuite:
    """For a fixture `shelf` with room for a few dozen entries of 4 KiB, and `pass_time(seconds)`."""

    async def test_what_was_put_is_got(self, shelf):
        put = await entry(shelf)
        await shelf.put(put, None)
        assert await shelf.get("k") == put

    async def test_nothing_is_got_where_nothing_was_put(self, shelf):
        await shelf.put(await entry(shelf), None)
        assert await shelf.get("other") is None

    async def test_empty_and_large_and_strange_values_come_back_as_they_were(self, shelf):
        for key, payload in {
            "": b"",
            "zero": b"\0" * 3,
            "large": bytes(range(256)) * 12,
            "käse/..:%*": b"\n",
        }.items():
            await shelf.put(await entry(shelf, key, payload), 60.0)
            assert (await shelf.get(key)).payload == payload

    async def test_the_last_one_put_replaces_the_one_before(self, shelf):
        for payload in (b"one", b"two" * 300, b"3"):
            await shelf.put(await entry(shelf, payload=payload), None)
            assert (await shelf.get("k")).payload == payload

    async def test_an_entry_is_gone_after_its_life_and_not_before(self, shelf, pass_time, wall):
        await shelf.put(await entry(shelf, "short", ends=wall() + 0.2, wall=wall), 0.2)
        await shelf.put(await entry(shelf, "long", ends=wall() + 600, wall=wall), 600.0)
        await shelf.put(await entry(shelf, "endless", wall=wall), None)
        await pass_time(0.3)
        assert await shelf.get("short") is None
        assert await shelf.get("long") is not None
        assert await shelf.get("endless") is not None

    async def test_a_discarded_entry_is_gone_and_no_other(self, shelf):
        for key in ("a", "b"):
            await shelf.put(await entry(shelf, key), None)
        await shelf.discard("a")
        await shelf.discard("never there")
        assert await shelf.get("a") is None
        assert await shelf.get("b") is not None

    async def test_dropping_a_tag_drops_what_depends_on_it_and_nothing_else(self, shelf):
        await shelf.put(await entry(shelf, "a", tags=(WIDE, NARROW)), None)
        await shelf.put(await entry(shelf, "b", tags=(WIDE, "rows(id=2)")), None)
        await shelf.put(await entry(shelf, "c", tags=("others",)), None)
        await shelf.drop((NARROW, "unknown"))
        assert [await shelf.get(key) is None for key in "abc"] == [True, False, False]
        await shelf.drop((WIDE,))
        assert [await shelf.get(key) is None for key in "abc"] == [True, True, False]

    async def test_what_is_put_after_a_drop_is_held(self, shelf):
        await shelf.put(await entry(shelf), None)
        await shelf.drop((NARROW,))
        await shelf.put(await entry(shelf, payload=b"new"), None)
        assert (await shelf.get("k")).payload == b"new"

    async def test_its_bounds_hold_and_the_newest_finds_room(self, shelf):
        for number in range(400):
            await shelf.put(await entry(shelf, f"k{number}", bytes([number % 256]) * 4096), 600.0)
            assert number % 40 or await shelf.is_within_bounds()
        assert await shelf.is_within_bounds()
        assert (await shelf.get("k399")).payload == bytes([399 % 256]) * 4096


class StoredBytesSuite(StoreSuite):
    """For a store that holds bytes."""

    async def test_a_torn_or_foreign_value_is_a_miss(self, shelf):
        await shelf.put(await entry(shelf), None)
        await shelf.put(await entry(shelf, "other"), None)
        whole, foreign = await shelf.stored("k"), await shelf.stored("other")
        for damaged in (b"", b"\0", whole[:-1], whole[: len(whole) // 2], whole + b"\0", foreign):
            await shelf.overwrite("k", damaged)
            assert await shelf.get("k") is None, damaged

    async def test_no_single_changed_byte_goes_unnoticed(self, shelf):
        await shelf.put(await entry(shelf), None)
        whole = await shelf.stored("k")
        for at in range(len(whole)):
            await shelf.overwrite("k", whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
            assert await shelf.get("k") is None, at

    async def test_a_damaged_value_gives_way_to_a_new_one(self, shelf):
        await shelf.put(await entry(shelf), None)
        await shelf.overwrite("k", b"damaged")
        await shelf.put(await entry(shelf, payload=b"new"), None)
        assert (await shelf.get("k")).payload == b"new"
