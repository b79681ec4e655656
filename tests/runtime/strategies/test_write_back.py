"""write_back: accepted, visible, durable; in the database in order, a little later."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.runtime.driving import until

from cachewright.errors import WriteNotAcceptedError
from cachewright.runtime.api import Cache
from cachewright.runtime.principal import principal
from cachewright.runtime.strategies import Resource, WriteBack

LATER = {"interval": 3600.0, "batch": 1000}


class Database:
    """Rows with versions behind a switch."""

    def __init__(self) -> None:
        self.rows: dict[object, tuple[object, int]] = {}
        self.applied: list[tuple[object, int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False
        self.loads = 0

    async def load(self, key):
        self.loads += 1
        return self.rows.get(key, (None, 0))[0]

    async def store(self, key, value, version):
        await self.open.wait()
        if self.broken:
            raise ConnectionError("the database is away")
        if self.rows.get(key, (None, 0))[1] > version:
            return False
        self.rows[key] = (value, version)
        self.applied.append((key, version))
        return True

    async def delete(self, key, version):
        return await self.store(key, None, version)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
async def make(make_cache, tmp_path):
    """Resources of one name, each of a process of its own; closed in the end."""
    made = []

    def make(database, *, cache=None, versions=None, key=None, admit=None, **plan) -> Resource:
        made.append(
            Resource(
                make_cache() if cache is None else cache,
                "rows",
                load=database.load,
                store=database.store,
                delete=database.delete,
                strategy=WriteBack(**{"journal": tmp_path, "drain": 10.0, **plan}),
                ttl=60.0,
                versions=versions,
                key=key,
                admit=admit,
            )
        )
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


@pytest.mark.requirement("#96")
async def test_a_write_returns_before_it_is_stored_and_is_read_at_once(make, database):
    """(#96, #97)."""
    rows = make(database, **LATER)
    written = await rows.set(1, "a")
    assert not written.stored
    assert database.applied == []
    assert await rows.get(1) == "a"
    assert await rows.flush()
    assert database.rows == {1: ("a", written.version)}
    assert await rows.get(1) == "a"
    assert database.loads == 0


@pytest.mark.requirement("#97")
async def test_it_is_stored_once_it_has_waited_its_interval(make, database):
    rows = make(database, interval=0.01)
    await rows.set(1, "a")
    await until(lambda: database.applied)


async def test_it_is_stored_once_enough_keys_wait(make, database):
    rows = make(database, interval=3600.0, batch=3)
    for key in range(3):
        await rows.set(key, "a")
    await until(lambda: len(database.applied) == 3)


async def test_writes_of_a_key_are_coalesced_and_never_reordered(make, database):
    rows = make(database, interval=0.001, first_retry=0.001)
    database.open.clear()
    await rows.set(1, 0)
    await until(lambda: rows._back._pending.next_due() is None)
    for number in range(1, 50):
        await rows.set(1, number)
    assert await rows.get(1) == 49
    database.open.set()
    assert await rows.flush()
    assert database.rows[1][0] == 49
    assert len(database.applied) == 2
    assert rows.backlog().coalesced == 48


async def test_a_deletion_is_a_write(make, database):
    rows = make(database, **LATER)
    await rows.set(1, "a")
    await rows.flush()
    await rows.delete(1)
    assert await rows.get(1) is None
    assert database.rows[1][0] == "a"
    await rows.flush()
    assert database.rows[1][0] is None
    assert await rows.get(1) is None


@pytest.mark.requirement("#97")
async def test_a_failing_database_is_tried_again_and_surfaces(make, database, caplog):
    rows = make(database, interval=0.001, first_retry=0.001)
    database.broken = True
    await rows.set(1, "a")
    await until(lambda: rows.backlog().failures > 2)
    assert rows.backlog().failing == 1
    assert rows.backlog().last_error == "ConnectionError: the database is away"
    assert "could not be stored" in caplog.text
    database.broken = False
    await until(lambda: database.rows)
    await until(lambda: not rows.backlog().pending)


async def test_a_full_queue_holds_writes_up_then_refuses_them(make, database):
    """Keys that wait already are taken all the same: they need no room."""
    rows = make(database, **{**LATER, "limit": 2, "patience": 0.05})
    await rows.set(1, "a")
    await rows.set(2, "a")
    with pytest.raises(WriteNotAcceptedError, match="2 writes of rows wait"):
        await rows.set(3, "a")
    await rows.set(2, "b")
    patient = make(database, **{**LATER, "limit": 1, "patience": 60.0})
    await patient.set(4, "a")
    held_up = asyncio.create_task(patient.set(5, "a"))
    await asyncio.sleep(0.01)
    assert not held_up.done()
    assert await patient.flush() or held_up.done()
    await held_up


@pytest.mark.requirement("#98")
async def test_many_writers_at_once_never_go_over_the_bound(make, database):
    rows = make(database, interval=0.001, limit=5, patience=60.0)
    largest = 0

    async def write(key):
        nonlocal largest
        await rows.set(key, "a")
        largest = max(largest, rows.backlog().pending)

    await asyncio.gather(*(write(key) for key in range(60)))
    assert largest <= 5
    await rows.flush()
    assert len(database.rows) == 60


@pytest.mark.requirement("#97")
async def test_closing_stores_what_waits_and_accepts_nothing_more(make, database, tmp_path):
    rows = make(database, **LATER)
    for key in range(20):
        await rows.set(key, "a")
    await rows.aclose()
    assert len(database.rows) == 20
    assert list(tmp_path.iterdir()) == []


async def test_what_could_not_be_stored_is_stored_by_the_next_process(make, database, caplog):
    rows = make(database, drain=0.1, **LATER)
    database.broken = True
    await rows.set(1, "a")
    await rows.set(1, "b")
    await rows.aclose()
    assert "1 accepted writes stay in the journal" in caplog.text
    database.broken = False
    heir = make(database)
    await heir.start()
    assert await heir.get(1) == "b"
    assert await heir.flush()
    assert database.rows[1][0] == "b"
    assert (await heir.set(1, "c")).version > database.rows[1][1]


async def test_a_newer_row_is_not_overwritten(make, database, caplog):
    rows = make(database, **LATER)
    await rows.set(1, "old")
    database.rows[1] = ("newer", 2**60)
    await rows.flush()
    assert await rows.get(1) == "newer"
    assert rows.backlog().refused == 1
    assert "newer version" in caplog.text


@pytest.mark.requirement("#98")
async def test_other_processes_read_pending_writes_from_the_shared_tier(
    make, make_cache, database, shared_versions
):
    """And never go back to the value before, once it is stored (#98)."""
    caches = make_cache(), make_cache()
    for cache in caches:
        await cache.get("warm")

    one, two = (make(database, cache=cache, versions=shared_versions, **LATER) for cache in caches)
    database.rows[1] = ("old", 1)
    assert await two.get(1) == "old"
    first = await one.set(1, "pending")
    assert await two.get(1) == "pending"
    second = await two.set(1, "newer")
    assert second.version > first.version
    assert await one.flush()
    assert await two.flush()
    assert [await rows.get(1) for rows in (one, two)] == ["newer", "newer"]
    assert database.rows[1][0] == "newer"


async def test_an_old_value_that_was_filled_while_a_write_waited_goes_with_its_storing(
    make, make_cache, database
):
    """The shared tier lost the pending entry, and another process loaded the row before."""
    caches = make_cache(), make_cache()
    for cache in caches:
        await cache.get("warm")
    one, two = (make(database, cache=cache, **LATER) for cache in caches)
    database.rows[1] = ("old", 1)
    await one.set(1, "new")
    await caches[1].delete("rows:1")
    assert await two.get(1) == "old"
    assert await one.get(1) == "new"
    await one.flush()
    assert await two.get(1) == "new"


async def test_a_cancelled_writer_leaves_no_write_that_only_the_journal_knows(make, database):
    rows = make(database, **LATER)
    await rows.start()
    task = asyncio.create_task(rows.set(1, "a"))
    while not rows._back._tasks or len(rows._back._tasks) < 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: rows.backlog().pending)
    await rows.flush()
    assert database.rows[1][0] == "a"


