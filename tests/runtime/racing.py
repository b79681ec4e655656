"""Reader processes for the race: they load slowly from a shared 'database' and compare with what is due."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory

from tests.runtime.driving import get, request, until

from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Settings

KEYS = 8
LEASE = 0.25
PROCESSES = 3
#: Reads of one process for each write, and how many writes it may be ahead: their ratio is the same on every machine.
PACE, AHEAD = 10, 3
#: Three numbers for each key: what the database holds, what every read that begins now must show at least, and
#: the same for copies in the memory of a process, which may lag by their lease.
DATABASE, DUE, DUE_IN_L1 = range(3)
#: After them: how often each process has read, and how often was written.
PROGRESS, WRITES = KEYS * 3, KEYS * 3 + PROCESSES
SIZE = (WRITES + 1) * 8
TASKS = 6


class Board:
    """The numbers, shared by all processes."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._cells = memory.buf[:SIZE].cast("q")

    def read(self, key: int, what: int) -> int:
        return self._cells[key * 3 + what]

    def write(self, key: int, what: int, number: int) -> None:
        self._cells[key * 3 + what] = number

    def has_read(self, process: int) -> None:
        self._cells[PROGRESS + process] += 1

    def has_written(self) -> None:
        self._cells[WRITES] += 1

    def ahead(self, process: int) -> bool:
        """Whether this process should wait for the writer."""
        return self._cells[PROGRESS + process] > PACE * (self._cells[WRITES] + AHEAD)

    def behind(self) -> bool:
        """Whether the readers have read less than the writer has written for."""
        return sum(self._cells[PROGRESS:WRITES]) < PROCESSES * PACE * self._cells[WRITES]

    def close(self) -> None:
        self._cells.release()
        self._memory.close()


@dataclass(frozen=True)
class Race:
    """What every reader is told."""

    url: str
    namespace: str
    board: str
    reads: int
    levels: tuple[str, ...]
    strict: bool
    learned: bool = False


def reader(race: Race, process: int, results) -> None:
    board = Board(SharedMemory(race.board))
    try:
        results.put(asyncio.run(_read_all(race, board, process)))
    finally:
        board.close()


async def _read_all(race: Race, board: Board, process: int) -> Counter[str]:
    dice = random.Random(process)
    settings = Settings(
        read_timeout=5.0, connect_timeout=5.0, l1_lease=LEASE, workers=PROCESSES, strict=race.strict
    )
    cache = Engine(race.namespace, redis_url=race.url, settings=settings)
    await cache.start()
    await until(lambda: cache.hears)
    seen: Counter[str] = Counter()
    due = DUE_IN_L1 if "l1" in race.levels and not race.strict else DUE

    async def one() -> None:
        for _ in range(race.reads // TASKS):
            key = dice.randrange(KEYS)

            async def load(key=key) -> bytes:
                number = board.read(key, DATABASE)
                await asyncio.sleep(dice.random() * 0.01)
                return str(number).encode()

            least = board.read(key, due)
            got = await get(cache, _asked(race, key), load, learned=[_row(key)] if race.learned else [])
            seen[got.source] += 1
            seen["stale"] += int(got.payload) < least
            board.has_read(process)
            await until(lambda: not board.ahead(process))
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(TASKS)))
    await cache.aclose()
    return seen


def _row(key: int) -> str:
    return f"rows(id={key})"


def _asked(race: Race, key: int):
    if race.learned:
        return request(f"k{key}", "ns", "rows#bulk", levels=race.levels, guards=("rows",))
    return request(f"k{key}", "ns", _row(key), levels=race.levels)
