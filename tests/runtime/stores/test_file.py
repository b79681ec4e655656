"""The behaviour of every store, in files; what only files can suffer: links, strangers, crashes, other processes."""

import multiprocessing
import os
import signal
import stat
import threading
import time

import pytest
from tests.runtime.stores.suite import StoredBytesSuite, Wall

from cachewright.errors import CodecError, SurroundingsError
from cachewright.runtime.codec import Codec
from cachewright.runtime.stores.base import entry_name
from cachewright.runtime.stores.file import FileStore
from cachewright.runtime.tokens import LocalTokens, fresh_token

ROOM = 512 * 1024
spawning = multiprocessing.get_context("spawn")


def opened(directory, *, limit=ROOM, files=100, wall=time.time, sync=False):
    store = FileStore(directory, "ns", limit=limit, files=files, wall=wall, dice=lambda: 0.5, sync=sync)
    store.open()
    return store


def value(store, name):
    found = store.read(name)
    return None if found is None else found.data


def inside(store):
    """The files that hold values."""
    return [path for path in store._root.glob("??/*") if not path.name.startswith(".")]


def is_exact(store):
    paths = inside(store)
    return store.usage() == (sum(path.stat().st_size for path in paths), len(paths))


class FileShelf:
    def __init__(self, directory, wall):
        self.store = opened(directory, wall=wall, files=100)
        self.codec = Codec("ns")
        self.local = LocalTokens()

    async def put(self, entry, seconds):
        assert self.store.write(entry_name(entry.key), self.codec.encode_entry(entry), seconds) is not None

    async def get(self, key):
        data = await self.stored(key)
        try:
            entry = None if data is None else self.codec.decode_entry(data, key)
        except CodecError:
            return None
        return entry if entry is not None and self.local.agree(entry.tokens) else None

    async def tokens(self, tags):
        return self.local.mint(tags, fresh_token)

    async def drop(self, tags):
        self.local.touch(tags)

    async def discard(self, key):
        self.store.discard(entry_name(key))

    async def stored(self, key):
        return value(self.store, entry_name(key))

    async def overwrite(self, key, data):
        shard, file = self.store._place(entry_name(key))
        (self.store._root / shard / file).write_bytes(data)
        os.utime(self.store._root / shard / file, (0, 0))

    async def is_within_bounds(self):
        paths = inside(self.store)
        return len(paths) <= 100 and sum(path.stat().st_size for path in paths) <= ROOM


class TestFile(StoredBytesSuite):
    @pytest.fixture
    def wall(self):
        return Wall()

    @pytest.fixture
    def shelf(self, tmp_path, wall):
        return FileShelf(tmp_path / "l3", wall)

    @pytest.fixture
    def pass_time(self, wall):
        async def pass_time(seconds):
            wall.now += seconds

        return pass_time


def test_directories_and_files_are_the_users_own(tmp_path):
    store = opened(tmp_path / "l3", sync=True)
    store.write("name", b"value", None)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "l3").rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_names_say_nothing_and_cannot_lead_elsewhere(tmp_path):
    store = opened(tmp_path / "l3")
    for name in ("../../escape", "/etc/passwd", "a\0b", "x" * 5000, ".", "\udcff", "user:alice"):
        assert store.write(name, name.encode("utf-8", "surrogatepass"), None) is not None
        assert value(store, name) == name.encode("utf-8", "surrogatepass")
    assert {path.name for path in tmp_path.iterdir()} == {"l3"}
    assert not any("alice" in path.name or "escape" in path.name for path in tmp_path.rglob("*"))


def test_a_link_in_place_of_a_file_is_neither_read_nor_written_through(tmp_path):
    store = opened(tmp_path / "l3")
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    shard, file = store._place("name")
    (store._root / shard).mkdir(exist_ok=True)
    (store._root / shard / file).symlink_to(secret)
    with pytest.raises(OSError):
        value(store, "name")
    store.write("name", b"value", None)
    assert (value(store, "name"), secret.read_bytes()) == (b"value", b"secret")


def test_a_link_in_place_of_a_part_leads_nowhere(tmp_path):
    store = opened(tmp_path / "l3")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (store._root / store._place("name")[0]).symlink_to(elsewhere)
    with pytest.raises(OSError):
        store.write("name", b"value", None)
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_place_of_the_directory_is_refused(tmp_path):
    root = opened(tmp_path / "l3")._root
    elsewhere = tmp_path / "elsewhere"
    root.rename(elsewhere)
    root.symlink_to(elsewhere)
    with pytest.raises(SurroundingsError, match="cannot hold cached files"):
        opened(tmp_path / "l3")


def test_a_directory_that_others_may_write_is_refused_at_once_and_later(tmp_path):
    store = opened(tmp_path / "l3")
    store._root.chmod(0o777)
    with pytest.raises(SurroundingsError):
        opened(tmp_path / "l3")
    with pytest.raises(PermissionError):
        value(store, "name")
    with pytest.raises(PermissionError):
        store.write("name", b"value", None)


def test_namespaces_do_not_see_each_other(tmp_path):
    one = opened(tmp_path)
    two = FileStore(tmp_path, "n/s", limit=ROOM, files=100, wall=time.time, dice=lambda: 0.5)
    two.open()
    one.write("name", b"value", None)
    assert value(two, "name") is None
    assert two.usage() == (0, 0)


