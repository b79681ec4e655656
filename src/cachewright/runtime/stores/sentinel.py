"""A primary that sentinels name: found again whenever it fails, is demoted, or they say that another took over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from redis.asyncio.connection import AbstractConnection

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.settings import Clock, Settings
from cachewright.runtime.stores.connection import Wire
from cachewright.runtime.stores.line import Command, Reply
from cachewright.runtime.stores.servers import Closing, Promoted, demoted, talk
from cachewright.runtime.stores.slots import Address
from cachewright.runtime.stores.subscription import Subscription
from cachewright.runtime.tasks import Tasks

_SWITCH = "+switch-master"
_SOONEST = 0.1
_END_SECONDS = 1.0


class Sentinels:
    """The primary of `service`, as `sentinels` name it. `wire` makes the line to one server."""

    spread = False

    def __init__(
        self,
        service: str,
        sentinels: Sequence[Wire],
        wire: Callable[[str, int], Wire],
        *,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._service = service
        self._sentinels = tuple(sentinels)
        self._make = wire
        self._clock = clock
        self._interval = settings.topology_interval
        self._patience = settings.connect_timeout + settings.read_timeout
        self._address: Address | None = None
        self._primary: Wire | None = None
        self._tasks = Tasks()
        self._finding: asyncio.Task[None] | None = None
        self._found: float | None = None
        self._promoted: Promoted | None = None

    @property
    def struggling(self) -> bool:
        """Whether the breaker of the primary is open, or none is known."""
        return self._primary is None or self._primary.breaker.is_open

    @property
    def lines(self) -> tuple[int, int]:
        """That to the primary."""
        return int(self._primary is not None and self._primary.is_open), 1

    async def settled(self, *, insist: bool = False) -> Sentinels:
        """Itself."""
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
        """See `Servers.exchange`: all of it goes to the primary."""
        wire = self._primary or await self._known(insist=insist)
        try:
            return await talk(wire, commands, insist=insist, repeat=repeat, closing=closing)
        except StoreUnavailableError:
            self._doubt()
            raise

    async def primaries(self) -> Sequence[Wire]:
        """The one primary."""
        return (self._primary or await self._known(insist=False),)

    def anchors(self) -> Sequence[str]:
        """The one primary."""
        return ("",)

    async def listener(self) -> AbstractConnection:
        """A connection to the primary."""
        return (self._primary or await self._known(insist=True)).connection()

    async def _known(self, *, insist: bool) -> Wire:
        recent = self._found is not None and self._clock() - self._found < _SOONEST
        if recent and not insist:
            raise StoreUnavailableError("no sentinel named a primary a moment ago")
        if self._finding is None:
            self._finding = self._tasks.spawn(self._find())
        await asyncio.wait((self._finding,))
        if self._primary is None:
            raise StoreUnavailableError("no sentinel names a primary")
        return self._primary

    def _doubt(self) -> None:
        """Ask the sentinels again, soon and once."""
        recent = self._found is not None and self._clock() - self._found < _SOONEST
        if self._finding is None and not recent:
            self._finding = self._tasks.spawn(self._find())

    async def _find(self) -> None:
        """All are asked at once; what most of those say that answer is believed."""
        try:
            votes = Counter(
                address
                for address in await asyncio.gather(*[self._ask(each) for each in self._sentinels])
                if address is not None
            )
            if votes:
                await self._use(votes.most_common(1)[0][0])
        finally:
            self._finding = None
            self._found = self._clock()

    async def _ask(self, sentinel: Wire) -> Address | None:
        ask: Command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        try:
            (reply,) = await sentinel.exchange([ask])
        except StoreUnavailableError:
            return None
        match reply:
            case [bytes() as host, bytes() as port] if port.isdigit():
                return host.decode("utf-8", "replace"), int(port)
            case _:
                return None

    async def _use(self, address: Address) -> None:
        """From now on this is the primary."""
        if address == self._address:
            return
        before, self._address = self._primary, address
        self._primary = self._make(*address)
        if before is None:
            return
        silent = 0.0 if before.heard is None else self._clock() - before.heard
        await before.aclose()
        if self._promoted is not None:
            await self._promoted(silent)

    async def watch(self, promoted: Promoted) -> None:
        """Listen to one sentinel after the other, and ask all of them again and again besides."""
        self._promoted = promoted
        listening = self._tasks.spawn(self._listen())
        try:
            while True:
                await asyncio.sleep(self._interval)
                if self._primary is not None:
                    await demoted(self._primary)
                self._doubt()
        finally:
            listening.cancel()

    async def _listen(self) -> None:
        turn = 0
        while True:
            sentinel = self._sentinels[turn % len(self._sentinels)]
            turn += 1
            line = Subscription(_to(sentinel), (_SWITCH,), patience=self._patience)
            try:
                await line.open()
                while True:
                    await self._heard(await line.receive())
            except StoreUnavailableError:
                await asyncio.sleep(self._interval)
            finally:
                await line.aclose()

    async def _heard(self, message: bytes | None) -> None:
        match (message or b"").decode("utf-8", "replace").split(" "):
            case [service, _, _, host, port] if service == self._service and port.isdigit():
                await self._use((host, int(port)))
            case _:
                return

    async def aclose(self) -> None:
        """Close every connection."""
        await self._tasks.end(_END_SECONDS)
        for wire in (*self._sentinels, self._primary):
            if wire is not None:
                await wire.aclose()


def _to(sentinel: Wire) -> Callable[[], Awaitable[AbstractConnection]]:
    async def connection() -> AbstractConnection:
        return sentinel.connection()

    return connection