async def test_values_read_while_pending_belong_to_the_caller(make, database):
    rows = make(database, **LATER)
    await rows.set(1, ["a"])
    (await rows.get(1)).append("b")
    assert await rows.get(1) == ["a"]


async def test_entries_of_users_are_brought_in_line_after_a_restart(make, make_cache, database):
    """In the background nobody is named but by the key: whoever wrote was admitted then."""
    cache = make_cache()
    names = {"key": lambda key: f"user:{key}:profile", "admit": cache._access.asked}
    rows = make(database, cache=cache, drain=0.1, **names, **LATER)
    database.broken = True
    with principal(user="x y"):
        await rows.set("x%20y", "new")
    await rows.aclose()
    database.broken = False
    heir = make(database, cache=cache, **names)
    await heir.start()
    assert await heir.flush()
    with principal(user="x y"):
        assert await heir.get("x%20y") == "new"


async def test_calls_from_another_event_loop_are_carried_home(make, database):
    rows = make(database, **LATER)
    await rows.set(1, "a")

    async def elsewhere():
        await rows.set(2, "b")
        return await rows.get(1)

    assert await asyncio.to_thread(asyncio.run, elsewhere()) == "a"
    await rows.flush()
    assert set(database.rows) == {1, 2}


class Crashing(RuleBasedStateMachine):
    """A resource with a journal on disk, against a dictionary: whatever fails, dies and comes back."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.model: dict[int, object] = {}
        self.cache = self.run(self._cache())
        self.database = self.run(self._database())
        self.rows = self._begin()

    def run(self, work):
        return self.runner.run(work)

    async def _cache(self):
        return Cache(None)

    async def _database(self):
        return Database()

    def _begin(self) -> Resource:
        plan = WriteBack(
            journal=Path(self.directory.name),
            interval=0.0,
            first_retry=0.0001,
            longest_retry=0.001,
            drain=5.0,
        )
        rows = Resource(
            self.cache,
            "rows",
            load=self.database.load,
            store=self.database.store,
            delete=self.database.delete,
            strategy=plan,
            ttl=60.0,
        )
        self.run(rows.start())
        return rows

    @rule(key=st.integers(0, 2), values=st.lists(st.integers(), min_size=1, max_size=3))
    def write(self, key, values):
        for value in values:
            self.run(self.rows.set(key, value))
            self.model[key] = value

    @rule(key=st.integers(0, 2))
    def delete(self, key):
        self.run(self.rows.delete(key))
        self.model[key] = None

    @rule(broken=st.booleans())
    def database_fails(self, broken):
        self.database.broken = broken

    @rule(turns=st.integers(0, 20))
    def time_passes(self, turns):
        async def passing():
            for _ in range(turns):
                await asyncio.sleep(0)

        self.run(passing())

    @rule()
    def crash(self):
        """Nothing is finished and nothing closed; locks go with the process."""
        back = self.rows._back

        async def ending():
            await back._tasks.end(5.0)
            await back._deliveries.end(5.0)
            await back._journal._tasks.finish(5.0)

        self.run(ending())
        os.close(back._journal._files._file)
        self.rows = self._begin()

    @rule()
    def restart(self):
        self.run(self.rows._back._deliveries.finish(0.0))
        self.database.broken = False
        self.run(self.rows.aclose())
        self.reached()
        self.rows = self._begin()

    @rule()
    def flush(self):
        self.database.broken = False
        assert self.run(self.rows.flush())
        self.reached()

    def reached(self):
        assert {key: self.database.rows[key][0] for key in self.model} == self.model

    @invariant()
    def what_was_written_is_read(self):
        for key, value in self.model.items():
            assert self.run(self.rows.get(key)) == value

    @invariant()
    def versions_of_a_key_only_rise_in_the_database(self):
        last: dict[object, int] = {}
        for key, version in self.database.applied:
            assert version >= last.get(key, 0)
            last[key] = version

    def teardown(self):
        self.database.broken = False
        self.run(self.rows.aclose())
        self.reached()
        self.run(self.cache.aclose())
        self.runner.close()
        self.directory.cleanup()


TestCrashing = Crashing.TestCase
TestCrashing.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
