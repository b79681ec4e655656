"""Invalidations that could not be delivered: kept until they are, on disk where a directory is given."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from cachewright.runtime.tokens import LocalTokens
from cachewright.spec.tags import NAMESPACE_TAG

_log = logging.getLogger("cachewright")
_LIMIT = 50_000
_SUFFIX = ".invalidations"


def state_directory() -> Path:
    """Where programs of this user keep state (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "cachewright"


class Journal:
    """Tags still to be invalidated elsewhere, each of them held in this process meanwhile.

    One line of JSON for each failed delivery, synced before `add` returns. Past 50 000 tags the whole
    namespace stands for all of them; so does a line that cannot be read. Safe to call from any thread;
    `add` and `adopt` write and read files.
    """

    def __init__(self, tokens: LocalTokens, *, namespace: str, origin: bytes, directory: Path | None) -> None:
        self._tokens = tokens
        self._lock = threading.Lock()
        self._number = 0
        self._pending: dict[str, int] = {}
        self._since: dict[int, float] = {}
        self._directory = directory
        self._stem = "".join(c if c.isalnum() or c in "-_" else f"%{ord(c):x}" for c in namespace)
        self._own = None if directory is None else directory / f"{self._stem}.{origin.hex()}{_SUFFIX}"
        self._adopted: list[tuple[Path, int]] = []

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, tags: Collection[str], *, since: float | None = None) -> None:
        """Keep `tags` for a later delivery and hold them until then; `since` is when it was first tried, if known."""
        with self._lock:
            self._keep(tags)
            if since is not None and len(self._since) < _LIMIT:
                self._since[self._number] = since
            if self._own is not None:
                self._write(self._own, tags)

    def _keep(self, tags: Collection[str]) -> None:
        self._number += 1
        wanted = tags if len(self._pending) + len(tags) <= _LIMIT else (NAMESPACE_TAG,)
        new = [tag for tag in dict.fromkeys(wanted) if tag not in self._pending]
        self._tokens.hold(new)
        self._pending.update(dict.fromkeys(wanted, self._number))

    def _write(self, path: Path, tags: Collection[str]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab", opener=_private) as file:
                file.write(json.dumps(list(tags)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            _log.exception("an undelivered invalidation is kept in memory only: its file cannot be written")

    def pending(self) -> Mapping[str, int]:
        """What is still to be delivered; to be given back to `delivered`."""
        with self._lock:
            return dict(self._pending)

    def delivered(self, tags: Mapping[str, int]) -> list[float]:
        """These were delivered: what was added again meanwhile stays, everything else is released.

        Since when each of what is over had been waiting, as far as that is known.
        """
        with self._lock:
            done = [tag for tag, number in tags.items() if self._pending.get(tag) == number]
            for tag in done:
                del self._pending[tag]
            self._tokens.release(done)
            if not self._pending:
                self._clear_files()
            last, left = max(tags.values(), default=0), set(self._pending.values())
            over = [number for number in self._since if number <= last and number not in left]
            return [self._since.pop(number) for number in over]

    def _clear_files(self) -> None:
        if self._own is not None:
            self._own.unlink(missing_ok=True)
        for path, size in self._adopted:
            with contextlib.suppress(OSError):
                if path.stat().st_size == size:  # a process that is alive may have added to its own
                    path.unlink()
        self._adopted.clear()

    def adopt(self) -> None:
        """Take over what earlier processes of this namespace left behind."""
        if self._directory is None:
            return
        with self._lock:
            for path in sorted(self._directory.glob(f"{self._stem}.*{_SUFFIX}")):
                if path == self._own:
                    continue
                try:
                    data = path.read_bytes()
                except OSError:
                    self._keep((NAMESPACE_TAG,))
                    continue
                self._keep(_tags(data))
                self._adopted.append((path, len(data)))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _tags(data: bytes) -> list[str]:
    found: list[str] = []
    for line in data.splitlines():
        try:
            tags = json.loads(line)
        except ValueError:
            return [NAMESPACE_TAG]
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            return [NAMESPACE_TAG]
        found.extend(tags)
    return found
