"""Exchanges with a Redis or Valkey server: pinned timeouts, no retries, a breaker, our own errors.

redis-py's defaults let one command hang for a minute when a server stops answering (ten retries of five
seconds), so nothing here is left to them: redis-py opens a connection and logs in, the rest is a `Line`.
RESP2 is chosen on purpose: no push frames between replies and no maintenance handshake, so that the minimal
ACL of the protocol is enough.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
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
from cachewright.runtime.stores.line import AwayError, Command, Exchange, Line, Reply, code_of, pack
from cachewright.runtime.tasks import Tasks

__all__ = ["Command", "Reply", "Wire", "accepted"]

_log = logging.getLogger("cachewright")
_END_SECONDS = 1.0
_CLOSED = "the store was closed"
_FAILED = "an exchange with the store failed unexpectedly"
_LEFT_ALONE = "the store failed lately and is left alone for a moment"


class Wire:
    """The line to one server, for one event loop: opened when it is needed, again when it was lost.

    Exchanges that are under way are carried to their end: a request that is cancelled leaves no reply behind,
    and a wave of cancellations is no wave of new connections. What was under way when the server let go of an
    idle connection is sent a second time. Nobody waits longer than twice the read timeout: once for a line to be
    opened, which may go on when he has given up, and once for the reply; only who insists waits for that line to its
    end. `clock` is boot time (s).
    """

    def __init__(self, url: str, settings: Settings, *, clock: Clock, stats: Stats) -> None:
        pinned: dict[str, Any] = {
            # Bounded here: asyncio.wait_for, used for it, can lose a cancellation before 3.12.
            "socket_timeout": None,
            "socket_connect_timeout": settings.connect_timeout,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "health_check_interval": 0,
            "protocol": 2,
            "decode_responses": False,
        }
        self._factory = ConnectionPool(**{**parse_url(url), **pinned})
        self._read_timeout = settings.read_timeout
        self._longest = settings.read_timeout + settings.connect_timeout
        self._clock = clock
        self._stats = stats
        self._line: Line | None = None
        self._lines: set[Line] = set()
        self._queue: list[Exchange] = []
        self._opening: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._given_up = False
        self._closed = False
        self.breaker = Breaker()
        self.tasks = Tasks()
        #: What the server said it is: `standalone`, `cluster` or `sentinel`; None where it did not say.
        self.mode: str | None = None
        #: When it was heard last (boot time, s).
        self.heard: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection on which a command could go out now."""
        return self._line is not None

    def connection(self) -> AbstractConnection:
        """A new connection, not yet open."""
        connection: AbstractConnection = self._factory.make_connection()  # type: ignore[no-untyped-call] # redis-py
        return connection

    async def exchange(
        self, commands: Sequence[Command], *, insist: bool = False, repeat: bool = True
    ) -> list[Reply]:
        """Send `commands` in one go and return their replies, errors among them in their places.

        `insist` tries although the breaker is open; `repeat` allows to send them twice where the connection is
        lost. Raises `StoreUnavailableError`, also where the server is no primary or has no data yet.
        """
        replies = await self.ask(commands, insist=insist, repeat=repeat)
        for reply in replies:
            if type(reply) is AwayError:
                raise StoreUnavailableError(f"the store is away ({code_of(reply)})")
        return replies

    def ask(
        self, commands: Sequence[Command], *, insist: bool = False, repeat: bool = True
    ) -> asyncio.Future[list[Reply]]:
        """As `exchange`, without waiting; what it says of servers that are away is left to the caller."""
        if self._closed:
            raise StoreUnavailableError(_CLOSED)
        try:
            packed = pack(commands)
        except (TypeError, ValueError) as error:  # a name that cannot be encoded
            raise StoreUnavailableError("a command cannot be sent") from error
        if not self.breaker.enter(self._clock()) and not insist:
            raise StoreUnavailableError(_LEFT_ALONE)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._read_timeout
        exchange = Exchange(packed, len(commands), loop.create_future(), deadline, repeat)
        if self._line is None:
            if insist:
                exchange.deadline = loop.time() + self._longest
            self._wait_for_a_line(exchange)
        else:
            self._line.send(exchange)
        return exchange.future

    def _wait_for_a_line(self, exchange: Exchange) -> None:
        """Until its deadline; a new one for its reply begins when the line is open."""
        self._queue.append(exchange)
        if self._opening is None:
            self._given_up = False
            self._opening = self.tasks.spawn(self._open())
        if self._patience is not None and exchange.deadline < self._patience.when():
            self._patience.cancel()
            self._patience = None
        if self._patience is None:
            self._patience = asyncio.get_running_loop().call_at(exchange.deadline, self._give_up)

    def _give_up(self) -> None:
        """Those who have waited long enough for a line are told that there is none."""
        loop, self._patience = asyncio.get_running_loop(), None
        now, queue = loop.time(), self._queue
        late = [exchange for exchange in queue if now >= exchange.deadline]
        self._queue = [exchange for exchange in queue if now < exchange.deadline]
        if late:
            self._given_up = True
            self._failed(TimeoutError(), late)
        if self._queue:
            self._patience = loop.call_at(min(each.deadline for each in self._queue), self._give_up)

    async def _open(self) -> None:
        queue: list[Exchange] = []
        try:
            async with asyncio.timeout(self._longest):
                line = await self._dial()
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            queue, self._queue = self._queue, []
            if queue or not self._given_up:  # one attempt is one failure
                self._failed(error, queue)
        else:
            self._line = line
            queue, self._queue = self._queue, []
            deadline = asyncio.get_running_loop().time() + self._read_timeout
            for exchange in queue:
                exchange.deadline = deadline
                line.send(exchange)
        finally:
            self._opening = None

    async def _dial(self) -> Line:
        """Connect, log in, and ask who is there."""
        connection = self.connection()
        line = Line(on_reply=self._replied, on_lost=self._lost)
        try:
            await connection.connect()  # type: ignore[no-untyped-call] # redis-py
            writer = connection._writer  # noqa: SLF001 - redis-py gives no other way to its open stream
            connection._writer = connection._reader = None  # noqa: SLF001 - it is the line's from now on
            assert writer is not None
            self._lines.add(line)
            line.take(writer)
            await self._greet(line)
        except BaseException:
            line.lose(RedisConnectionError("not opened"))
            await connection.disconnect(nowait=True)
            raise
        return line

    async def _greet(self, line: Line) -> None:
        """HELLO tells a cluster from a single server, and a primary from a replica, under the minimal ACL."""
        loop = asyncio.get_running_loop()
        hello = Exchange(
            pack([("HELLO", 2)]), 1, loop.create_future(), loop.time() + self._read_timeout, repeatable=False
        )
        line.send(hello)
        (reply,) = await hello.future
        if type(reply) is AwayError:
            raise reply
        told = _pairs(reply)
        self.mode = told.get(b"mode", b"standalone").decode("ascii", "replace")
        # A replica in a cluster says itself where to go; any other answers with what is old.
        if self.mode != "cluster" and told.get(b"role", b"master") not in {b"master", b"primary"}:
            raise ReadOnlyError("a replica, not a primary")

    def drop(self) -> None:
        """Open a new line for what comes next; what is under way is asked again."""
        if self._line is not None:
            self._line.lose(RedisConnectionError("not trusted any more"))

    def _replied(self, line: Line, there: bool) -> None:  # noqa: FBT001 - a callback with one fact to tell
        self.heard = now = self._clock()
        if line is not self._line:
            return
        if there:
            self.breaker.succeeded(now)
            return
        self.breaker.failed(now)
        self._stats.store_failed(timeout=False)
        line.lose(RedisConnectionError("no primary any more"))

    def _lost(self, line: Line, reason: Exception, left: list[Exchange]) -> None:
        self._lines.discard(line)
        if self._line is not line:  # it was being opened: whoever does that says what it means
            for exchange in left:
                if not exchange.future.done():  # whoever opened it may have been told that it took too long
                    exchange.future.set_exception(reason)
            return
        self._line = None
        left = [exchange for exchange in left if not exchange.future.done()]
        late = isinstance(reason, TimeoutError) or self._closed
        again = [exchange for exchange in left if exchange.repeatable and not late]
        for exchange in again:
            # Most likely the server let go of it while it was idle. Every such command may be sent twice.
            exchange.repeatable = False
            exchange.replies.clear()
            self._wait_for_a_line(exchange)
        if len(again) < len(left):
            self._failed(reason, left if not again else [each for each in left if each not in set(again)])

    def _failed(self, error: Exception, left: Iterable[Exchange]) -> None:
        text = _CLOSED if self._closed else f"the store did not answer ({type(error).__name__})"
        if not self._closed:
            self.breaker.failed(self._clock())
            self._stats.store_failed(timeout=isinstance(error, (TimeoutError, RedisTimeoutError)))
            if not isinstance(error, (RedisError, OSError)):
                _log.error("an exchange with the store failed", exc_info=error)
                text = _FAILED
        for exchange in left:
            if not exchange.future.done():
                exchange.future.set_exception(StoreUnavailableError(text))

    async def aclose(self) -> None:
        """End what is under way and close every connection."""
        self._closed = True
        if self._patience is not None:
            self._patience.cancel()
        await self.tasks.end(_END_SECONDS)
        queue, self._queue = self._queue, []
        self._failed(RedisConnectionError(_CLOSED), queue)
        lines = list(self._lines)
        for line in lines:
            line.lose(RedisConnectionError(_CLOSED))
        if lines:
            await asyncio.wait([line.gone for line in lines], timeout=_END_SECONDS)


def accepted(reply: Reply) -> Any:
    """What the server answered; raises `StoreUnavailableError` where it refused."""
    if isinstance(reply, ResponseError):
        raise StoreUnavailableError(f"the store refused a command ({code_of(reply)})") from reply
    return reply


def _pairs(reply: Reply) -> dict[bytes, bytes]:
    """The names and values of a flat list, as far as they are texts."""
    if not isinstance(reply, list):
        return {}
    pairs = zip(reply[::2], reply[1::2], strict=False)
    return {name: value for name, value in pairs if isinstance(name, bytes) and isinstance(value, bytes)}
