"""The servers behind one URL, as a store sees them; and the simplest kind: one server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from redis.asyncio.connection import AbstractConnection

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.stores.connection import Wire, accepted
from cachewright.runtime.stores.line import Command, Reply

#: Told that another server took over, and for how long (s) the one before had not been heard.
Promoted = Callable[[float], Awaitable[None]]
#: The command that closes what goes to one server, given the keys of the commands before it.
Closing = Callable[[Sequence[str]], Command]


class Servers(Protocol):
    """Where commands go. Every method raises `StoreUnavailableError` within a bounded time."""

    @property
    def struggling(self) -> bool:
        """Whether calls have been failing lately."""

    @property
    def lines(self) -> tuple[int, int]:
        """How many connections for commands are open, and how many there are when all are: one for each primary."""

    @property
    def spread(self) -> bool:
        """Whether keys stand on several servers. Known once `settled`."""

    async def settled(self, *, insist: bool = False) -> Servers:
        """What these servers are once they have told: themselves, or the cluster that one of them is part of.

        `insist` asks although they failed lately.
        """

    async def exchange(
        self,
        commands: Sequence[Command],
        *,
        insist: bool = False,
        repeat: bool = True,
        closing: Closing | None = None,
    ) -> list[Reply]:
        """The replies to `commands`, each sent to the server of its key, its second word.

        Every server is sent `closing` too, after all of its own commands.
        """

    async def primaries(self) -> Sequence[Wire]:
        """All servers that hold keys."""

    def anchors(self) -> Sequence[str]:
        """A hash tag for each primary whose slot it holds; the empty one for the only server."""

    async def listener(self) -> AbstractConnection:
        """A connection, not yet open, to a server where word of everything published arrives."""

    async def watch(self, promoted: Promoted) -> None:
        """Notice until cancelled that another server took over."""

    async def aclose(self) -> None:
        """Close every connection."""


async def talk(
    wire: Wire,
    commands: Sequence[Command],
    *,
    insist: bool = False,
    repeat: bool = True,
    closing: Closing | None = None,
) -> list[Reply]:
    """`Servers.exchange` where all of `commands` belong to one server."""
    if closing is None:
        return await wire.exchange(commands, insist=insist, repeat=repeat)
    keys = [str(command[1]) for command in commands]
    *replies, closed = await wire.exchange([*commands, closing(keys)], insist=insist, repeat=repeat)
    accepted(closed)
    return replies


class OneServer:
    """A single server. `cluster` makes the cluster of which it turns out to be a part.

    `interval` (s) is how often it is asked whether it is a primary still.
    """

    spread = False

    def __init__(self, wire: Wire, cluster: Callable[[], Servers], *, interval: float) -> None:
        self._wire = wire
        self._cluster = cluster
        self._interval = interval

    @property
    def struggling(self) -> bool:
        """Whether the breaker is open."""
        return self._wire.breaker.is_open

    @property
    def lines(self) -> tuple[int, int]:
        """The one."""
        return int(self._wire.is_open), 1

    async def settled(self, *, insist: bool = False) -> Servers:
        """Itself, once it has answered and is no part of a cluster."""
        if self._wire.mode is None:
            await self._wire.exchange([("PING",)], insist=insist)
        if self._wire.mode != "cluster":
            return self
        await self._wire.aclose()
        return self._cluster()

    async def exchange(
        self,
        commands: Sequence[Command],
        *,
        insist: bool = False,
        repeat: bool = True,
        closing: Closing | None = None,
    ) -> list[Reply]:
        """See `Servers.exchange`."""
        return await talk(self._wire, commands, insist=insist, repeat=repeat, closing=closing)

    async def primaries(self) -> Sequence[Wire]:
        """The one."""
        return (self._wire,)

    def anchors(self) -> Sequence[str]:
        """The one."""
        return ("",)

    async def listener(self) -> AbstractConnection:
        """A connection to the one."""
        return self._wire.connection()

    async def watch(self, promoted: Promoted) -> None:
        """Ask again and again whether it is a primary: a replica would answer reads with what is old.

        Nobody has to be told of another one: whoever stands at this address instead is a new connection.
        """
        del promoted
        while True:
            await asyncio.sleep(self._interval)
            await demoted(self._wire)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._wire.aclose()


async def demoted(wire: Wire) -> bool:
    """Whether a server that answers says that it is no primary; then its line is opened anew."""
    if wire.breaker.is_open:
        return False
    try:
        (reply,) = await wire.exchange([("HELLO", 2)])
    except StoreUnavailableError:
        return False
    if not isinstance(reply, list) or not {b"replica", b"slave"} & set(map(_text, reply)):
        return False
    wire.drop()
    return True


def _text(item: object) -> bytes:
    return item if isinstance(item, bytes) else b""
