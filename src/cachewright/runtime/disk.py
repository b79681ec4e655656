"""The l3 tier of one process: records in files, read and written in threads of its own, never in the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cachewright.errors import CodecError, SurroundingsError
from cachewright.runtime.codec import Accepted, Codec, Entry
from cachewright.runtime.settings import Clock, Settings
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.base import acceptance_name, entry_name
from cachewright.runtime.stores.records import Record, encoded, seconds_left, stored_name
from cachewright.runtime.tasks import Tasks

if TYPE_CHECKING:
    from cachewright.runtime.stores.file import FileStore, Found, Left

_log = logging.getLogger("cachewright")
_THREADS = 2
#: Calls that may wait for a thread; past them a read finds nothing and a write is left out.
_WAITING = 64

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What the files hold for one key, and the file of its entry."""

    entry: Entry | None = None
    accepted: Accepted | None = None
    file: Found | None = None


_NOTHING = OnDisk()


class Disk:
    """Records in `files`. No method raises; what takes longer than `timeout` (s) counts as absent.

    The directory is opened by the first call. Where it cannot be used nothing is held, and that is logged once.
    """

    def __init__(
        self,
        files: FileStore,
        codec: Codec,
        stats: Stats,
        *,
        timeout: float,
        wall: Clock,
    ) -> None:
        self._files = files
        self._codec = codec
        self._stats = stats
        self._timeout = timeout
        self._wall = wall
        self._tasks = Tasks()
        self._lock = threading.Lock()
        self._opened: bool | None = None
        self._waiting = 0
        self._pool: ThreadPoolExecutor | None = None

    async def find(self, key: str, acceptance: tuple[str, str] | None) -> OnDisk:
        """The entry of `key`, and an `acceptance` by its credential and what it is for."""
        return await self._run(partial(self._find, key, acceptance), _NOTHING)

    async def write(self, records: Collection[Record], keep: float) -> bool:
        """Hold `records` until they end, entries `keep` seconds longer; whether all of them are held now."""
        return await self._run(partial(self._write, tuple(records), keep), False)

    async def sweep(self) -> None:
        """Remove what has expired of the next of 256 parts."""
        self._count(await self._run(self._files.sweep, None))

    def discard(self, key: str, file: Found) -> None:
        """Let go of the entry of `key`, soon, unless another has taken its place by then."""
        self._later(partial(self._files.discard, entry_name(key), file.stamp))

    def demote(self, records: Collection[Record]) -> None:
        """Hold what memory had no room for, soon, as far as there is time for it."""
        now = self._wall()
        alive = [record for record in records if isinstance(record, Entry) and not record.meta.expired(now)]
        if not alive:
            return
        if not self._later(partial(self._demote, alive)):
            self._stats.demoted(kept=False)

    async def aclose(self, patience: float) -> None:
        """Finish what is under way, for `patience` seconds. May be called again."""
        await self._tasks.finish(patience)
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _later(self, work: Callable[[], object]) -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._waiting >= _WAITING:
            return False
        self._tasks.spawn(self._run(work, None))
        return True

    async def _run(self, work: Callable[[], _Result], otherwise: _Result) -> _Result:
        """`work` in a thread; `otherwise` where that fails, takes too long, or too many wait already."""
        if self._waiting >= _WAITING or self._opened is False:
            return otherwise
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="cachewright-files")
        self._waiting += 1
        future = self._pool.submit(self._usable, work, otherwise)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout)
        except TimeoutError:
            self._stats.store_failed(timeout=True)
            return otherwise

    def _done(self, _future: object) -> None:
        with self._lock:
            self._waiting -= 1

    def _usable(self, work: Callable[[], _Result], otherwise: _Result) -> _Result:
        with self._lock:
            if self._opened is None:
                try:
                    self._files.open()
                    self._opened = True
                except SurroundingsError as error:
                    self._opened = False
                    _log.warning("nothing is cached in files: %s", error)
        if not self._opened:
            return otherwise
        try:
            return work()
        except OSError:
            self._stats.store_failed(timeout=False)
            return otherwise

    def _find(self, key: str, acceptance: tuple[str, str] | None) -> OnDisk:
        file = self._files.read(entry_name(key))
        entry = accepted = None
        if file is not None:
            entry = self._decoded(entry_name(key), file, partial(self._codec.decode_entry, file.data, key))
        if acceptance is not None:
            credential, accepted_as = acceptance
            name = acceptance_name(credential, accepted_as)
            other = self._files.read(name)
            if other is not None:
                decode = partial(self._codec.decode_acceptance, other.data, accepted_as, credential)
                accepted = self._decoded(name, other, decode)
        return OnDisk(entry, accepted, file)

    def _decoded(self, name: str, file: Found, decode: Callable[[], _Result]) -> _Result | None:
        try:
            return decode()
        except CodecError:
            self._stats.unreadable()
            self._files.discard(name, file.stamp)
            return None

    def _write(self, records: Collection[Record], keep: float) -> bool:
        now = self._wall()
        return all(self._put(record, now, keep) for record in records)

    def _put(self, record: Record, now: float, keep: float) -> bool:
        left = self._files.write(
            stored_name(record), encoded(self._codec, record), seconds_left(record, now, keep)
        )
        self._count(left)
        return left is not None

    def _demote(self, entries: Collection[Entry]) -> None:
        for entry in entries:
            self._stats.demoted(kept=self._put(entry, self._wall(), 0.0))

    def _count(self, left: Left | None) -> None:
        if left is not None:
            self._stats.left_files(evicted=left.evicted, expired=left.expired)


def disk_of(
    settings: Settings,
    namespace: str,
    codec: Codec,
    stats: Stats,
    *,
    wall: Clock,
    dice: Callable[[], float],
) -> Disk | None:
    """The files that `settings` asks for, if it does."""
    if settings.l3_dir is None:
        return None
    from cachewright.runtime.stores.file import FileStore

    files = FileStore(
        settings.l3_dir,
        namespace,
        limit=settings.l3_bytes,
        files=settings.l3_files,
        wall=wall,
        dice=dice,
        sync=settings.l3_sync,
    )
    return Disk(files, codec, stats, timeout=settings.l3_timeout, wall=wall)
