"""Locks on one server: compare-and-set commands of its own, and a fence from the same transaction. No Lua."""

from __future__ import annotations

from collections.abc import Callable

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.locks.lock import Lock
from cachewright.runtime.server import Server
from cachewright.spec.keys import escape

_TIMEOUT = 0.05
_FENCE_MS = 30 * 86_400_000
_MICROSECONDS = 1_000_000


class LockServer:
    """Locks on a single Redis or Valkey; `timeout` (s) bounds each exchange with it.

    A lock and its fence come from one transaction. The fence follows the server's clock, so that it goes on
    rising after the server forgot everything (FLUSHALL). A lock does not survive a failover: whoever needs more
    than "rarely two at a time" must compare fences. Beyond SET and PEXPIRE it needs TIME, EXISTS, MULTI, EXEC,
    ZADD and ZINCRBY, and DELIFEQ (Valkey 9) or else WATCH, GET and DEL.
    """

    def __init__(self, url: str, *, prefix: str = "cachewright:", timeout: float = _TIMEOUT) -> None:
        self._server = Server(url, timeout=timeout)
        self._prefix = prefix
        self._compares = True

    def lock(
        self,
        name: str,
        *,
        ttl: float = 10.0,
        wait: float = 0.0,
        renew: bool = True,
        on_lost: Callable[[str], object] | None = None,
    ) -> Lock:
        """The lock `name`; see `Lock`."""
        return Lock(self, name, ttl=ttl, wait=wait, renew=renew, on_lost=on_lost)

    def _places(self, name: str) -> tuple[str, str]:
        own = escape(name)
        return f"{self._prefix}lock:{{{own}}}", f"{self._prefix}fence:{{{own}}}"

    async def acquire(self, name: str, token: bytes, milliseconds: int) -> int | None:
        """Two exchanges: the time, then lock and fence in one transaction. May be sent twice."""
        lock, fence = self._places(name)
        (seconds, micros), held = _granted(await self._server.send([("TIME",), ("EXISTS", lock)]))
        if held:
            return None
        now = int(seconds) * _MICROSECONDS + int(micros)
        replies = await self._server.send(
            [
                ("MULTI",),
                ("SET", lock, token, "NX", "GET", "PX", milliseconds),
                ("ZADD", fence, "GT", now, "f"),
                ("ZINCRBY", fence, 1, "f"),
                ("PEXPIRE", fence, _FENCE_MS),
                ("EXEC",),
            ]
        )
        holder, _, number, _ = _granted(_granted(replies)[-1])
        return int(float(number)) if holder is None or holder == token else None

    async def extend(self, name: str, token: bytes, milliseconds: int) -> bool:
        """Prolong the lock where it still has this token."""
        lock, _ = self._places(name)
        if self._compares:
            (reply,) = await self._server.send([("SET", lock, token, "IFEQ", token, "PX", milliseconds)])
            if not isinstance(reply, Exception):
                return reply is not None
            self._compares = False
        return await self._server.send_if(lock, token, ("PEXPIRE", lock, milliseconds))

    async def release(self, name: str, token: bytes) -> bool:
        """Remove the lock where it still has this token; tried although the server failed lately."""
        lock, _ = self._places(name)
        if self._compares:
            (reply,) = await self._server.send([("DELIFEQ", lock, token)], insist=True)
            if not isinstance(reply, Exception):
                return reply == 1
            self._compares = False
        return await self._server.send_if(lock, token, ("DEL", lock))

    async def raise_fence(self, name: str, number: int) -> None:
        """No fence of `name` up to `number` is given out here any more."""
        _, fence = self._places(name)
        _granted(await self._server.send([("ZADD", fence, "GT", number, "f"), ("PEXPIRE", fence, _FENCE_MS)]))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._server.aclose()


def _granted(replies: object) -> list:  # type: ignore[type-arg] # as the server nests them
    if isinstance(replies, Exception):
        raise StoreUnavailableError(f"the server refused a lock ({replies})")
    assert isinstance(replies, list)
    for reply in replies:
        if isinstance(reply, Exception):
            raise StoreUnavailableError(f"the server refused a lock ({reply})") from reply
    return replies
