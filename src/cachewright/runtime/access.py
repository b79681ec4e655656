"""Entries by key, for code: what is asked, who may ask it, and how values become bytes and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, TypeVar

from cachewright.errors import CodecError, InvalidationPendingError, IsolationError
from cachewright.runtime.codec import Entry
from cachewright.runtime.distinct import DistinctKeys
from cachewright.runtime.engine import Engine
from cachewright.runtime.forking import start_anew_in_children
from cachewright.runtime.loads import Brought, Loads, Unset
from cachewright.runtime.missing import MISSING, Missing
from cachewright.runtime.naming import Name, name_of, tags_of
from cachewright.runtime.principal import current_principal, refuse_foreign
from cachewright.runtime.questions import Lookup, LookupRequest
from cachewright.runtime.standing import Standing
from cachewright.runtime.typed import Typed, type_of
from cachewright.runtime.used import note, untold
from cachewright.spec.semantics import Policy, Reason, Serve, decide, serves_until

T = TypeVar("T")

#: How plain reads by key are counted.
KEYS = "keys"
_READ = Policy(ttl=None, identity_ttl=0.0)
_REMEMBERED = 4096
_AT_ONCE = 256


@dataclass(slots=True, eq=False)
class Asked:
    """One key with its tags, as the tiers are asked for it. `storable` says whether its tags are few enough.

    `standing` is how its entry was last served from this process's memory.
    """

    name: Name
    request: LookupRequest
    storable: bool
    standing: Standing | None = None


class Access:
    """Reads and writes entries of one engine by key, on the loop of that engine; `peek` in any thread.

    `levels` are the tiers by target; those of `KEYS` are everybody else's. With `isolation`, a key that names
    a tenant or a user is that principal's alone.
    """

    def __init__(
        self,
        engine: Engine,
        loads: Loads,
        *,
        levels: Mapping[str, tuple[str, ...]],
        isolation: bool,
    ) -> None:
        self._engine = engine
        self._loads = loads
        self._levels = levels
        self._isolation = isolation
        self._distinct = DistinctKeys(engine.settings.distinct_keys)
        start_anew_in_children(self._forked)
        self._asked: dict[str | tuple[str, tuple[str, ...], str], Asked] = {}
        self._codecs: dict[Any, Typed[Any]] = {}

    def _forked(self) -> None:
        self._distinct = DistinctKeys(self._engine.settings.distinct_keys)

    def asked(self, key: str, tags: Collection[str] = (), target: str = KEYS) -> Asked:
        """The question for `key`. Raises `UsageError`, and `IsolationError` where the principal may not ask it."""
        place = key if not tags and target is KEYS else (key, tuple(tags), target)
        asked = self._asked.get(place)
        if asked is None:
            asked = self._ask(key, tags, target)
            if len(self._asked) >= _REMEMBERED:
                self._asked.clear()
            self._asked[place] = asked
        if self._isolation:
            self.admit(asked.name)
        return asked

    def _ask(self, key: str, tags: Collection[str], target: str) -> Asked:
        name, own = name_of(key), tags_of(tags)
        request = LookupRequest(
            target,
            name.key,
            tuple(dict.fromkeys((*name.tags, *own))),
            levels=self._levels.get(target) or self._levels[KEYS],
        )
        return Asked(name, request, len(own) <= self._engine.settings.entry_tags)

    def admit(self, name: Name) -> None:
        """Raise `IsolationError`, counted, where the principal may not use what this names."""
        if not self._isolation:
            return
        try:
            refuse_foreign(name)
        except IsolationError:
            self._engine.stats.denied()
            raise

    def bypassed(self, target: str, reason: Reason) -> None:
        """Count a call that is not looked up."""
        self._engine.stats.bypassed(target, reason)

    def codec(self, type_: Any) -> Typed[Any]:
        """The codec of values of this type. Raises `ValueRefusedError` for one that cannot be stored."""
        try:
            found = self._codecs.get(type_)
        except TypeError:  # an annotation that cannot be hashed
            return Typed(type_)
        if found is None:
            found = self._codecs[type_] = Typed(type_)
        return found

    def encode(self, value: Any, type_: Any) -> bytes:
        """`value` as the payload of an entry. Raises `ValueRefusedError`."""
        return self.codec(type_of(value) if isinstance(type_, Unset) else type_).encode(value)

    def peek(self, asked: Asked, codec: Typed[Any]) -> Any | Missing:
        """What this process may answer without asking anybody; in any thread, without waiting."""
        engine, standing = self._engine, asked.standing
        if standing is not None:
            clock = engine.boottime
            began = clock()
            entry = engine.standings.entry(standing, began)
            if entry is not None:
                value = self._opened(entry, codec)
                if value is not MISSING:
                    note(engine, entry.meta)
                    engine.stats.hit_in_memory(asked.request.target, began, clock)
                return value
        asked.standing, began = None, perf_counter()
        found = engine.lookup_local(asked.request)
        if found is None or not isinstance(decide(_READ, found.seen, engine.now), Serve):
            return MISSING
        asked.standing = engine.standings.of(found, serves_until(_READ, found.seen))
        return self._served(found, codec, began)

    def _opened(self, entry: Entry, codec: Typed[Any]) -> Any | Missing:
        """The value of `entry`; one that nobody can change is made once and kept with it."""
        opened = entry.opened
        if type(opened) is tuple and opened[0] is codec:
            return opened[1]
        try:
            value = codec.decode(entry.payload)
        except CodecError:
            self._engine.stats.unreadable()
            return MISSING
        if opened is None and codec.immutable(value):
            self._engine.standings.opened(entry, (codec, value), len(entry.payload))
        return value

    async def read(self, asked: Asked, codec: Typed[Any]) -> Any | Missing:
        """The value in the tiers, `MISSING` where there is none that may be served."""
        began = perf_counter()
        found = await self._engine.lookup(asked.request, mint=False)
        decision = decide(_READ, found.seen, self._engine.now)
        if isinstance(decision, Serve):
            value = self._served(found, codec, began)
        else:
            self._engine.stats.miss(asked.request.target, decision.reason)
            value = MISSING
            untold()
        self._engine.stats.operated("get", perf_counter() - began)
        return value

    def _served(self, found: Lookup, codec: Typed[Any], began: float) -> Any | Missing:
        assert found.payload is not None
        assert found.tier is not None
        try:
            value = codec.decode(found.payload)
        except CodecError:
            self._engine.stats.unreadable()
            return MISSING
        self._engine.stats.hit(found.request.target, found.tier, perf_counter() - began)
        self._engine.served(found)
        note(self._engine, found.seen.entry)
        return value

    async def read_many(self, asked: Sequence[Asked], codec: Typed[Any]) -> list[Any | Missing]:
        """The values in the tiers, in the same order; the reads share their round trips."""
        values: list[Any | Missing] = []
        for at in range(0, len(asked), _AT_ONCE):
            values += await asyncio.gather(*(self.read(each, codec) for each in asked[at : at + _AT_ONCE]))
        return values

    async def store(self, entries: Sequence[tuple[Asked, bytes]], ttl: float | None) -> int:
        """Store payloads for `ttl` seconds; how many were stored.

        Their keys are changed first: whatever is being loaded for them carries a dead token afterwards.
        """
        began = perf_counter()
        try:
            await self._engine.invalidate([asked.name.tag for asked, _ in entries], raise_pending=True)
        except InvalidationPendingError:
            return 0
        stored = 0
        for at in range(0, len(entries), _AT_ONCE):
            some = entries[at : at + _AT_ONCE]
            stored += sum(await asyncio.gather(*(self._store(*entry, ttl) for entry in some)))
        self._engine.stats.operated("set", perf_counter() - began)
        return stored

    async def _store(self, asked: Asked, payload: bytes, ttl: float | None) -> bool:
        engine = self._engine
        if not (self._admitted(asked) and self._fits(asked, payload)):
            return False
        found = await engine.lookup(replace(asked.request, levels=()))  # tokens only
        if found.ticket is None:
            return False
        ticket = replace(found.ticket, request=asked.request)
        return await engine.fill(ticket, payload, loaded_at=engine.now, lifetime=ttl)

    async def change(self, tags: Collection[str]) -> int:
        """Invalidate `tags`; how many were in use. Raises `InvalidationPendingError`."""
        began = perf_counter()
        try:
            return await self._engine.invalidate(tags, raise_pending=True)
        finally:
            self._engine.stats.operated("delete", perf_counter() - began)

    def _fits(self, asked: Asked, payload: bytes) -> bool:
        """Whether a payload is small enough; one that is not is counted."""
        fits = len(payload) <= self._engine.settings.value_bytes
        if not fits:
            self._engine.stats.refused(asked.request.target, (Reason.TOO_LARGE,))
        return fits

    def _admitted(self, asked: Asked) -> bool:
        """Whether an entry with these tags, of this principal, may be made; one that may not is counted."""
        reason = None if asked.storable else Reason.TOO_MANY_TAGS
        who = current_principal() or ((asked.name.tenant, asked.name.user) if asked.name.scoped else None)
        if who is not None and not self._distinct.admits(who, asked.name.key, self._engine.now):
            reason = Reason.TOO_MANY_KEYS
        if reason is not None:
            self._engine.stats.refused(asked.request.target, (reason,))
        return reason is None

    async def load(
        self,
        asked: Asked,
        policy: Policy,
        codec: Typed[T],
        load: Callable[[], Awaitable[T]],
        *,
        beside: bool = True,
    ) -> T:
        """The value of an entry, or what `load` brings, as its type says; see `Loads.get_or_load`."""
        if not self._admitted(asked):
            held = await self.read(asked, codec)
            return codec.decode(codec.encode(await load())) if held is MISSING else held

        async def brought() -> Brought:
            value = await load()
            payload = codec.encode(value)
            negative = value is None and policy.negative_ttl is not None
            return Brought(payload, fill=self._fits(asked, payload), negative=negative)

        loaded = await self._loads.get_or_load(asked.request, policy, brought, beside=beside)
        try:
            return codec.decode(loaded.payload)
        except CodecError:
            if loaded.tier is None:
                raise
        untold()
        self._engine.stats.unreadable()  # it was stored under another type, and gives way
        await self._engine.invalidate((asked.name.tag,))
        return codec.decode((await brought()).payload)
