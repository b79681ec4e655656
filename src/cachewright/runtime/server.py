"""A server of its own for what is no cache: locks and journals. Raw exchanges, bounded in time, our errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cachewright.errors import StoreUnavailableError, SurroundingsError
from cachewright.runtime.forking import start_anew_in_children
from cachewright.runtime.settings import Clock, Settings, boottime
from cachewright.runtime.stats import Stats

if TYPE_CHECKING:
    from cachewright.runtime.stores.connection import Command, Reply


class Server:
    """One Redis or Valkey, for one event loop. `timeout` (s) bounds a connection and an answer, each.

    Nothing is connected before the first exchange; a forked process has a connection of its own. Raises
    `SurroundingsError` where redis-py is missing.
    """

    def __init__(self, url: str, *, timeout: float, clock: Clock = boottime) -> None:
        if find_spec("redis") is None:
            raise SurroundingsError("redis-py is not installed", hint="pip install 'cachewright[redis]'")
        from cachewright.runtime.stores.connection import Wire

        settings = Settings(read_timeout=timeout, connect_timeout=timeout)
        self._timeout = 2 * timeout
        self._make = partial(Wire, url, settings, clock=clock, stats=Stats())
        self._forked()
        start_anew_in_children(self._forked)

    def _forked(self) -> None:
        self._wire = self._make()

    async def send(self, commands: Sequence[Command], *, insist: bool = False) -> list[Reply]:
        """Replies in their places, errors among them. `insist` tries although the server failed lately.

        Commands may be sent twice. Raises `StoreUnavailableError`.
        """
        return await self._wire.exchange(commands, insist=insist)

    async def send_if(self, key: str, value: bytes, command: Command) -> bool:
        """Run `command` if `key` holds `value`, in one step: WATCH, GET, MULTI on a connection of its own."""
        from redis.exceptions import RedisError

        connection = self._wire.connection()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()  # type: ignore[no-untyped-call] # redis-py
                first: list[Command] = [("WATCH", key), ("GET", key)]
                await connection.send_packed_command(connection.pack_commands(first), check_health=False)
                await connection.read_response()
                if await connection.read_response() != value:
                    return False
                then: list[Command] = [("MULTI",), command, ("EXEC",)]
                await connection.send_packed_command(connection.pack_commands(then), check_health=False)
                return [await connection.read_response() for _ in then][-1] is not None
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(f"the server did not answer ({type(error).__name__})") from error
        finally:
            await connection.disconnect(nowait=True)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._wire.aclose()
