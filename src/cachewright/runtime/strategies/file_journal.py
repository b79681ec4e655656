"""A journal of accepted writes in local files: append-only, checksummed, synced before it answers, compacted.

Each process has a file of its own and holds a lock on it that ends with the process, however that ends. Whoever
starts next takes over the files whose lock is free.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from cachewright.errors import SurroundingsError, WriteNotAcceptedError
from cachewright.runtime.forking import start_anew_in_children
from cachewright.runtime.strategies.records import Damage, Done, Record, Write, frame, read, remaining
from cachewright.runtime.tasks import Tasks
from cachewright.spec.keys import escape

_log = logging.getLogger("cachewright")
_HEADER = b"cachewright writes 1\n"
_SUFFIX = ".writes"
_COMPACT_AT = 1024 * 1024
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Asked:
    record: Record
    answer: asyncio.Future[None]


class FileJournal:
    """Accepted writes of `resource` in a file in `directory`. Only one event loop may use it.

    Writes that come while others are being synced share the next fsync. A file is written anew, without what is
    done, once it has more than `compact_at` bytes and half of them are of no use.
    """

    def __init__(self, directory: Path, resource: str, *, compact_at: int = _COMPACT_AT) -> None:
        self._stem = escape(resource)
        self._directory = directory
        self._compact_at = compact_at
        self._begin()
        start_anew_in_children(self._forked)

    def _begin(self) -> None:
        self._files = _Files(self._directory, self._stem, self._compact_at)
        self._waiting: list[_Asked] = []
        self._committing = False
        self._tasks = Tasks()

    def _forked(self) -> None:
        """The file is the parent's, and so is its lock, which is to end with the parent."""
        self._files.leave()
        self._begin()

    @property
    def damaged(self) -> int:
        """How many bytes could not be read at `open`."""
        return self._files.damaged

    async def open(self) -> Mapping[str, Write]:
        """Create the file and take over those of processes that are gone."""
        try:
            return await asyncio.to_thread(self._files.open)
        except OSError as error:
            raise SurroundingsError(
                f"the journal of accepted writes cannot be kept in {self._directory}: {error.strerror or error}",
                hint="name a directory on a local disk that this process may write to, and that outlives it",
            ) from error

    async def append(self, write: Write) -> None:
        """Write it and wait for the disk. Raises `WriteNotAcceptedError`."""
        try:
            await self._put(write)
        except OSError as error:
            raise WriteNotAcceptedError(
                f"the journal of accepted writes could not be written: {error.strerror or error}",
                hint="the write is neither kept nor stored; make room on its disk and repeat it",
            ) from error

    async def done(self, name: str, version: int) -> None:
        """Note it; without waiting for the disk."""
        try:
            await self._put(Done(name, version))
        except OSError:
            _log.warning(
                "a stored write could not be marked as stored; it may be stored again", exc_info=True
            )

    async def _put(self, record: Record) -> None:
        asked = _Asked(record, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if not self._committing:
            self._committing = True
            self._tasks.spawn(self._commit())
        await asked.answer

    async def _commit(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                error = await asyncio.to_thread(self._files.write, [asked.record for asked in batch])
                for asked in batch:
                    if asked.answer.done():
                        continue
                    if error is None:
                        asked.answer.set_result(None)
                    else:
                        asked.answer.set_exception(OSError(error.errno, error.strerror))
        finally:
            self._committing = False

    async def aclose(self) -> None:
        """Let go of the file, and of its name where nothing is left in it."""
        await self._tasks.finish(_CLOSE_SECONDS)
        await asyncio.to_thread(self._files.close)


class _Files:
    """The blocking half: used by one thread at a time."""

    def __init__(self, directory: Path, stem: str, compact_at: int) -> None:
        self._directory = directory
        self._stem = stem
        self._compact_at = compact_at
        self._path: Path | None = None
        self._file = -1
        self._size = 0
        self._left: dict[str, Write] = {}
        self._useful = 0
        self._broken = False
        self.damaged = 0

    def open(self) -> Mapping[str, Write]:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._start({})
        found: dict[str, Write] = {}
        adopted = list(self._orphans())
        for orphan in adopted:
            for name, write in orphan.left.items():
                if name not in found or write.version > found[name].version:
                    found[name] = write
        try:
            if found:
                self._append(list(found.values()))
            for orphan in adopted:
                orphan.retire()
        finally:
            for orphan in adopted:
                os.close(orphan.file)
        return found

    def _orphans(self) -> Iterator[_Orphan]:
        for path in sorted(self._directory.glob(f"{self._stem}.*{_SUFFIX}")):
            orphan = None if path == self._path else _adopt(path)
            if orphan is not None:
                self.damaged += sum(each.size for each in orphan.damage)
                yield orphan

    def write(self, records: Sequence[Record]) -> OSError | None:
        """Append records, and sync where an accepted write is among them. An error concerns all of them.

        After one the file is not trusted: what the kernel gave up writing it does not report twice.
        """
        try:
            if self._broken:
                self._start(self._left)
            self._append(records)
            if self._size > self._compact_at and self._useful * 2 < self._size:
                self._start(self._left)
        except OSError as error:
            self._broken = True
            return error
        return None

    def _append(self, records: Sequence[Record]) -> None:
        frames = [frame(record) for record in records]
        _write(self._file, b"".join(frames))
        if any(isinstance(record, Write) for record in records):
            os.fsync(self._file)
        self._size += sum(map(len, frames))
        for record in records:
            self._keep(record)

    def _keep(self, record: Record) -> None:
        before = self._left.get(record.name)
        if before is not None and before.version > record.version:
            return
        if before is not None:
            self._useful -= len(frame(before))
            del self._left[record.name]
        if isinstance(record, Write):
            self._left[record.name] = record
            self._useful += len(frame(record))

    def _start(self, left: Mapping[str, Write]) -> None:
        """Begin a new file with what is left, and let go of the one before."""
        path = self._directory / f"{self._stem}.{os.getpid()}-{uuid4().hex}{_SUFFIX}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data = _HEADER + b"".join(frame(write) for write in left.values())
            _write(file, data)
            os.fsync(file)
            _sync(self._directory)
        except OSError:
            path.unlink(missing_ok=True)
            os.close(file)
            raise
        before, self._file, self._path = (self._file, self._path), file, path
        self._size, self._useful, self._broken = len(data), len(data) - len(_HEADER), False
        if before[1] is not None:
            before[1].unlink(missing_ok=True)
            os.close(before[0])

    def leave(self) -> None:
        """Close the file as it is, without a look at it."""
        if self._path is not None:
            os.close(self._file)
            self._path = None

    def close(self) -> None:
        if self._path is None:
            return
        if not self._left:
            self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._path = None


@dataclass(frozen=True, slots=True)
class _Orphan:
    """A file of a process that is gone; its lock is held here."""

    path: Path
    file: int
    left: Mapping[str, Write]
    damage: Sequence[Damage]

    def retire(self) -> None:
        """What was left is kept elsewhere. A file that was damaged other than by a kill stays, to be looked at."""
        if all(each.tail for each in self.damage):
            self.path.unlink(missing_ok=True)
            return
        aside = self.path.with_suffix(".damaged")
        self.path.rename(aside)
        _log.error(
            "a journal of accepted writes was damaged; what could be read is kept, the file is %s", aside
        )


def _adopt(path: Path) -> _Orphan | None:
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None  # gone meanwhile, or not ours to open: its owner finds it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gone = os.fstat(file).st_nlink == 0
        data = b"" if gone else path.read_bytes()
    except OSError:
        os.close(file)
        return None
    known = data[: len(_HEADER)] == _HEADER[: len(data)]
    if gone or not known:
        if not known:
            _log.error("%s is no journal this version reads; it is left alone", path)
        os.close(file)
        return None
    left, damage = remaining(read(data[len(_HEADER) :]))
    return _Orphan(path, file, left, damage)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
