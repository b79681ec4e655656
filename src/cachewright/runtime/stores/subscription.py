"""A connection that listens on channels."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from cachewright.errors import StoreUnavailableError


class Subscription:
    """A subscribed connection. Methods raise `StoreUnavailableError`; afterwards it is of no more use.

    `connection` gives a connection that is not open yet; `patience` (s) bounds its opening.
    """

    def __init__(
        self,
        connection: Callable[[], Awaitable[AbstractConnection]],
        channels: tuple[str, ...],
        *,
        patience: float,
    ) -> None:
        self._dial = connection
        self._channels = channels
        self._patience = patience
        self._connection: AbstractConnection | None = None
        self._ended = False

    async def open(self) -> None:
        """Connect and subscribe; returns once the server has confirmed."""
        try:
            async with asyncio.timeout(self._patience):
                self._connection = connection = await self._dial()
                await connection.connect()  # type: ignore[no-untyped-call] # redis-py
                await connection.send_command("SUBSCRIBE", *self._channels, check_health=False)
                for _ in self._channels:
                    await connection.read_response()
        except (RedisError, OSError) as error:
            raise _lost(error) from error
        if self._ended:
            raise StoreUnavailableError("the bus has to be opened elsewhere")

    async def receive(self) -> bytes | None:
        """Wait for the next message; None for the answer to a `ping`."""
        try:
            match await self._open().read_response(timeout=math.inf):
                case [b"message", _, bytes() as message]:
                    return message
                case _:
                    return None
        except (RedisError, OSError) as error:
            raise _lost(error) from error

    async def ping(self) -> None:
        """Ask for a sign of life."""
        try:
            async with asyncio.timeout(self._patience):
                await self._open().send_command("PING", check_health=False)
        except (RedisError, OSError) as error:
            raise _lost(error) from error

    def _open(self) -> AbstractConnection:
        if self._connection is None or self._ended:
            raise StoreUnavailableError("the bus is not open")
        return self._connection

    async def end(self) -> None:
        """Make whoever listens open another one."""
        self._ended = True
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)


def _lost(error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(f"the bus was lost ({type(error).__name__})")
