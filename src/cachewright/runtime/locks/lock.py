"""A lock and its holder: taken, renewed, lost or given back, whatever it is kept on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from cachewright.errors import LockNotAcquiredError, StoreUnavailableError, UsageError
from cachewright.runtime.settings import Clock, boottime
from cachewright.runtime.tasks import Tasks
from cachewright.runtime.tokens import Mint, fresh_token

_log = logging.getLogger("cachewright")
_DRIFT = 0.01
_MARGIN = 0.002
_RENEWALS = 3
_SHORTEST_PAUSE = 0.01
_LONGEST_PAUSE = 0.2


class Ground(Protocol):
    """Where locks are kept: `LockServer` or `RedLock`. Methods may raise `StoreUnavailableError`."""

    async def acquire(self, name: str, token: bytes, milliseconds: int) -> int | None:
        """Take `name` for a while; the fence, None where somebody else has it."""

    async def extend(self, name: str, token: bytes, milliseconds: int) -> bool:
        """Keep it for as long again; whether it was still this token's."""

    async def release(self, name: str, token: bytes) -> bool:
        """Give it back; whether it was still this token's."""


class Lock:
    """One lock, held by at most one task of one process at a time; `async with` it, or `acquire` and `release`.

    It ends after `ttl` seconds unless it is renewed, which happens in the background while `renew` is set.
    `wait` is how long (s) `async with` waits for it. `on_lost(name)` is called once it is no longer held
    without having been released: somebody removed it, or the server did not answer until it had ended.
    """

    def __init__(
        self,
        ground: Ground,
        name: str,
        *,
        ttl: float = 10.0,
        wait: float = 0.0,
        renew: bool = True,
        on_lost: Callable[[str], object] | None = None,
        clock: Clock = boottime,
        mint: Mint = fresh_token,
        dice: Callable[[], float] = random.random,
    ) -> None:
        if ttl < 10 * _MARGIN:
            raise UsageError(f"a lock of {ttl} s ends before it can be used", hint="take a ttl of seconds")
        self.name = name
        self._ground = ground
        self._ttl = ttl
        self._wait = wait
        self._renew = renew
        self._on_lost = on_lost
        self._clock = clock
        self._mint = mint
        self._dice = dice
        self._token: bytes | None = None
        self._until = 0.0
        self._fence: int | None = None
        self._tasks = Tasks()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """Whether it is held, as far as this process can tell by its clock."""
        return self._token is not None and self._clock() < self._until

    @property
    def remaining(self) -> float:
        """For how many seconds it is held without another renewal."""
        return max(0.0, self._until - self._clock()) if self._token is not None else 0.0

    @property
    def fence(self) -> int:
        """The number of this acquisition, higher than those of all before it. Raises `LockNotAcquiredError`."""
        if self._fence is None:
            raise LockNotAcquiredError(f"the lock {self.name!r} was not acquired")
        return self._fence

    async def acquire(self, *, wait: float = 0.0) -> bool:
        """Try to take it for `wait` seconds, once at least. Raises `StoreUnavailableError` where no server answers."""
        if self._token is not None:
            raise UsageError(
                f"the lock {self.name!r} is held or was lost by this very object",
                hint="release it first, or make another one: a lock is not reentrant",
            )
        deadline, pause = self._clock() + wait, _SHORTEST_PAUSE
        while True:
            if await self._taken():
                return True
            left = deadline - self._clock()
            if left <= 0:
                return False
            await asyncio.sleep(min(left, pause * (0.5 + self._dice())))
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _taken(self) -> bool:
        token, began = self._mint(), self._clock()
        # To its end also where the caller goes away: what is taken has to be given back.
        asking = self._tasks.spawn(self._ground.acquire(self.name, token, self._milliseconds))
        try:
            fence = await asyncio.shield(asking)
        except (asyncio.CancelledError, StoreUnavailableError):
            self._tasks.spawn(self._abandon(asking, token))
            raise
        until = self._end(began)
        if fence is None:
            return False
        if self._clock() >= until:
            await self._ground.release(self.name, token)
            return False
        self._token, self._fence, self._until = token, fence, until
        if self._renew:
            self._keeping = self._tasks.spawn(self._keep(token))
        return True

    async def _abandon(self, asking: asyncio.Task[int | None], token: bytes) -> None:
        await asyncio.wait((asking,))
        with contextlib.suppress(StoreUnavailableError):
            await self._ground.release(self.name, token)

    @property
    def _milliseconds(self) -> int:
        return round(self._ttl * 1000)

    def _end(self, began: float) -> float:
        """Until when a lock asked for at `began` is safely held: clocks differ a little in their pace."""
        return began + self._ttl * (1 - _DRIFT) - _MARGIN

    async def _keep(self, token: bytes) -> None:
        pause = self._ttl / _RENEWALS
        while self._token == token:
            await asyncio.sleep(min(pause, max(0.0, self._until - self._clock())))
            if self._token != token:
                return
            began = self._clock()
            try:
                kept = began < self._until and await self._ground.extend(self.name, token, self._milliseconds)
            except StoreUnavailableError:
                pause = self._ttl / (4 * _RENEWALS)
                continue
            if self._token != token:
                return
            if not kept:
                self._lose()
                return
            self._until, pause = self._end(began), self._ttl / _RENEWALS

    def _lose(self) -> None:
        self._until = 0.0
        _log.warning("the lock %s was lost", self.name)
        if self._on_lost is None:
            return
        try:
            self._on_lost(self.name)
        except Exception:  # noqa: BLE001 - a callback of the application's must not hide what happened
            _log.exception("the callback for a lost lock failed")

    async def release(self) -> bool:
        """Give it back; whether it was still held. The fence can still be read."""
        token, self._token = self._token, None
        if token is None:
            return False
        if self._keeping is not None:
            self._keeping.cancel()
        try:
            return await self._ground.release(self.name, token)
        except StoreUnavailableError:
            return False  # it ends by itself

    async def __aenter__(self) -> Self:
        """Take it. Raises `LockNotAcquiredError`."""
        if not await self.acquire(wait=self._wait):
            raise LockNotAcquiredError(
                f"the lock {self.name!r} was not to be had within {self._wait:g} s",
                hint="somebody holds it; wait longer, or do without",
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()
