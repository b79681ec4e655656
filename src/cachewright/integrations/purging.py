"""Level l4: telling a CDN which tags were invalidated.

A response may be on its way to the CDN while its tags are purged, and come to be stored after the purge. So every purge
is repeated a moment later; what is slower than that ends with its lifetime.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlsplit

from cachewright.integrations.dressing import digest_of
from cachewright.spec.delivery import Cdn
from cachewright.spec.tags import NAMESPACE_TAG, table_of, table_tag, target_tag
from cachewright.spec.target import Plan

_log = logging.getLogger("cachewright")

_TIMEOUT = 2.0
_AGAIN_AFTER = 1.0
_AT_ONCE = 100
#: More tags than this wait for no CDN: then everything is purged.
_MOST_WAITING = 10_000


class Purges:
    """Sends the digests of invalidated tags to `cdn.purge_url`, from a thread of its own; tags wait in order.

    `wanted` says which tags answers on l4 may carry.
    """

    def __init__(self, cdn: Cdn, namespace: str, token: str | None, *, wanted: Callable[[str], bool]) -> None:
        self._cdn = cdn
        self._namespace = namespace
        self._token = token
        self._wanted = wanted
        self._lock = threading.Condition()
        self._due: dict[str, float] = {}
        self._again: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._closing = False
        self._failing = False

    def told(self, tags: Collection[str]) -> None:
        """These tags were invalidated; from any thread."""
        wanted = [tag for tag in tags if self._wanted(tag)]
        if not wanted:
            return
        with self._lock:
            if len(self._due) + len(wanted) > _MOST_WAITING:
                self._due.clear()
                wanted = [NAMESPACE_TAG]
            self._due.update(dict.fromkeys(wanted, 0.0))
            if self._thread is None:
                self._closing = False
                self._thread = threading.Thread(target=self._run, name="cachewright-purges", daemon=True)
                self._thread.start()
            self._lock.notify()

    def close(self) -> None:
        """Send what waits, and end the thread, in bounded time."""
        with self._lock:
            thread, self._thread, self._closing = self._thread, None, True
            self._lock.notify()
        if thread is not None:
            thread.join(2 * _TIMEOUT)

    def _run(self) -> None:
        while (tags := self._next()) is not None:
            for at in range(0, len(tags), _AT_ONCE):
                self._send(tags[at : at + _AT_ONCE])

    def _next(self) -> list[str] | None:
        """The tags to purge now, new ones and those whose second time has come; None at the end."""
        with self._lock:
            while True:
                now = time.monotonic()
                again = [tag for tag, at in self._again.items() if at <= now or self._closing]
                if self._due or again:
                    self._again.update(dict.fromkeys(self._due, now + _AGAIN_AFTER))
                    for tag in again:
                        if tag not in self._due:
                            del self._again[tag]
                    tags = list(dict.fromkeys((*self._due, *again)))
                    self._due.clear()
                    return tags
                if self._closing:
                    return None
                self._lock.wait(min(self._again.values()) - now if self._again else None)

    def _send(self, tags: Collection[str]) -> None:
        try:
            status = self._ask([digest_of(self._namespace, tag) for tag in tags])
        except (OSError, http.client.HTTPException) as error:
            self._say(f"{type(error).__name__}: {error}")
            return
        if status >= 300:
            self._say(f"it answered {status}")
        else:
            self._failing = False

    def _ask(self, digests: list[str]) -> int:
        assert self._cdn.purge_url is not None
        url = urlsplit(self._cdn.purge_url)
        made = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = made(url.netloc, timeout=_TIMEOUT)
        joined = ("," if self._cdn.tag_header == "Cache-Tag" else " ").join(digests)
        headers: Mapping[str, str] = {self._cdn.tag_header: joined}
        if self._token:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        try:
            connection.request(self._cdn.purge_method, url.path or "/", headers=dict(headers))
            with connection.getresponse() as answer:
                answer.read()
                return answer.status
        finally:
            connection.close()

    def _say(self, what: str) -> None:
        if not self._failing:
            self._failing = True
            _log.warning("the CDN was not purged: %s; what it holds ends with its lifetime", what)


def on_l4(plan: Plan) -> Callable[[str], bool]:
    """Whether answers that a CDN may hold can carry a tag."""
    targets = [target for target in plan.targets.values() if "l4" in target.levels]
    tables = {table_tag(template.table) for target in targets for template in target.depends_on}
    own = {NAMESPACE_TAG, *(target_tag(target.name) for target in targets)}
    return lambda tag: tag in own or table_of(tag) in tables
