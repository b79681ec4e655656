"""The l3 tier: files of one machine, shared by its processes, for large values. POSIX only; blocking throughout.

`<directory>/<namespace>-<digest>/<2 hex>/<38 hex>`: names are digests, what is inside says whose it is. The time of
last modification of a file is its end (s since the epoch, 0 for none), that of last access its last use, so that
nothing needs to be opened to find out who leaves. A file is written beside its place and renamed: a reader finds
all of it or none. It is not synced unless asked for: what a power failure tears does not fit its digest, which is a
miss (see `codec`), and the reader removes it.

The bounds hold over all processes: bytes and files are counted in the file `usage`, whose lock a writer holds
while it makes room, renames and counts. The oldest of a sample leaves (as Redis does), so that no step looks at
everything. Nothing is done where the lock cannot be had soon: a cache may forget, a request may not wait.

Directories are 0700, files 0600; links are never followed, and a directory of somebody else is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cachewright.errors import SurroundingsError
from cachewright.runtime.settings import Clock

#: The version of names and of the layout; processes of different versions never meet.
_LAYOUT = 1
_USAGE = struct.Struct(">QQ")
_SHARDS = 256
#: A file larger than this share of the whole would push out too many others.
_LARGEST_SHARE = 8
#: Files looked at for one round of eviction, of which at most a quarter leaves.
_SAMPLE = 64
_NANO = 1_000_000_000
#: A file that is still being written after so long (s) belongs to a process that has died.
_ABANDONED = 60.0
_LOCK_SECONDS = 0.05
_LOCK_STEP = 0.002
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COUNT = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """What was read, and from which file: a stamp that another file of the same name does not have."""

    data: bytes
    stamp: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Left:
    """How many files left for want of room, and how many because their life was over."""

    evicted: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file that was looked at."""

    shard: str
    name: str
    size: int
    used: int
    end: int

    def expired(self, now: float) -> bool:
        return self.end > 0 and now * _NANO >= self.end


@dataclass(slots=True)
class _Usage:
    """What is counted, while the lock is held."""

    bytes: int
    files: int

    def less(self, size: int) -> None:
        self.bytes, self.files = max(0, self.bytes - size), max(0, self.files - 1)


