"""Fills: storing what a load brought, under the tokens that were seen before it began."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.codec import Accepted, Entry
from cachewright.runtime.core import Core
from cachewright.runtime.lookup import Lookups
from cachewright.runtime.questions import LookupRequest, Ticket
from cachewright.runtime.stores.records import Record, encoded, seconds_left, stored_name
from cachewright.spec.semantics import Reason


class Fills:
    """Stores loads in the tiers of one process."""

    def __init__(self, core: Core, lookups: Lookups) -> None:
        self._core = core
        self._lookups = lookups

    async def fill(
        self,
        ticket: Ticket | None,
        payload: bytes,
        *,
        loaded_at: float,
        lifetime: float | None,
        acceptance_lifetime: float | None = None,
        load_seconds: float = 0.0,
        idle: float | None = None,
        keep: float = 0.0,
        learned: Collection[str] = (),
    ) -> bool:
        """See `Engine.fill`."""
        if ticket is None:
            return False
        ticket = _for(ticket, learned)
        request = ticket.request
        reason = self._refusal(ticket)
        if reason is None and not await self._certified(ticket):
            reason = Reason.CHANGED
        if reason is not None:
            self._core.stats.refused(request.target, [reason])
            return False
        entry = Entry.of(
            request.key,
            loaded_at=loaded_at,
            expires_at=None if lifetime is None else loaded_at + lifetime,
            tokens={tag: ticket.tokens[tag] for tag in request.tags},
            variant=request.variant,
            payload=payload,
            load_seconds=load_seconds,
            idle=idle,
        )
        records = (entry, *_acceptance(ticket, loaded_at, acceptance_lifetime))
        if await self._store(ticket, records, keep):
            self._core.stats.filled(request.target)
        return True

    async def _certified(self, ticket: Ticket) -> bool:
        """Whether every tag of the request has a token from before the load; `ticket` is given those it lacked.

        What came with the entry before is from before the load. Tokens of others are where the guards still stand
        after they were read, in that order (see `spec.learning`).
        """
        request, tokens = ticket.request, ticket.tokens
        unknown = [tag for tag in request.tags if tag not in tokens]
        if not unknown:
            return True
        mark = self._core.tokens.mark()
        rows, guards = await self._read(unknown, request.guards)
        standing = all(guards.get(tag) == tokens.get(tag) is not None for tag in request.guards)
        if not standing or len(rows) < len(unknown):
            return False
        self._core.tokens.learn(mark, rows)
        tokens.update(rows)
        return True

    async def _read(
        self, rows: Collection[str], guards: Collection[str]
    ) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
        """The tokens of `rows`, made where absent, and after that those of `guards`."""
        core = self._core
        if core.store is None:
            return core.tokens.mint(rows, core.mint), core.tokens.known(guards)
        try:
            minted = await core.store.mint(rows)
            return minted, (await core.store.read((), tuple(guards))).tokens
        except StoreUnavailableError:
            return {}, {}

    def _refusal(self, ticket: Ticket) -> Reason | None:
        tags = ticket.request.all_tags
        if self._core.tokens.held(tags):
            return Reason.HELD
        return None if self._core.tokens.unchanged(ticket.mark, tags) else Reason.CHANGED

    async def _store(self, ticket: Ticket, records: Sequence[Record], keep: float) -> bool:
        core, request = self._core, ticket.request
        stored = False
        core.l1.linger(keep)
        if core.in_memory(request.levels):
            lease = math.inf if core.alone else ticket.sent + core.settings.l1_lease
            for record in records:
                stored |= self._lookups.keep(request, record, ticket.mark, lease)
        shared = self._shared(request, records, keep)
        if core.l3 is not None and "l3" in request.levels:
            kept = [record for record in records if "l2" not in request.levels or _is_large(record, shared)]
            stored |= bool(kept) and await core.l3.write(kept, keep)
        if core.store is not None:
            try:
                await core.store.fill(shared, request.all_tags if shared or stored else ())
            except StoreUnavailableError:
                return stored
            stored |= bool(shared)
        return stored

    def _shared(
        self, request: LookupRequest, records: Sequence[Record], keep: float
    ) -> dict[str, tuple[bytes, float | None]]:
        """What goes to the store that processes share, and for how long: alive, and not too large for it."""
        core = self._core
        if core.store is None or "l2" not in request.levels:
            return {}
        now, limit = core.wall(), core.settings.l2_value_bytes
        values = {
            stored_name(record): (encoded(core.codec, record), seconds_left(record, now, keep))
            for record in records
        }
        return {
            name: (data, left)
            for name, (data, left) in values.items()
            if (left is None or left > 0) and (limit is None or len(data) <= limit)
        }


def _for(ticket: Ticket, learned: Collection[str]) -> Ticket:
    """`ticket` for an entry that holds the `learned` tags too, as far as their tokens are in hand."""
    if not learned:
        return ticket
    tags = tuple(dict.fromkeys((*ticket.request.tags, *learned)))
    request = replace(ticket.request, tags=tags, ground_tags=(*ticket.request.ground_tags, *learned))
    return replace(ticket, request=request, tokens=dict(ticket.tokens))


def _is_large(record: Record, shared: Collection[str]) -> bool:
    return isinstance(record, Entry) and stored_name(record) not in shared


def _acceptance(ticket: Ticket, accepted_at: float, lifetime: float | None) -> tuple[Record, ...]:
    request = ticket.request
    if lifetime is None or request.acceptance_name is None or request.credential is None:
        return ()
    made = Accepted.of(
        request.accepted_as,
        request.credential,
        accepted_at=accepted_at,
        expires_at=accepted_at + lifetime,
        tokens={tag: ticket.tokens[tag] for tag in request.accepted_tags},
    )
    return (made,)
