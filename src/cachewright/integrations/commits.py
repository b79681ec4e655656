"""Invalidation right after a commit, from whatever thread, task or greenlet committed.

The commit has happened: nothing here may make it look failed, and an invalidation that cannot be delivered now
is on record in the cache's journal.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection

import greenlet
from sqlalchemy.util import await_only

from cachewright.runtime.engine import Engine
from cachewright.runtime.holders import Announced

_log = logging.getLogger("cachewright")

#: A commit whose answer was lost (cancelled, connection gone) lands within this time (s), or not at all.
LANDING_SECONDS = 1.0


class CommitInvalidator:
    """The cache, as the database's listeners reach it."""

    def __init__(self, cache: Engine) -> None:
        self._cache = cache

    def hold(self, tags: Collection[str]) -> None:
        """See `Engine.hold`."""
        self._cache.hold(tags)

    def release(self, tags: Collection[str]) -> None:
        """See `Engine.release`."""
        self._cache.release(tags)

    def announce(self, tags: frozenset[str]) -> Announced | None:
        """Hold `tags` in every process where writes are crash-safe. Never raises."""
        if not self._cache.settings.crash_safe:
            return None
        try:
            if _in_async_engine():
                return await_only(self._cache.announce(tags))
            return self._cache.portal.announce(tags)
        except Exception:  # noqa: BLE001 - the commit has to go on, whatever went wrong here
            _log.exception("a commit could not be announced")
            return None

    def lift(self, announced: Announced) -> None:
        """The end of what was announced. Never raises."""
        try:
            if _in_async_engine():
                await_only(self._cache.lift(announced))
            else:
                self._cache.portal.lift(announced)
        except Exception:  # noqa: BLE001 - it ends by itself
            _log.exception("what was announced before a commit could not be taken back; it ends by itself")

    def invalidate_again(self, tags: frozenset[str]) -> None:
        """Hold `tags` for `LANDING_SECONDS`, then invalidate them: a lost commit may land in the meantime."""
        self._cache.hold(tags)

        def landed() -> None:
            try:
                self._cache.portal.invalidate(tags)
            finally:
                self._cache.release(tags)

        timer = threading.Timer(LANDING_SECONDS, landed)
        timer.daemon = True
        timer.start()

    def invalidate(self, tags: frozenset[str]) -> None:
        """Invalidate and return when that is done, or journalled. Never raises."""
        try:
            if _in_async_engine():
                await_only(self._cache.invalidate(tags))
            else:
                self._cache.portal.invalidate(tags)
        except (
            asyncio.CancelledError
        ):  # the delivery goes on, but nobody waits for its end: hold until it is repeated
            self._cache.journal(tags)
            raise
        except Exception:  # noqa: BLE001 - the commit stands, whatever went wrong here
            _log.exception(
                "an invalidation after a commit failed; it is journalled, its tags are bypassed here"
            )
            self._cache.journal(tags)


def agreed(cache: Engine) -> Callable[[], bool]:
    """Whether the processes that share this cache are known to write the same row tags."""

    def stands() -> bool:
        return cache.agreement is None or cache.agreement.stands

    return stands


def _in_async_engine() -> bool:
    """Whether this code runs in the greenlet in which SQLAlchemy's asyncio layer runs its synchronous core."""
    return bool(getattr(greenlet.getcurrent(), "__sqlalchemy_greenlet_provider__", False))