def test_what_was_used_stays_and_what_was_not_leaves(tmp_path):
    wall = Wall()
    store = opened(tmp_path, files=10, wall=wall)
    for number in range(10):
        wall.now += 10
        store.write(f"k{number}", b"value", None)
    wall.now += 10
    assert value(store, "k0") == b"value"
    left = [store.write(f"new{number}", b"value", 60.0) for number in range(2)]
    assert [(one.evicted, one.expired) for one in left] == [(1, 0), (1, 0)]
    assert [value(store, f"k{number}") is not None for number in range(4)] == [True, False, False, True]


def test_what_has_expired_leaves_before_what_is_old(tmp_path):
    wall = Wall()
    store = opened(tmp_path, files=3, wall=wall)
    store.write("old", b"value", None)
    wall.now += 10
    store.write("dead", b"value", 5.0)
    store.write("young", b"value", 500.0)
    wall.now += 10
    left = store.write("new", b"value", None)
    assert (left.evicted, left.expired) == (0, 1)
    assert [value(store, name) is not None for name in ("old", "dead", "young", "new")] == [
        True,
        False,
        True,
        True,
    ]


def test_a_value_too_large_for_its_share_is_not_held_nor_the_one_it_was_to_replace(tmp_path):
    store = opened(tmp_path)
    store.write("other", b"value", None)
    store.write("name", b"small", None)
    assert store.write("name", b"x" * (ROOM // 8 + 1), None) is None
    assert value(store, "name") is None
    assert value(store, "other") == b"value"
    assert is_exact(store)


def test_the_sweep_removes_what_has_expired_and_what_was_never_finished(tmp_path):
    wall = Wall()
    store = opened(tmp_path, wall=wall)
    for number in range(20):
        store.write(f"k{number}", b"value", 5.0 if number % 2 else None)
    abandoned = inside(store)[0].parent / ".123-abandoned"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (wall.now, wall.now))
    store.sweep()
    wall.now += 100
    assert sum(store.sweep().expired for _ in range(256)) == 11
    assert not abandoned.exists()
    assert len(inside(store)) == 10
    assert is_exact(store)


def test_what_is_counted_is_what_is_there_and_a_lost_count_is_made_again(tmp_path):
    store = opened(tmp_path, files=30)
    for number in range(100):
        store.write(f"k{number % 40}", b"x" * (number * 7 % 300), None)
        if number % 9 == 0:
            store.discard(f"k{number % 5}")
    assert is_exact(store)
    (store._root / "usage").write_bytes(b"not a count")
    store.write("one more", b"value", None)
    assert is_exact(store)
    inside(store)[0].unlink()
    assert not is_exact(store)
    assert is_exact(opened(tmp_path, files=30))


def test_a_file_that_took_the_place_of_another_is_not_discarded_in_its_stead(tmp_path):
    store = opened(tmp_path)
    store.write("name", b"old", None)
    old = store.read("name")
    store.write("name", b"new value", None)
    store.discard("name", old.stamp)
    assert value(store, "name") == b"new value"
    store.discard("name", store.read("name").stamp)
    assert value(store, "name") is None


def test_nobody_waits_long_for_a_process_that_holds_the_lock(tmp_path):
    store = opened(tmp_path)
    store.write("name", b"value", None)
    with store._opened() as root, store._locked(root) as lock:
        assert lock is not None
        assert store.write("other", b"value", None) is None
        assert value(store, "name") == b"value"
    assert store.write("other", b"value", None) is not None
    assert not list(store._root.glob("??/.*"))


def hammer(directory, seed, rounds):
    store = opened(directory, limit=64 * 1024, files=40)
    for number in range(rounds):
        name = f"k{(number * seed) % 97}"
        store.write(name, name.encode() * (50 + number % 60), 600.0)
        data = value(store, name)
        assert data is None or data == name.encode() * (len(data) // len(name))


def test_several_processes_share_one_bound_and_never_see_half_a_value(tmp_path):
    processes = [spawning.Process(target=hammer, args=(tmp_path, seed, 300)) for seed in (1, 5, 11)]
    for process in processes:
        process.start()
    store = opened(tmp_path, limit=64 * 1024, files=40)
    while any(process.is_alive() for process in processes):
        used, files = store.usage()
        assert used <= 64 * 1024
        assert files <= 40
        time.sleep(0.02)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert is_exact(store)


def write_for_ever(directory):
    store = opened(directory)
    number = 0
    while True:
        number += 1
        name = f"k{number % 20}"
        store.write(name, name.encode() * 5000, None)


def test_a_process_killed_while_it_writes_leaves_whole_values_only(tmp_path):
    for _ in range(3):
        process = spawning.Process(target=write_for_ever, args=(tmp_path,))
        process.start()
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("*/??/*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        store = opened(tmp_path)
        found = [value(store, f"k{number}") for number in range(20)]
        assert any(found)
        for number, data in enumerate(found):
            assert data is None or data == f"k{number}".encode() * 5000
        assert is_exact(store)


def test_many_threads_leave_it_consistent(tmp_path):
    store = opened(tmp_path, files=15)

    def work(seed):
        for number in range(80):
            name = f"k{(number * seed) % 23}"
            store.write(name, name.encode() * 20, None)
            data = value(store, name)
            assert data in (None, name.encode() * 20)
            if number % 7 == 0:
                store.discard(name)
                store.sweep()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside(store)) <= 15
    assert is_exact(store)
