"""RedLock: a lock on a majority of independent primaries, so that one that dies takes no lock with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from cachewright.errors import StoreUnavailableError, UsageError
from cachewright.runtime.locks.lock import Lock
from cachewright.runtime.locks.single import LockServer
from cachewright.runtime.tasks import Tasks

T = TypeVar("T")
_FEWEST = 3
_END_SECONDS = 1.0


class RedLock:
    """Locks on a majority of at least three primaries that share nothing: no replicas of each other, no Cluster.

    All are asked at once, each for `timeout` seconds at most, and the first majority decides: servers that do
    not answer cost no time. It is for efficiency as much as a lock on one server is; what must not happen twice
    compares the fence, which here is the highest of a majority, made known to a majority. Servers must persist
    their data or stay away for a lock's TTL after a restart. Raises `UsageError` for one or two.
    """

    def __init__(self, urls: Sequence[str], *, prefix: str = "cachewright:", timeout: float = 0.05) -> None:
        places = {(parts.hostname, parts.port or 6379) for parts in map(urlsplit, urls)}
        if len(places) < _FEWEST or len(places) < len(urls):
            raise UsageError(
                f"RedLock needs at least {_FEWEST} different servers, not {len(places)}",
                hint="with one server use `LockServer`; two are worse than one, as either of them stops both",
            )
        self._servers = tuple(LockServer(url, prefix=prefix, timeout=timeout) for url in urls)
        self._quorum = len(self._servers) // 2 + 1
        self._asked: dict[bytes, Sequence[asyncio.Task[int | None]]] = {}
        self._tasks = Tasks()

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

    async def acquire(self, name: str, token: bytes, milliseconds: int) -> int | None:
        """Ask all; a majority decides. Whatever was taken in vain is given back."""
        tasks = self._spawn(lambda server: server.acquire(name, token, milliseconds))
        self._asked[token] = tasks
        fences = [fence for fence in await self._majority(tasks, lambda fence: fence is not None) if fence]
        if len(fences) >= self._quorum:
            highest = max(fences)
            known = self._spawn(lambda server: server.raise_fence(name, highest))
            if len(await self._majority(known, lambda _: True)) >= self._quorum:
                return highest
        self._tasks.spawn(self.release(name, token))
        return None

    async def extend(self, name: str, token: bytes, milliseconds: int) -> bool:
        """Extend on all; whether a majority still had it. Raises `StoreUnavailableError` where too few answered."""
        tasks = self._spawn(lambda server: server.extend(name, token, milliseconds))
        if len(await self._majority(tasks, bool)) >= self._quorum:
            return True
        refusals = [task for task in tasks if task.done() and not _failed(task) and not task.result()]
        if len(refusals) > len(self._servers) - self._quorum:
            return False
        raise StoreUnavailableError("too few of the servers of a lock answered")

    async def release(self, name: str, token: bytes) -> bool:
        """Release on all, on each after it has answered for the acquisition; whether a majority had it."""
        asked = self._asked.pop(token, (None,) * len(self._servers))
        tasks = [
            self._tasks.spawn(_after(task, server, name, token))
            for task, server in zip(asked, self._servers, strict=True)
        ]
        return len(await self._majority(tasks, bool)) >= self._quorum

    def _spawn(self, ask: Callable[[LockServer], Awaitable[T]]) -> list[asyncio.Task[T]]:
        async def asked(server: LockServer) -> T:
            return await ask(server)

        return [self._tasks.spawn(asked(server)) for server in self._servers]

    async def _majority(self, tasks: Sequence[asyncio.Task[T]], good: Callable[[T], bool]) -> list[T]:
        """The good answers, as soon as they are a majority, or cannot become one any more."""
        answers: list[T] = []
        left = set(tasks)
        while left and len(answers) < self._quorum <= len(answers) + len(left):
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            answers += [task.result() for task in done if not _failed(task) and good(task.result())]
        return answers

    async def aclose(self) -> None:
        """Finish what is under way, in bounded time, and close every connection."""
        await self._tasks.finish(_END_SECONDS)
        await self._tasks.end(_END_SECONDS)
        for server in self._servers:
            await server.aclose()


def _failed(task: asyncio.Task[T]) -> bool:
    return task.cancelled() or task.exception() is not None


async def _after(task: asyncio.Task[int | None] | None, server: LockServer, name: str, token: bytes) -> bool:
    if task is not None:
        await asyncio.wait((task,))
    with contextlib.suppress(StoreUnavailableError):
        return await server.release(name, token)
    return False
