"""Exchanges with a Redis or Valkey server: pinned timeouts, no retries, a breaker, our own errors.

redis-py's defaults let one command hang for a minute when a server stops answering (ten retries of five
seconds), so nothing here is left to them. RESP2 is chosen on purpose: no push frames between replies, no
HELLO and no maintenance handshake, so that the minimal ACL of the protocol is enough.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.breaker import Breaker
from cachewright.runtime.settings import Clock, Settings
from cachewright.runtime.stats import Stats
from cachewright.runtime.tasks import Tasks

_log = logging.getLogger("cachewright")

Command = tuple[str | bytes | int, ...]
#: A reply as the server gave it, or the error it gave instead.
Reply = bytes | int | list[Any] | ResponseError | None
#: Exchanges for reading under way at once; callers that come meanwhile share the next one.
_READS_AT_ONCE = 2
_KEYS_A_READ = 2048
_END_SECONDS = 1.0
_CLOSED = "the store was closed"
_FAILED = "an exchange with the store failed unexpectedly"
_LEFT_ALONE = "the store failed lately and is left alone for a moment"


class Wire:
    """A bounded set of connections to one server, for one event loop.

    redis-py's own pools spend more time on their books than a read takes.
    Exchanges run in `tasks`, to their end: a request that is cancelled leaves no reply on a connection, and
    a wave of cancellations is no wave of new connections.
    """

    def __init__(self, url: str, settings: Settings, *, clock: Clock, stats: Stats) -> None:
        pinned: dict[str, Any] = {
            # Bounded by `exchange`: asyncio.wait_for, used for it, can lose a cancellation before 3.12.
            "socket_timeout": None,
            "socket_connect_timeout": settings.connect_timeout,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "health_check_interval": 0,
            "protocol": 2,
            "decode_responses": False,
        }
        self._factory = ConnectionPool(**{**parse_url(url), **pinned})
        self._places = asyncio.Semaphore(settings.max_connections)
        self._idle: list[AbstractConnection] = []
        self._read_timeout = settings.read_timeout
        self._longest = settings.read_timeout + settings.connect_timeout
        self._clock = clock
        self._stats = stats
        self.breaker = Breaker()
        self.tasks = Tasks()
        self._closed = False

    def connection(self) -> AbstractConnection:
        """A new connection, not yet open."""
        connection: AbstractConnection = self._factory.make_connection()  # type: ignore[no-untyped-call] # redis-py
        return connection

    async def exchange(self, commands: Sequence[Command], *, insist: bool = False) -> list[Reply]:
        """Send `commands` in one go and return their replies, errors among them in their places.

        `insist` tries although the breaker is open. Raises `StoreUnavailableError`.
        """
        if self._closed:
            raise StoreUnavailableError(_CLOSED)
        if not self.breaker.enter(self._clock()) and not insist:
            raise StoreUnavailableError(_LEFT_ALONE)
        try:
            async with asyncio.timeout(self._longest):
                replies = await self._talk(commands)
        except (RedisError, OSError) as error:
            self.breaker.failed(self._clock())
            self._stats.store_failed(timeout=isinstance(error, (TimeoutError, RedisTimeoutError)))
            raise StoreUnavailableError(f"the store did not answer ({type(error).__name__})") from error
        except asyncio.CancelledError:
            self.breaker.abandoned()
            raise
        except Exception as error:
            _log.exception("an exchange with the store failed")
            self.breaker.failed(self._clock())
            self._stats.store_failed(timeout=False)
            raise StoreUnavailableError(_FAILED) from error
        self.breaker.succeeded(self._clock())
        return replies

    def check(self) -> None:
        """Raise `StoreUnavailableError` at once where the breaker would let no call through."""
        if not self.breaker.admits(self._clock()):
            raise StoreUnavailableError(_LEFT_ALONE)

    async def _talk(self, commands: Sequence[Command]) -> list[Reply]:
        async with self._places:
            connection = self._idle.pop() if self._idle else self.connection()
            reused = connection.is_connected
            try:
                return await self._ask(connection, commands)
            except RedisConnectionError:
                if not reused:
                    raise
                # The server let go of it while it was idle. Every command here may be sent twice.
                return await self._ask(connection, commands)
            finally:
                self._idle.append(connection)

    async def _ask(self, connection: AbstractConnection, commands: Sequence[Command]) -> list[Reply]:
        try:
            if not connection.is_connected:
                await connection.connect()  # type: ignore[no-untyped-call] # redis-py
            async with asyncio.timeout(self._read_timeout):
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                return [await _reply(connection) for _ in commands]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def aclose(self) -> None:
        """Cancel what is under way and close every connection."""
        self._closed = True
        await self.tasks.end(_END_SECONDS)
        for connection in self._idle:
            await connection.disconnect(nowait=True)
        self._idle.clear()


async def _reply(connection: AbstractConnection) -> Reply:
    try:
        reply: Reply = await connection.read_response()
    except ReadOnlyError:
        raise  # a primary that became a replica: this connection is of no use any more
    except ResponseError as error:
        return error
    return reply


class SharedReads:
    """Many reads in few exchanges: what is asked while others are under way goes out together."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._waiting: deque[_Waiting] = deque()
        self._under_way = 0

    async def mget(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Values by key, of at least those of `keys` that exist. Raises `StoreUnavailableError`."""
        self._wire.check()
        future: asyncio.Future[Mapping[str, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(keys, future))
        if len(self._waiting) == 1 and self._under_way < _READS_AT_ONCE:
            self._under_way += 1
            self._wire.tasks.spawn(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._read(self._take())
        finally:
            self._under_way -= 1
            self.abandon()

    def abandon(self) -> None:
        """Answer everybody who still waits: the store was closed."""
        _settle(self._waiting, StoreUnavailableError(_CLOSED))
        self._waiting.clear()

    def _take(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        count = len(batch[0].keys)
        while self._waiting and count + len(self._waiting[0].keys) <= _KEYS_A_READ:
            batch.append(self._waiting.popleft())
            count += len(batch[-1].keys)
        return batch

    async def _read(self, batch: list[_Waiting]) -> None:
        outcome: Mapping[str, bytes] | StoreUnavailableError = StoreUnavailableError(_CLOSED)
        try:
            keys = tuple(dict.fromkeys(key for waiting in batch for key in waiting.keys))
            (reply,) = await self._wire.exchange([("MGET", *keys)])
            outcome = _by_key(keys, reply)
        except StoreUnavailableError as error:
            outcome = error
        except Exception:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            _log.exception("a read of the store failed")
            outcome = StoreUnavailableError(_FAILED)
        finally:
            _settle(batch, outcome)


@dataclass(frozen=True, slots=True)
class _Waiting:
    keys: Sequence[str]
    future: asyncio.Future[Mapping[str, bytes]]


def _by_key(keys: Sequence[str], reply: Reply) -> dict[str, bytes] | StoreUnavailableError:
    if not isinstance(reply, list):
        return StoreUnavailableError("the store refused to read")
    return {key: value for key, value in zip(keys, reply, strict=True) if value is not None}


def _settle(batch: Iterable[_Waiting], outcome: Mapping[str, bytes] | StoreUnavailableError) -> None:
    for waiting in batch:
        if waiting.future.done():
            continue
        if isinstance(outcome, StoreUnavailableError):
            waiting.future.set_exception(StoreUnavailableError(outcome.message))
        else:
            waiting.future.set_result(outcome)