class FileStore:
    """Bytes by name in files, at most `files` of them and `limit` bytes together.

    `wall` gives seconds since the epoch, `dice` numbers in [0, 1). With `sync` a file is on the disk before it is
    renamed. Every method may be called in any thread, and raises `OSError` where the disk does not do its work.
    """

    def __init__(
        self,
        directory: Path,
        namespace: str,
        *,
        limit: int,
        files: int,
        wall: Clock,
        dice: Callable[[], float],
        sync: bool = False,
    ) -> None:
        stem = "".join(c if c.isascii() and c.isalnum() else "_" for c in namespace)[:40]
        self._prefix = f"{namespace}:{_LAYOUT}:"
        self._root = directory / f"{stem}-{hashlib.blake2b(self._prefix.encode(), digest_size=8).hexdigest()}"
        self._limit = limit
        self._files = files
        self._wall = wall
        self._dice = dice
        self._sync = sync
        self._swept = 0

    def open(self) -> None:
        """Make the directory and count what it holds. Raises `SurroundingsError` where it cannot be trusted."""
        try:
            self._root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self._root.mkdir(mode=0o700)
            with self._opened() as root:
                os.fchmod(root, 0o700)
                with self._locked(root, _ABANDONED) as lock:
                    if lock is not None:
                        _write_usage(lock, self._count(root))
        except OSError as error:
            raise SurroundingsError(
                f"{self._root} cannot hold cached files: {error.strerror or error}",
                hint="It must be a directory of the user that runs the application, writable by nobody else.",
            ) from error

    def read(self, name: str) -> Found | None:
        """What stands under `name`, None where nothing does or its life is over. That is a use of it."""
        shard, file = self._place(name)
        now = self._wall()
        with self._opened() as root:
            try:
                handle = os.open(f"{shard}/{file}", _READ, dir_fd=root)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                state = os.fstat(handle)
                if not stat.S_ISREG(state.st_mode) or state.st_size > self._largest:
                    return None
                if state.st_mtime_ns and now * _NANO >= state.st_mtime_ns:
                    return None
                if now * _NANO - state.st_atime_ns > _NANO:
                    os.utime(handle, ns=(int(now * _NANO), state.st_mtime_ns))
                return Found(_all_of(handle, state.st_size), _stamp(state))
            finally:
                os.close(handle)

    def write(self, name: str, data: bytes, seconds: float | None) -> Left | None:
        """Put `data` there for `seconds`, None for no end; who had to leave, None where it was not stored."""
        if len(data) > self._largest or self._files < 1 or (seconds is not None and seconds <= 0):
            self.discard(name)  # what stood there is older than what was to replace it
            return None
        shard, file = self._place(name)
        beside = f".{os.getpid()}-{os.urandom(6).hex()}"
        now = self._wall()
        end = 0 if seconds is None else int((now + seconds) * _NANO)
        with self._opened() as root, _shard(root, shard) as folder:
            try:
                self._write_beside(folder, beside, data, (int(now * _NANO), end))
                with self._locked(root) as lock:
                    if lock is None:
                        return None
                    usage = self._usage(root, lock)
                    with contextlib.suppress(FileNotFoundError):
                        usage.less(os.stat(file, dir_fd=folder, follow_symlinks=False).st_size)
                        os.unlink(file, dir_fd=folder)
                    left = self._make_room(root, usage, len(data))
                    if left is not None:
                        os.rename(beside, file, src_dir_fd=folder, dst_dir_fd=folder)
                        usage.bytes, usage.files = usage.bytes + len(data), usage.files + 1
                    _write_usage(lock, usage)
                    return left
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(beside, dir_fd=folder)

    def discard(self, name: str, stamp: tuple[int, int, int] | None = None) -> None:
        """Remove what stands under `name`, if anything does; with a `stamp` only if it still is that file."""
        shard, file = self._place(name)
        with self._opened() as root, self._locked(root) as lock:
            if lock is not None:
                usage = self._usage(root, lock)
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    state = os.stat(f"{shard}/{file}", dir_fd=root, follow_symlinks=False)
                    if stamp is not None and stamp != _stamp(state):
                        return
                    os.unlink(f"{shard}/{file}", dir_fd=root)
                    usage.less(state.st_size)
                    _write_usage(lock, usage)

    def sweep(self) -> Left:
        """Remove what has expired, or was never finished, of the next of 256 parts."""
        now = self._wall()
        shard, self._swept = f"{self._swept:02x}", (self._swept + 1) % _SHARDS
        expired = 0
        with self._opened() as root, self._locked(root) as lock:
            if lock is None:
                return Left()
            old = [seen for seen in _listed(root, shard) if _over(seen, now)]
            if old:
                usage = self._usage(root, lock)
                expired = sum(self._remove(root, seen, usage) for seen in old)
                _write_usage(lock, usage)
        return Left(expired=expired)

    def usage(self) -> tuple[int, int]:
        """How many bytes and files are counted now, over all processes."""
        with self._opened() as root, self._locked(root, _ABANDONED) as lock:
            usage = self._count(root) if lock is None else self._usage(root, lock)
            return usage.bytes, usage.files

    @property
    def _largest(self) -> int:
        return self._limit // _LARGEST_SHARE

    def _place(self, name: str) -> tuple[str, str]:
        whole = (self._prefix + name).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(whole, digest_size=20).hexdigest()
        return digest[:2], digest[2:]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The directory, looked at anew each time: it is this user's, and nobody else may write there."""
        root = os.open(self._root, _DIRECTORY)
        try:
            state = os.fstat(root)
            if state.st_uid != os.geteuid() or state.st_mode & 0o022:
                raise PermissionError(1, "it belongs to somebody else, or others may write there")
            yield root
        finally:
            os.close(root)

    @contextlib.contextmanager
    def _locked(self, root: int, patience: float = _LOCK_SECONDS) -> Iterator[int | None]:
        """The file that counts, locked against all processes; None where that took too long."""
        handle = os.open("usage", _COUNT, 0o600, dir_fd=root)
        try:
            yield handle if _lock(handle, patience) else None
        finally:
            os.close(handle)

    def _write_beside(self, folder: int, beside: str, data: bytes, times: tuple[int, int]) -> None:
        handle = os.open(beside, _CREATE, 0o600, dir_fd=folder)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.utime(handle, ns=times)
            if self._sync:
                os.fsync(handle)
        finally:
            os.close(handle)

    def _make_room(self, root: int, usage: _Usage, size: int) -> Left | None:
        """Let files leave until `size` more bytes have room: what has expired, then the least recently used.

        None where they cannot be removed.
        """
        now = self._wall()
        evicted = expired = 0
        while self._is_full(usage, size):
            sample = sorted(self._sample(root), key=lambda seen: (not seen.expired(now), seen.used))
            if not sample:
                usage.bytes = usage.files = 0  # what was counted is gone
                break
            gone = 0
            for seen in sample[: max(1, len(sample) // 4)]:
                if not self._is_full(usage, size):
                    break
                if self._remove(root, seen, usage):
                    gone += 1
                    expired += seen.expired(now)
            if not gone:
                return None
            evicted += gone
        return Left(evicted - expired, expired)

    def _is_full(self, usage: _Usage, size: int) -> bool:
        return usage.bytes + size > self._limit or usage.files + 1 > self._files

    def _sample(self, root: int) -> list[_Seen]:
        start, found = int(self._dice() * _SHARDS), list[_Seen]()
        for step in range(_SHARDS):
            listed = _listed(root, f"{(start + step) % _SHARDS:02x}")
            found.extend(seen for seen in listed if not seen.name.startswith("."))
            if len(found) >= _SAMPLE:
                break
        return found

    def _remove(self, root: int, seen: _Seen, usage: _Usage) -> bool:
        try:
            os.unlink(f"{seen.shard}/{seen.name}", dir_fd=root)
        except OSError:
            return False
        if not seen.name.startswith("."):
            usage.less(seen.size)
        return True

    def _usage(self, root: int, lock: int) -> _Usage:
        data = os.pread(lock, _USAGE.size + 1, 0)
        return _Usage(*_USAGE.unpack(data)) if len(data) == _USAGE.size else self._count(root)

    def _count(self, root: int) -> _Usage:
        usage = _Usage(0, 0)
        for shard in range(_SHARDS):
            for seen in _listed(root, f"{shard:02x}"):
                if not seen.name.startswith("."):
                    usage.bytes, usage.files = usage.bytes + seen.size, usage.files + 1
        return usage


def _over(seen: _Seen, now: float) -> bool:
    if seen.name.startswith("."):
        return now * _NANO - seen.used > _ABANDONED * _NANO
    return seen.expired(now)


def _write_usage(lock: int, usage: _Usage) -> None:
    os.pwrite(lock, _USAGE.pack(usage.bytes, usage.files), 0)
    os.ftruncate(lock, _USAGE.size)


def _stamp(state: os.stat_result) -> tuple[int, int, int]:
    return state.st_ino, state.st_size, state.st_mtime_ns


def _lock(handle: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_STEP)
        else:
            return True


@contextlib.contextmanager
def _shard(root: int, shard: str) -> Iterator[int]:
    with contextlib.suppress(FileExistsError):
        os.mkdir(shard, 0o700, dir_fd=root)
    folder = os.open(shard, _DIRECTORY, dir_fd=root)
    try:
        yield folder
    finally:
        os.close(folder)


def _listed(root: int, shard: str) -> list[_Seen]:
    """The files of one part."""
    try:
        folder = os.open(shard, _DIRECTORY, dir_fd=root)
    except OSError:
        return []
    found: list[_Seen] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    state = entry.stat(follow_symlinks=False)
                    found.append(
                        _Seen(shard, entry.name, state.st_size, state.st_atime_ns, state.st_mtime_ns)
                    )
    finally:
        os.close(folder)
    return found


def _all_of(handle: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = os.read(handle, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
