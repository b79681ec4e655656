"""Fills: storing what a load brought, under the tokens that were seen before it began."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.codec import Accepted, Entry
from cachewright.runtime.core import Core
from cachewright.runtime.lookup import Lookups, Ticket
from cachewright.runtime.stores.memory import Record
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
        )
        records: dict[str, Record] = {request.entry_name: entry}
        records.update(_acceptance(ticket, loaded_at, acceptance_lifetime))
        if await self._store(ticket, records):
            self._core.stats.filled(request.target)
        return True

    def _refusal(self, ticket: Ticket) -> Reason | None:
        tags = ticket.request.all_tags
        if self._core.tokens.held(tags):
            return Reason.HELD
        return None if self._core.tokens.unchanged(ticket.mark, tags) else Reason.CHANGED

    async def _store(self, ticket: Ticket, records: Mapping[str, Record]) -> bool:
        core, levels = self._core, ticket.request.levels
        stored = False
        if core.alone or "l1" in levels:
            lease = math.inf if core.alone else ticket.sent + core.settings.l1_lease
            for name, record in records.items():
                stored |= self._lookups.keep(name, record, ticket.mark, lease)
        if core.store is not None:
            now = core.wall()
            shared = records if "l2" in levels else {}
            values = {name: (self._encode(record), _left(record, now)) for name, record in shared.items()}
            alive = {name: value for name, value in values.items() if value[1] is None or value[1] > 0}
            try:
                await core.store.fill(alive, ticket.request.all_tags if alive or stored else ())
            except StoreUnavailableError:
                return stored
            stored |= bool(alive)
        return stored

    def _encode(self, record: Record) -> bytes:
        codec = self._core.codec
        return codec.encode_entry(record) if isinstance(record, Entry) else codec.encode_acceptance(record)


def _left(record: Record, now: float) -> float | None:
    end = record.meta.expires_at if isinstance(record, Entry) else record.acceptance.expires_at
    return None if end is None else end - now


def _acceptance(ticket: Ticket, accepted_at: float, lifetime: float | None) -> dict[str, Record]:
    request = ticket.request
    if lifetime is None or request.acceptance_name is None or request.credential is None:
        return {}
    made = Accepted.of(
        request.key,
        request.credential,
        accepted_at=accepted_at,
        expires_at=accepted_at + lifetime,
        tokens=dict(ticket.tokens),
    )
    return {request.acceptance_name: made}
