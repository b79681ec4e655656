"""Several processes, slow loads, a busy writer: after an invalidation returned, no read shows what was before."""

import asyncio
import multiprocessing
import os
from collections import Counter, deque
from multiprocessing.shared_memory import SharedMemory

import pytest
from tests.runtime.driving import until
from tests.runtime.racing import DATABASE, DUE, DUE_IN_L1, KEYS, LEASE, PROCESSES, SIZE, Board, Race, reader

from cachewright.runtime.settings import boottime

#: Of each process; `make race` asks for more.
READS = int(os.environ.get("RACE_READS", "3000"))


@pytest.mark.parametrize(
    ("levels", "strict", "learned"),
    [
        (("l2",), False, False),
        (("l1", "l2"), False, False),
        (("l1", "l2"), True, False),
        (("l2",), False, True),
        (("l1", "l2"), False, True),
    ],
    ids=["l2", "l1", "strict", "learned, l2", "learned, l1"],
)
@pytest.mark.requirement("#88")
async def test_no_process_reads_what_was_loaded_before_an_invalidation_returned(
    make_cache, valkey_url, namespace, levels, strict, learned
):
    writer = await make_cache(l1_lease=LEASE, strict=strict)
    memory = SharedMemory(create=True, size=SIZE)
    board = Board(memory)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    race = Race(valkey_url, namespace, memory.name, READS, levels, strict, learned)
    readers = [context.Process(target=reader, args=(race, number, results)) for number in range(PROCESSES)]
    try:
        for process in readers:
            process.start()
        paced = await write_while(readers, writer, board)
        seen = sum((results.get(timeout=10) for _ in readers), Counter())
    finally:
        for process in readers:
            process.kill()
            process.join()
        results.close()
        board.close()
        memory.unlink()
    assert seen["stale"] == 0
    assert sum(seen[source] for source in ("local", "l1", "l2", "shared", "load")) == PROCESSES * READS
    assert seen["l2"] + seen["local"] > 0
    assert ("local" in seen) == ("l1" in levels)
    if "l1" not in levels:
        assert seen["load"] >= paced // 2, "a row that is read after a write is loaded anew"


async def write_while(readers, writer, board):
    """Write to one row after another, and say what is due once its invalidation has returned.

    It waits for the readers to keep their pace. Returns how many of the writes were followed by so many reads
    that hardly one of these rows was not among them.
    """
    history = [deque() for _ in range(KEYS)]
    number = paced = 0

    def alive():
        return all(process.is_alive() for process in readers)

    await until(alive)
    while any(process.is_alive() for process in readers):
        await asyncio.sleep(0.001)
        number += 1
        key = number % KEYS
        board.write(key, DATABASE, number)
        await writer.invalidate([f"rows(id={key})"], raise_pending=True)
        board.write(key, DUE, number)
        now = boottime()
        history[key].append((now, number))
        while history[key] and now - history[key][0][0] > LEASE:
            board.write(key, DUE_IN_L1, history[key].popleft()[1])
        board.has_written()
        while board.behind() and alive():
            await asyncio.sleep(0.001)
        if alive():
            paced = number - KEYS
    return paced
