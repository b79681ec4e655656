"""A Redis or Valkey Cluster: every command goes to the primary of its key, one pipeline for each, all at once.

Never to replicas: their tokens may be old. A slot that moves is followed, a few times and in bounded time; a
server that fails costs its own slots only. What the client library does for clusters is not used: it repeats for
seconds what has to be over in milliseconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import ResponseError

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.settings import Clock
from cachewright.runtime.stores.connection import Wire, accepted
from cachewright.runtime.stores.line import AwayError, Command, Reply, code_of
from cachewright.runtime.stores.servers import Closing, Promoted
from cachewright.runtime.stores.slots import Address, Share, SlotMap, redirection, shares_of
from cachewright.runtime.tasks import Tasks

_log = logging.getLogger("cachewright")
_ROUNDS = 4
_PAUSE = 0.01
_ASKED_AT_ONCE = 3
_SOONEST = 0.1
_ASKING: Command = ("ASKING",)


@dataclass(slots=True)
class _Part:
    """What goes to one server: places in the whole, and whether ASKING comes before each."""

    wire: Wire
    at: list[int] = field(default_factory=list)
    asking: bool = False


class Cluster:
    """The primaries of one cluster, found by some of its `seeds`. `wire` makes the line to one of them.

    The map of slots is asked for every `interval` seconds, and whenever something went wrong.
    """

    spread = True

    def __init__(
        self,
        seeds: Sequence[Address],
        wire: Callable[[str, int], Wire],
        *,
        clock: Clock,
        interval: float,
    ) -> None:
        self._seeds = tuple(seeds)
        self._make = wire
        self._clock = clock
        self._interval = interval
        self._slots = SlotMap()
        self._wires: dict[Address, Wire] = {}
        self._tasks = Tasks()
        self._learning: asyncio.Task[None] | None = None
        self._learnt: float | None = None
        self._promoted: Promoted | None = None
        self._turn = 0
        self._refused = False

    @property
    def struggling(self) -> bool:
        """Whether the breaker of one of its primaries is open."""
        return any(self._wire(address).breaker.is_open for address in self._slots.addresses)

    @property
    def lines(self) -> tuple[int, int]:
        """One to each primary; before any is known, there is one to be found."""
        addresses = tuple(self._slots.addresses)
        wires = [self._wires.get(address) for address in addresses]
        return sum(wire is not None and wire.is_open for wire in wires), len(addresses) or 1

    def _wire(self, address: Address) -> Wire:
        found = self._wires.get(address)
        if found is None:
            found = self._wires[address] = self._make(*address)
        return found

    async def settled(self, *, insist: bool = False) -> Cluster:
        """Itself, whether its slots are known or not."""
        del insist
        return self

    async def exchange(
        self,
        commands: Sequence[Command],
        *,
        insist: bool = False,
        repeat: bool = True,
        closing: Closing | None = None,
    ) -> list[Reply]:
        """See `Servers.exchange`. What was redirected is closed again where it went in the end."""
        if not self._slots.shares:
            await self._learn()
        replies: list[Reply] = [None] * len(commands)
        left = self._parts(commands, range(len(commands)))
        for round_ in range(_ROUNDS):
            await self._talk(left, commands, replies, insist=insist, repeat=repeat, closing=closing)
            left = await self._redirected(left, commands, replies)
            if not left:
                return replies
            if round_:
                await asyncio.sleep(_PAUSE)
        raise StoreUnavailableError("the cluster sends its clients to and fro")

    def _parts(self, commands: Sequence[Command], places: Sequence[int]) -> list[_Part]:
        parts: dict[Address, _Part] = {}
        for at in places:
            address = self._slots.owner(_slot(commands[at]))
            if address is None:
                self._doubt()
                raise StoreUnavailableError("nobody in the cluster holds this slot")
            part = parts.get(address)
            if part is None:
                part = parts[address] = _Part(self._wire(address))
            part.at.append(at)
        return list(parts.values())

    async def _talk(
        self,
        parts: Sequence[_Part],
        commands: Sequence[Command],
        replies: list[Reply],
        *,
        insist: bool,
        repeat: bool,
        closing: Closing | None,
    ) -> None:
        """Ask all servers at once, then put every reply in its place; all are heard out before one is raised."""
        failure: StoreUnavailableError | None = None
        asked: list[tuple[_Part, asyncio.Future[list[Reply]]]] = []
        for part in parts:
            own = [commands[at] for at in part.at]
            if part.asking:
                own = [word for command in own for word in (_ASKING, command)]
            if closing is not None:
                own.append(closing([str(commands[at][1]) for at in part.at]))
            try:
                asked.append((part, part.wire.ask(own, insist=insist, repeat=repeat)))
            except StoreUnavailableError as error:
                failure = error
        for part, future in asked:
            try:
                self._place(part, await future, replies, closed=closing is not None)
            except StoreUnavailableError as error:
                failure = error
        if failure is not None:
            self._doubt()
            raise failure

    @staticmethod
    def _place(part: _Part, got: list[Reply], replies: list[Reply], *, closed: bool) -> None:
        for reply in got:
            if type(reply) is AwayError:
                raise StoreUnavailableError(f"the store is away ({code_of(reply)})")
        if closed:
            accepted(got[-1])
        for number, at in enumerate(part.at):
            replies[at] = got[2 * number + 1] if part.asking else got[number]

    async def _redirected(
        self, parts: Sequence[_Part], commands: Sequence[Command], replies: Sequence[Reply]
    ) -> list[_Part]:
        """What has to be asked again, and where."""
        again: list[int] = []
        asking: dict[Address, _Part] = {}
        for part in parts:
            for at in part.at:
                reply = replies[at]
                if not isinstance(reply, ResponseError):
                    continue
                code = code_of(reply)
                to = redirection(str(reply), self._host(part.wire)) if code in {"MOVED", "ASK"} else None
                if to is not None and code == "ASK":
                    asking.setdefault(to[1], _Part(self._wire(to[1]), asking=True)).at.append(at)
                elif to is not None:
                    self._slots.moved(*to)
                    self._doubt()
                    again.append(at)
                elif code in {"TRYAGAIN", "CROSSSLOT"}:
                    again.append(at)
                elif code == "CLUSTERDOWN":
                    self._doubt()
                    raise StoreUnavailableError("the cluster is down")
        return [*self._parts(commands, again), *asking.values()]

    def _host(self, wire: Wire) -> str:
        return next((address[0] for address, own in self._wires.items() if own is wire), "")

    async def primaries(self) -> Sequence[Wire]:
        """All primaries that hold slots."""
        if not self._slots.shares:
            await self._learn()
        return [self._wire(address) for address in sorted(self._slots.addresses)]

    def anchors(self) -> Sequence[str]:
        """The first number for each primary whose slot it holds; the same for whoever takes its slots over."""
        return self._slots.anchors()

    async def listener(self) -> AbstractConnection:
        """A connection to one of the primaries: what one is told, all of them tell. Another one every time."""
        if not self._slots.shares:
            await self._learn()
        known = sorted(self._slots.addresses)
        self._turn += 1
        healthy = [each for each in known if not self._wire(each).breaker.is_open] or known
        return self._wire(healthy[self._turn % len(healthy)]).connection()

    def _doubt(self) -> None:
        """Ask for the map again, soon and once."""
        recent = self._learnt is not None and self._clock() - self._learnt < _SOONEST
        if self._learning is None and not recent:
            self._learning = self._tasks.spawn(self._ask())

    async def _learn(self) -> None:
        """Ask for the map now, with whoever else does."""
        if self._learning is None:
            self._learning = self._tasks.spawn(self._ask())
        await asyncio.wait((self._learning,))
        if not self._slots.shares:
            raise StoreUnavailableError("no server of the cluster answers")

    async def _ask(self) -> None:
        """The first of a few servers that tells wins; MOVED corrects it where it was behind the others."""
        try:
            known = sorted(self._slots.addresses | set(self._seeds))
            known = known[self._turn % len(known) :] + known[: self._turn % len(known)]
            self._turn += 1
            for at in range(0, len(known), _ASKED_AT_ONCE):
                asked = [self._shares(address) for address in known[at : at + _ASKED_AT_ONCE]]
                told = [shares for shares in await asyncio.gather(*asked) if shares]
                if told:
                    await self._take(_agreed(told))
                    return
        finally:
            self._learning = None
            self._learnt = self._clock()

    async def _shares(self, address: Address) -> list[Share]:
        try:
            (reply,) = await self._wire(address).exchange([("CLUSTER", "SLOTS")])
        except StoreUnavailableError:
            return []
        if isinstance(reply, ResponseError) and not self._refused:
            self._refused = True
            _log.error("the server does not tell who holds which slots: %s", code_of(reply))
        return shares_of(reply, address[0])

    async def _take(self, shares: Sequence[Share]) -> None:
        lost = self._slots.learn(shares)
        if lost is None:
            return
        now = self._clock()
        heard = [wire.heard for address in lost if (wire := self._wires.get(address)) and wire.heard]
        silent = now - min(heard) if heard else 0.0
        for address in set(self._wires) - self._slots.addresses - set(self._seeds):
            await self._wires.pop(address).aclose()
        if lost and self._promoted is not None:
            await self._promoted(silent)

    async def watch(self, promoted: Promoted) -> None:
        """Ask for the map again and again: who never needs a slot must hear of its new owner too."""
        self._promoted = promoted
        while True:
            await asyncio.sleep(self._interval)
            self._doubt()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._tasks.end(_PAUSE)
        for wire in list(self._wires.values()):
            await wire.aclose()


def _slot(command: Command) -> int:
    key = command[1]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


def _agreed(told: Sequence[list[Share]]) -> list[Share]:
    """What most of them say; the first of those where they are equally many."""
    return list(Counter(tuple(sorted(shares)) for shares in told).most_common(1)[0][0])
