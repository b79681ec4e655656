"""Journals of accepted writes: on disk, and in a Redis that keeps what it is given."""

import asyncio
import os

import pytest

from cachewright.errors import SurroundingsError, WriteNotAcceptedError
from cachewright.runtime.server import Server
from cachewright.runtime.strategies.file_journal import FileJournal
from cachewright.runtime.strategies.records import Write, frame
from cachewright.runtime.strategies.redis_journal import RedisJournal


def write(name: str, version: int, size: int = 5) -> Write:
    return Write(name, version, name.encode(), b"v" * size)


def killed(journal: FileJournal) -> None:
    """What the end of a process does to its files: its lock goes, its bytes stay."""
    os.close(journal._files._file)


async def test_what_was_appended_and_not_done_is_taken_over(tmp_path):
    journal = FileJournal(tmp_path, "rows")
    assert await journal.open() == {}
    await asyncio.gather(*(journal.append(write("a", n)) for n in (1, 2, 3)), journal.append(write("b", 1)))
    await journal.append(write("c", 1))
    await journal.done("c", 1)
    await journal.done("a", 2)
    killed(journal)
    heir = FileJournal(tmp_path, "rows")
    assert await heir.open() == {"a": write("a", 3), "b": write("b", 1)}
    assert len(list(tmp_path.iterdir())) == 1
    await heir.aclose()
    third = FileJournal(tmp_path, "rows")
    assert set(await third.open()) == {"a", "b"}
    await third.done("a", 3)
    await third.done("b", 1)
    await third.aclose()
    assert list(tmp_path.iterdir()) == []


async def test_files_of_living_processes_and_other_resources_are_left_alone(tmp_path):
    own, living, other = (FileJournal(tmp_path, name) for name in ("rows", "rows", "row"))
    for journal in (living, other):
        await journal.open()
        await journal.append(write("a", 1))
    assert await own.open() == {}
    for journal in (own, living, other):
        await journal.aclose()


async def test_of_several_dead_processes_the_newest_write_of_a_key_holds(tmp_path):
    dead = [FileJournal(tmp_path, "rows") for _ in range(3)]
    for number, journal in enumerate(dead):
        await journal.open()
        await journal.append(write("a", 10 - number))
        await journal.append(write(f"own{number}", 1))
    for journal in dead:
        killed(journal)
    heir = FileJournal(tmp_path, "rows")
    found = await heir.open()
    assert found["a"].version == 10
    assert len(found) == 4
    await heir.aclose()


async def test_a_torn_end_is_dropped_and_damage_in_the_middle_is_kept_for_a_look(tmp_path, caplog):
    journal = FileJournal(tmp_path, "rows")
    await journal.open()
    await journal.append(write("a", 1))
    await journal.append(write("b", 1))
    path = journal._files._path
    killed(journal)
    whole = path.read_bytes()
    path.write_bytes(whole + frame(write("c", 1))[:-1])
    heir = FileJournal(tmp_path, "rows")
    assert set(await heir.open()) == {"a", "b"}
    assert heir.damaged == len(frame(write("c", 1))) - 1
    await heir.aclose()
    for left in tmp_path.iterdir():
        left.unlink()
    path.write_bytes(whole.replace(b"vvvvv", b"vvxvv", 1))
    last = FileJournal(tmp_path, "rows")
    assert set(await last.open()) == {"b"}
    assert [each.suffix for each in tmp_path.iterdir() if each != last._files._path] == [".damaged"]
    assert "was damaged" in caplog.text
    await last.aclose()


async def test_a_file_of_another_format_is_left_alone(tmp_path, caplog):
    foreign = tmp_path / "rows.1.writes"
    foreign.write_bytes(b"something else altogether")
    journal = FileJournal(tmp_path, "rows")
    assert await journal.open() == {}
    assert foreign.exists()
    assert "no journal this version reads" in caplog.text
    await journal.aclose()


async def test_the_file_stays_small_while_writes_come_and_go(tmp_path):
    journal = FileJournal(tmp_path, "rows", compact_at=10_000)
    await journal.open()
    await journal.append(write("kept", 1))
    for number in range(1, 200):
        await journal.append(write("a", number, size=500))
        await journal.done("a", number)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 12_000
    killed(journal)
    heir = FileJournal(tmp_path, "rows")
    assert set(await heir.open()) == {"kept"}
    await heir.aclose()


async def test_a_disk_that_refuses_is_told_and_the_next_write_goes_to_a_new_file(tmp_path):
    """After a failed sync the kernel says nothing more of what it gave up: the file is not used any longer."""
    journal = FileJournal(tmp_path, "rows")
    await journal.open()
    await journal.append(write("a", 1))
    before = journal._files._path
    broken = os.open(before, os.O_RDONLY)
    os.dup2(broken, journal._files._file)
    os.close(broken)
    with pytest.raises(WriteNotAcceptedError, match="could not be written"):
        await journal.append(write("b", 1))
    await journal.append(write("c", 1))
    assert journal._files._path != before
    assert not before.exists()
    killed(journal)
    heir = FileJournal(tmp_path, "rows")
    assert set(await heir.open()) == {"a", "c"}
    await heir.aclose()


async def test_a_directory_that_cannot_be_written_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SurroundingsError, match="cannot be kept in"):
        await FileJournal(tmp_path / "file" / "in", "rows").open()


async def test_files_are_readable_by_their_owner_alone(tmp_path):
    journal = FileJournal(tmp_path, "rows")
    await journal.open()
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    await journal.aclose()


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, "appendonly yes"),
        ({"appendonly": "yes", "maxmemory_policy": "allkeys-lru"}, "maxmemory-policy noeviction"),
    ],
)
async def test_a_redis_that_forgets_is_refused_and_told_what_to_set(own_server, config, wanted):
    server = Server(own_server(**config).url, timeout=5.0)
    with pytest.raises(SurroundingsError) as refused:
        await RedisJournal(server.send, "rows").open()
    assert wanted in str(refused.value)
    await server.aclose()


async def test_a_redis_that_is_away_is_refused():
    server = Server("redis://127.0.0.1:1", timeout=1.0)
    with pytest.raises(SurroundingsError, match="does not answer"):
        await RedisJournal(server.send, "rows").open()
    await server.aclose()


async def test_a_persistent_redis_keeps_writes_until_they_are_done(own_server):
    own = own_server(appendonly="yes")
    server = Server(own.url, timeout=5.0)
    journal = RedisJournal(server.send, "rows")
    assert await journal.open() == {}
    for record in (write("a", 1), write("a", 2), write("b", 1)):
        await journal.append(record)
    await journal.done("a", 1)
    heir = RedisJournal(server.send, "rows")
    assert await heir.open() == {"a": write("a", 2), "b": write("b", 1)}
    await heir.done("a", 2)
    await heir.done("b", 1)
    with own.client() as client:
        assert not client.exists("rows")
    await server.aclose()


async def test_a_full_redis_accepts_no_write(own_server):
    own = own_server(appendonly="yes", maxmemory_policy="noeviction")
    server = Server(own.url, timeout=5.0)
    journal = RedisJournal(server.send, "rows")
    await journal.open()
    with own.client() as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(WriteNotAcceptedError, match="refused one"):
        await journal.append(write("a", 1))
    await server.aclose()
