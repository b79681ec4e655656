"""One open connection on which exchanges follow each other without waiting for one another's replies.

Whoever asks while others are under way shares the next write with everybody who asks at the same moment, reads
and writes alike: batching that nobody has to arrange. There is one future for each exchange, no task, and one
timer for all of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

Command = tuple[str | bytes | int, ...]
#: A reply as the server gave it, or the error it gave instead.
Reply = bytes | int | list[Any] | ResponseError | None

_MORE = object()
#: A loop that was busy reads what has arrived before it calls anything late (s).
_GRACE = 0.001
_AWAY = frozenset({"LOADING", "READONLY", "MASTERDOWN", "NOAUTH"})


class AwayError(ResponseError):
    """The server answers, but is no primary that could be used now."""


def _refusal(text: str) -> ResponseError:
    code = code_of(text)
    if code in _AWAY:
        return AwayError(text)
    return OutOfMemoryError(text) if code == "OOM" else ResponseError(text)


def code_of(refusal: ResponseError | str) -> str:
    """The first word of an error, which says what kind it is: `OOM`, `MOVED`, `NOPERM`…; else `ERR`."""
    word = str(refusal).partition(" ")[0]
    return word if word.isupper() and word.isalpha() else "ERR"


def pack(commands: Sequence[Command]) -> bytes:
    """These commands as they go over the wire."""
    return b"".join([hiredis.pack_command(cast("Any", command)) for command in commands])


@dataclass(slots=True, eq=False)
class Exchange:
    """Commands that go out together; the replies come in `future`. `deadline` is the loop's time (s).

    `repeatable` says that it may be sent a second time where the connection was lost before the replies came.
    """

    packed: bytes
    count: int
    future: asyncio.Future[list[Reply]]
    deadline: float
    repeatable: bool = True
    replies: list[Reply] = field(default_factory=list)


class Line(asyncio.Protocol):
    """The exchanges of one connection, first come, first answered.

    `on_reply` is told after every arrival whether the server was there, `on_lost` once, with the reason and what
    was left without an answer. An exchange that is not answered by its deadline ends the line: what would come
    later could not be told apart from the answers to others.
    """

    def __init__(
        self,
        *,
        on_reply: Callable[[Line, bool], None],
        on_lost: Callable[[Line, Exception, list[Exchange]], None],
    ) -> None:
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._reader = hiredis.Reader(
            protocolError=RedisConnectionError, replyError=_refusal, notEnoughData=_MORE
        )
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Exchange] = deque()
        self._outgoing: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._suspect: Exchange | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._lost = False
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self.proven = False

    def take(self, writer: asyncio.StreamWriter) -> None:
        """Take over a connection that is open, logged in and quiet."""
        self._writer = writer  # it would close the transport where it was collected
        writer.transport.set_protocol(self)
        if writer.transport.is_closing():
            self.lose(RedisConnectionError("the connection was closed"))

    def send(self, exchange: Exchange) -> None:
        """Send it: at once where nothing is under way, else together with what is asked at the same moment."""
        if self._lost or self._writer is None:
            self._on_lost(self, RedisConnectionError("the connection was closed"), [exchange])
            return
        self._waiting.append(exchange)
        if self._timer is None:
            self._timer = self._loop.call_at(exchange.deadline, self._look)
        if len(self._waiting) == 1:
            self._writer.transport.write(exchange.packed)
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(exchange.packed)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._writer is not None and not self._lost:
            self._writer.transport.write(b"".join(outgoing))

    def data_received(self, data: bytes) -> None:
        """Hand the replies out."""
        reader, waiting, there = self._reader, self._waiting, True
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _MORE:
                exchange = waiting[0]
                exchange.replies.append(cast("Reply", reply))
                there = there and type(reply) is not AwayError
                if len(exchange.replies) == exchange.count:
                    waiting.popleft()
                    if not exchange.future.done():
                        exchange.future.set_result(exchange.replies)
        except (RedisConnectionError, hiredis.HiredisError, IndexError) as error:
            self.lose(
                RedisConnectionError(f"the server does not speak the protocol ({type(error).__name__})")
            )
            return
        self.proven = True
        self._on_reply(self, there)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server let go of it."""
        if not self.gone.done():
            self.gone.set_result(None)
        self.lose(exc or RedisConnectionError("the server closed the connection"))

    def lose(self, reason: Exception) -> None:
        """Close it at once, and say what is left without an answer."""
        if self._lost:
            return
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._writer is not None:
            self._writer.transport.abort()
        left = list(self._waiting)
        self._waiting.clear()
        self._on_lost(self, reason, left)

    def _look(self) -> None:
        """Whether the oldest exchange has waited too long; asked again whenever the next one could have."""
        self._timer = None
        if not self._waiting:
            return
        oldest = self._waiting[0]
        late = self._loop.time() >= oldest.deadline
        if late and self._suspect is oldest:
            self.lose(TimeoutError())
            return
        self._suspect = oldest if late else None
        when = self._loop.time() + _GRACE if late else oldest.deadline
        self._timer = self._loop.call_at(when, self._look)
