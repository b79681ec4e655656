"""What write-back needs of a journal: an accepted write is in it, durably, before the caller hears of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cachewright.runtime.strategies.records import Write


class WriteJournal(Protocol):
    """Accepted writes of one resource, until they are done. All of it is used on one event loop."""

    @property
    def damaged(self) -> int:
        """How many bytes could not be read at `open`."""

    async def open(self) -> Mapping[str, Write]:
        """Take over what earlier processes left: the newest write of each name that was not done.

        Raises `SurroundingsError` where nothing can be kept here, saying what to change.
        """

    async def append(self, write: Write) -> None:
        """Keep a write. It survives this process once this returns; raises `WriteNotAcceptedError`."""

    async def done(self, name: str, version: int) -> None:
        """Writes of `name` up to `version` need not be kept. May be lost in a crash: they are repeated then."""

    async def aclose(self) -> None:
        """Close it; what is not done stays for the next process."""
