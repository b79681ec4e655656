"""Fills: storing what a load brought, under the tokens that were seen before it began."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.codec import Accepted, Entry
from cachewright.runtime.core import Core
from cachewright.runtime.lookup import LookupRequest, Lookups, Ticket
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
    ) -> bool:
        """See `Engine.fill`."""
        if ticket is None:
            return False
        request = ticket.request
        reason = self._refusal(ticket)
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


def _is_large(record: Record, shared: Collection[str]) -> bool:
    return isinstance(record, Entry) and stored_name(record) not in shared


def _acceptance(ticket: Ticket, accepted_at: float, lifetime: float | None) -> tuple[Record, ...]:
    request = ticket.request
    if lifetime is None or request.acceptance_name is None or request.credential is None:
        return ()
    made = Accepted.of(
        request.key,
        request.credential,
        accepted_at=accepted_at,
        expires_at=accepted_at + lifetime,
        tokens=dict(ticket.tokens),
    )
    return (made,)
