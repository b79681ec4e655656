"""The l2 tier: Redis or Valkey, one server or many. No Lua; the commands of one small ACL.

GET-less on purpose: HELLO, MGET, SET, UNLINK, PEXPIRE, PUBLISH, SUBSCRIBE and PING are all that one server is sent.
A cluster needs `+asking +cluster|slots` too; what asks sentinels is allowed `+sentinel|get-primary-addr-by-name`
or its older name, and `+subscribe` to `+switch-master`, there. `erase` needs `+scan`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import OutOfMemoryError, ResponseError

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.settings import Clock, Settings
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.base import Answer, belongs
from cachewright.runtime.stores.beats import Beats
from cachewright.runtime.stores.connection import Wire
from cachewright.runtime.stores.facts import QUESTIONS, ServerFacts, facts_of
from cachewright.runtime.stores.line import Command, Reply, code_of
from cachewright.runtime.stores.names import Names, permanent
from cachewright.runtime.stores.servers import Closing, Promoted, Servers
from cachewright.runtime.stores.slots import by_slot
from cachewright.runtime.stores.subscription import Subscription
from cachewright.runtime.tokens import Mint
from cachewright.spec.tags import KEY_TAG, rows_last

_log = logging.getLogger("cachewright")
_TAGS_A_CHANGE = 512
_UNFILLED_MS = 120_000
_SCANNED_AT_ONCE = 1000
_FAILED = "an exchange with the store failed unexpectedly"


@dataclass(frozen=True, slots=True)
class _Home:
    """The servers once they are known, and the names that things have there."""

    servers: Servers
    names: Names


class RedisStore:
    """Entries, acceptances and tokens of one namespace on the servers of one URL, for one event loop.

    `origin` names this process on the bus. Nothing is sent before the first call; the servers may come later.
    """

    def __init__(
        self,
        servers: Servers,
        namespace: str,
        settings: Settings,
        *,
        origin: bytes,
        clock: Clock,
        stats: Stats,
        mint: Mint,
    ) -> None:
        self._servers = servers
        self._single = Names(namespace, spread=False, colocate=settings.colocate)
        self._several = Names(namespace, spread=True, colocate=settings.colocate)
        self._home: _Home | None = None
        self._lifetime = math.ceil(settings.token_lifetime * 1000)
        self._patience = settings.connect_timeout + settings.read_timeout
        self._strict = settings.strict
        self._origin = origin
        self._clock = clock
        self._stats = stats
        self._interval = settings.topology_interval
        self._mint = mint
        self._said: set[str] = set()
        self._bus: weakref.ref[Subscription] | None = None

    @property
    def channel(self) -> str:
        """The channel of the bus."""
        return self._single.channel

    @property
    def struggling(self) -> bool:
        """Whether a breaker is open."""
        return self._servers.struggling

    @property
    def lines(self) -> tuple[int, int]:
        """How many connections for commands are open, and how many there are when all are."""
        return self._servers.lines

    async def _known(self, *, insist: bool = False) -> _Home:
        """The servers and names, learnt before the first command: a token under another name would be no token."""
        if self._home is None:
            self._servers = servers = await self._servers.settled(insist=insist)
            self._home = _Home(servers, self._several if servers.spread else self._single)
        return self._home

    async def read(self, names: Sequence[str], tags: Sequence[str], *, mint: Collection[str] = ()) -> Answer:
        """One MGET; on a cluster one for each slot. Where tokens have to be made, `SET NX GET` asks for them.

        That is two trips in one where this process has not seen a token yet.
        """
        home = self._home or await self._known()
        mint = [tag for tag in mint if not permanent(tag)]  # the others are hardly ever absent
        asked = [tag for tag in tags if tag not in mint] if mint else tags
        place = home.names.place
        keys = [*map(place, names), *[place(f"v:{tag}") for tag in asked]]
        groups = by_slot(keys) if home.names.spread else [keys]
        commands: list[Command] = [("MGET", *group) for group in groups if group]
        fresh = {tag: self._mint() for tag in mint}
        commands += [self._made(home, tag, token) for tag, token in fresh.items()]
        replies = await self._exchange(home, commands)
        values: list[Any] = [None] * len(keys)
        if keys:
            values = self._values(keys, groups, replies)
        cut = len(names)
        tokens = {tag: value for tag, value in zip(asked, values[cut:], strict=True) if value is not None}
        if mint:
            made = replies[len(replies) - len(fresh) :]
            tokens.update(self._tokens(fresh, made))
            full = [tag for tag, reply in zip(fresh, made, strict=True) if type(reply) is OutOfMemoryError]
            if full:
                tokens.update((await self.read((), full)).tokens)
        found = {name: value for name, value in zip(names, values, strict=False) if value is not None}
        return Answer(found, tokens)

    def _values(self, keys: list[str], groups: list[list[str]], replies: Sequence[Reply]) -> list[Any]:
        """What stands under `keys`, in their order."""
        values: dict[str, Any] = {}
        for group, reply in zip(groups, replies, strict=False):
            found = self._accept(reply)
            if not isinstance(found, list) or len(found) != len(group):
                _log.error("a read of the store failed: the answer has another length than the question")
                raise StoreUnavailableError(_FAILED)
            if len(group) == len(keys):
                return found
            values.update(zip(group, found, strict=True))
        return [values[key] for key in keys]

    async def mint(self, tags: Collection[str]) -> dict[str, bytes]:
        """`SET NX GET` for each tag. A tag that the server has no room for stays without a token.

        Whoever asks may be nobody: a token lives two minutes until a fill prolongs it.
        """
        home = self._home or await self._known()
        fresh = {tag: self._mint() for tag in tags}
        replies = await self._exchange(home, [self._made(home, *item) for item in fresh.items()])
        return self._tokens(fresh, replies)

    def _made(self, home: _Home, tag: str, token: bytes) -> Command:
        return self._set_token(home, tag, token, "NX", "GET", lifetime=min(self._lifetime, _UNFILLED_MS))

    def _tokens(self, fresh: Mapping[str, bytes], replies: Sequence[Reply]) -> dict[str, bytes]:
        tokens: dict[str, bytes] = {}
        for (tag, token), reply in zip(fresh.items(), replies, strict=True):
            if type(reply) is OutOfMemoryError:
                self._refused(reply)
                continue
            existing = self._accept(reply)
            tokens[tag] = existing if isinstance(existing, bytes) else token
        return tokens

    async def fill(self, values: Mapping[str, tuple[bytes, float | None]], tags: Collection[str]) -> None:
        """Plain SETs, with the prolongation of the tokens; a late fill carries a dead token.

        PEXPIRE prolongs and cannot revive; a SET of the token would.
        """
        home = self._home or await self._known()
        commands: list[Command] = []
        for name, (data, seconds) in values.items():
            lifetime = self._lifetime if seconds is None else min(self._lifetime, _milliseconds(seconds))
            commands.append(("SET", home.names.place(name), data, "PX", lifetime))
        commands += [("PEXPIRE", home.names.token(tag), self._lifetime) for tag in tags if not permanent(tag)]
        for reply in await self._exchange(home, commands):
            self._accept(reply)

    async def change(self, tags: Collection[str], *, stamp: Callable[[], bytes] | None = None) -> int:
        """New tokens for the tags that have one, then word to every process; tried with the breaker open too.

        A tag without a token needs none: whoever reads it next makes one before its load begins. Where the
        server has no room (`noeviction`) the token is removed instead: absent is as invalid as changed.
        """
        home = await self._known(insist=True)
        wanted = rows_last(dict.fromkeys(tags))
        wide = tuple(tag for tag in wanted if permanent(tag))
        rest = tuple(tag for tag in wanted if not permanent(tag))
        count = 0
        # On one server a pipeline keeps its order; of several each has its own.
        for part in (wide, rest) if home.names.spread else (wide + rest,):
            for at in range(0, len(part), _TAGS_A_CHANGE):
                count += await self._change(home, part[at : at + _TAGS_A_CHANGE], stamp)
        return count

    async def _change(self, home: _Home, tags: Sequence[str], stamp: Callable[[], bytes] | None) -> int:
        places = {home.names.token(tag): tag for tag in tags}
        publish = self._publishing(lambda keys: [places[key] for key in keys], stamp)
        commands = [self._changing(home, tag) for tag in tags]
        replies = await self._exchange(home, commands, insist=True, closing=publish)
        full = [
            place for place, reply in zip(places, replies, strict=True) if type(reply) is OutOfMemoryError
        ]
        changed = [self._accept(reply) or None for reply in replies if type(reply) is not OutOfMemoryError]
        if full:
            self._stats.store_refused("OOM")
            # Told again: whoever heard the first word may have read the old token since. All of them, for a row
            # must not have a new token while its table has the old one.
            unlink: list[Command] = [("UNLINK", place) for place in places]
            removed = await self._exchange(home, unlink, insist=True, closing=publish)
            gone = dict(zip(places, removed, strict=True))
            changed += [self._accept(gone[place]) or None for place in full]
        return sum(reply is not None for reply in changed)

    def _publishing(
        self, tags: Callable[[Sequence[str]], list[str]], stamp: Callable[[], bytes] | None
    ) -> Closing:
        """Word of what stands before it in its pipeline: a single one could overtake what goes elsewhere."""
        return lambda keys: (
            "PUBLISH",
            self.channel,
            msgspec.msgpack.encode(
                (self._origin, tags(keys)) if stamp is None else (self._origin, tags(keys), {}, stamp())
            ),
        )

    async def acknowledge(self, process: bytes, stamp: bytes) -> None:
        """One PUBLISH, on the channel of that process."""
        home = self._home or await self._known()
        word: Command = (
            "PUBLISH",
            self._single.channel_of(process),
            msgspec.msgpack.encode((self._origin, (), {}, b"", stamp)),
        )
        for reply in await self._exchange(home, [word]):
            self._accept(reply)

    async def prolong(self, name: str, seconds: float) -> None:
        """One PEXPIRE; it cannot revive what is gone."""
        home = self._home or await self._known()
        place = home.names.place(name)
        (reply,) = await self._exchange(home, [("PEXPIRE", place, _milliseconds(seconds))])
        self._accept(reply)

    async def claim(self, name: str, value: bytes, seconds: float) -> bytes | None:
        """One SET NX GET."""
        home = self._home or await self._known()
        place = home.names.place(name)
        (reply,) = await self._exchange(
            home, [("SET", place, value, "NX", "GET", "PX", _milliseconds(seconds))]
        )
        standing = self._accept(reply)
        return standing if isinstance(standing, bytes) and standing != value else None

    async def settle(self, name: str, value: bytes | None, seconds: float) -> None:
        """SET or UNLINK, then PUBLISH, in one exchange."""
        home = self._home or await self._known()
        place = home.names.place(name)
        put: Command = ("SET", place, value, "PX", _milliseconds(seconds)) if value else ("UNLINK", place)
        word: Command = ("PUBLISH", self.channel, msgspec.msgpack.encode((self._origin, (), {name: value})))
        for reply in await self._exchange(home, [put], closing=lambda _keys: word):
            self._accept(reply)

    async def remove(self, names: Sequence[str]) -> None:
        """One UNLINK each."""
        home = self._home or await self._known()
        for reply in await self._exchange(home, [("UNLINK", home.names.place(name)) for name in names]):
            self._accept(reply)

    async def erase(self, key: str) -> int:
        """SCAN and UNLINK on every server, which the minimal ACL does not allow: `+scan` has to be added for it.

        What the server proposes is compared with `key` as a whole before it is removed.
        """
        home = self._home or await self._known()
        glob = f"{_glob(home.names.prefix)}*{_glob(key)}*"
        count = 0
        for wire in await home.servers.primaries():
            cursor = b""
            while cursor != b"0":
                scan: Command = ("SCAN", cursor or b"0", "MATCH", glob, "COUNT", _SCANNED_AT_ONCE)
                (reply,) = await wire.exchange([scan])
                cursor, found = self._accept(reply)
                count += await self._remove(wire, home.names, key, found)
        return count

    async def facts(self) -> list[ServerFacts]:
        """INFO and CONFIG GET on every server, which the minimal ACL does not allow: then little is known."""
        home = self._home or await self._known()
        return [facts_of(await wire.exchange(QUESTIONS)) for wire in await home.servers.primaries()]

    async def _remove(self, wire: Wire, names: Names, key: str, found: Sequence[bytes]) -> int:
        places = (place.decode("utf-8", "surrogateescape") for place in found)
        own: list[Command] = [("UNLINK", place) for place in places if belongs(names.name(place), key)]
        return sum(self._accept(reply) for reply in await wire.exchange(own)) if own else 0

    async def send(
        self, commands: Sequence[Command], *, repeat: bool = False, insist: bool = False
    ) -> list[Reply]:
        """Replies to commands of one's own, in their places, errors among them; each names its key second.

        `repeat` allows to send them twice where a connection is lost. Raises `StoreUnavailableError`.
        """
        home = await self._known(insist=insist)
        return await home.servers.exchange(commands, insist=insist, repeat=repeat)

    def _changing(self, home: _Home, tag: str) -> Command:
        """A new token where there is one; none where only one key's entry can hold it: absent is as invalid."""
        if tag.startswith(KEY_TAG):
            return ("UNLINK", home.names.token(tag))
        return self._set_token(home, tag, self._mint(), "XX")

    def _set_token(
        self, home: _Home, tag: str, token: bytes, *conditions: str, lifetime: int | None = None
    ) -> Command:
        end = () if permanent(tag) else ("PX", lifetime or self._lifetime)
        return ("SET", home.names.token(tag), token, *conditions, *end)

    async def _exchange(
        self,
        home: _Home,
        commands: Sequence[Command],
        *,
        insist: bool = False,
        closing: Closing | None = None,
    ) -> list[Reply]:
        if not commands:
            return []
        try:
            return await home.servers.exchange(commands, insist=insist, closing=closing)
        except StoreUnavailableError:
            raise
        except Exception as error:
            _log.exception("an exchange with the store failed")
            raise StoreUnavailableError(_FAILED) from error

    def _accept(self, reply: Reply) -> Any:
        """What the server answered; raises `StoreUnavailableError` where it refused, and counts it."""
        if isinstance(reply, ResponseError):
            self._refused(reply)
            raise StoreUnavailableError(f"the store refused a command ({code_of(reply)})") from reply
        return reply

    def _refused(self, reply: ResponseError) -> None:
        code = code_of(reply)
        self._stats.store_refused(code)
        if code not in self._said:
            self._said.add(code)
            _log.warning("the store refuses commands: %s; it is used as far as it allows", code)

    def subscription(self) -> Subscription:
        """A connection of its own that listens on the bus."""
        channels = (self.channel, self._single.channel_of(self._origin)) if self._strict else (self.channel,)
        made = Subscription(self._listener, channels, patience=self._patience)
        self._bus = weakref.ref(made)
        return made

    async def _listener(self) -> AbstractConnection:
        return await (await self._known(insist=True)).servers.listener()

    async def watch(self, promoted: Promoted) -> None:
        """Notice until cancelled that another server took over: `promoted` is told, and the bus opened anew."""

        async def moved(silent: float) -> None:
            _log.warning("a primary may have forgotten the last %.1f s; they are invalidated again", silent)
            bus = self._bus() if self._bus is not None else None
            if bus is not None:
                await bus.end()
            await promoted(silent)

        home = None
        while home is None:
            home = await self._watched()
        watching = asyncio.ensure_future(home.servers.watch(moved))
        try:
            await self._beat(home, moved)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watched(self) -> _Home | None:
        try:
            return await self._known()
        except StoreUnavailableError:
            await asyncio.sleep(self._interval)
            return None

    async def _beat(self, home: _Home, moved: Promoted) -> None:
        """Notice too what no change of servers tells: one that came back, or took over, with an old memory."""
        beats = Beats(lambda command: self._exchange(home, [command]), self._clock)
        while True:
            await asyncio.sleep(self._interval)
            for gone in await beats.felt(
                [home.names.beat(anchor, self._origin) for anchor in home.servers.anchors()]
            ):
                await moved(gone)

    async def aclose(self) -> None:
        """End what is under way and close every connection."""
        await self._servers.aclose()


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


def _glob(text: str) -> str:
    """`text` in a pattern of the server, where it stands for itself alone."""
    return "".join(f"\\{character}" if character in "*?[]\\^-" else character for character in text)
