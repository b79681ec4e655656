"""Lookups: what the tiers of one process hold for a request, validated by its tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from cachewright.errors import CodecError, StoreUnavailableError
from cachewright.runtime.codec import Accepted, Entry
from cachewright.runtime.core import Core
from cachewright.runtime.holders import held
from cachewright.runtime.questions import Lookup, LookupRequest, Ticket, Tier, unavailable, without
from cachewright.runtime.stores.base import Answer, Store
from cachewright.runtime.stores.records import Record, held_name, seconds_left
from cachewright.runtime.tasks import Tasks
from cachewright.runtime.together import Together
from cachewright.spec.semantics import (
    Acceptance,
    EntryMeta,
    Seen,
    arrived,
    arrived_acceptance,
    current,
    read,
)

#: Entries on their way from the files to the store that processes share; more are left where they are.
_PROMOTIONS = 16


@dataclass(slots=True)
class _Found:
    """The records of one lookup and where they came from."""

    entry: Entry | None = None
    accepted: Accepted | None = None
    tier: Tier | None = None
    tokens: dict[str, bytes] = field(default_factory=dict)
    guards: dict[str, bytes] = field(default_factory=dict)

    @property
    def own_tags(self) -> tuple[str, ...]:
        """The tags of what was found."""
        if self.accepted is None:
            return () if self.entry is None else tuple(self.entry.tokens)
        records = [record for record in (self.entry, self.accepted) if record is not None]
        return tuple(dict.fromkeys(tag for record in records for tag in record.tokens))


class Lookups:
    """Looks requests up in the tiers of one process."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._promotions = Tasks()
        self._together = Together(partial(self._remote, mint=True))
        self._together_unminted = Together(partial(self._remote, mint=False))

    def local(self, request: LookupRequest) -> Lookup | None:
        """An answer that needs nobody else's word, or None. May be called in any thread.

        It is good for serving only: where `decide` does not serve it, call `remote`.
        """
        core = self._core
        if not core.in_memory(request.levels):
            return None
        now = core.boottime()
        item = core.l1.get(request.key)
        if item is None or now >= item.lease or not (core.alone or core.heard(now)):
            return None
        entry = item.record
        assert isinstance(entry, Entry)
        tokens = entry.tokens
        acceptance: Acceptance | None = None
        if request.needs_acceptance:
            name = request.held_acceptance
            held = core.l1.get(name) if name is not None else None
            if held is None or now >= held.lease or not isinstance(held.record, Accepted):
                return None
            acceptance = held.record.acceptance
            tokens = {**tokens, **held.record.tokens}
            if not core.tokens.agree(held.record.tokens):
                return None
        if not core.tokens.agree(entry.tokens) or core.tokens.held(tokens):
            return None
        seen = Seen(entry.meta, tokens, request.tags, request.needs_acceptance, acceptance, request.variant)
        return Lookup(request, seen, entry.payload, "l1")

    def unvalidated(self, request: LookupRequest) -> Lookup | None:
        """What l1 holds, whatever its lease; its tokens are not known, so that no acceptance holds either."""
        found = self._from_l1(request)
        if found.entry is None:
            return None
        held = self._core.tokens.held(request.all_tags)
        seen = Seen(found.entry.meta, {}, request.tags, request.needs_acceptance, None, request.variant, held)
        return Lookup(request, seen, found.entry.payload, "l1", available=False)

    def prolonged(self, found: Lookup) -> EntryMeta | None:
        """The entry that was served, where this read prolongs its life; its copy in l1 knows of it."""
        before = found.seen.entry
        meta = None if before is None else read(before, self._core.wall())
        if meta is None or (meta is before and found.tier == "l1"):
            return None
        mark = self._core.tokens.mark()
        item = self._core.l1.peek(found.request.key)
        if item is not None and isinstance(item.record, Entry) and item.record.meta is before:
            self.keep(found.request, replace(item.record, meta=meta), mark, item.lease)
        return meta

    async def remote(self, request: LookupRequest, *, mint: bool = True) -> Lookup:
        """What the tiers hold, every token of it asked for anew; never raises, in bounded time.

        Without `mint`, tags that have no token get none, and where one has none there is no ticket. Callers who
        ask the same while others are being answered are answered together, from one question sent after all
        of them asked.
        """
        if self._core.alone or self._core.store is None:
            return await self._remote(request, mint=mint)
        name = (request.key, self._core.tokens.mark())
        return await (self._together if mint else self._together_unminted).ask(name, request)

    async def _remote(self, request: LookupRequest, *, mint: bool) -> Lookup:
        core = self._core
        if core.tokens.held(request.all_tags):
            return without(request, held=True)
        mark, sent = core.tokens.mark(), core.boottime()
        if core.alone:
            found = self._own(request, mint=mint)
            mark = core.tokens.mark()  # to make room for them may have ended the trust in what was under way
            await self._descend(request, found)
            unasked, tokens = self._unasked(request, found), core.tokens
            found.tokens.update(tokens.mint(unasked, core.mint) if mint else tokens.known(unasked))
            return self._seen(request, found, mark, math.inf)
        if core.store is None:
            return unavailable(request)
        try:
            found = await self._ask(core.store, request, mint=mint)
            if mint and core.settings.crash_safe:
                if await held(core.store, (*request.all_tags, *found.own_tags)):
                    return without(request, held=True)
                if request.guards and await held(core.store, request.guards):
                    found.guards.clear()  # nothing can be learned
        except StoreUnavailableError:
            return unavailable(request)
        return self._seen(request, found, mark, sent)

    def _own(self, request: LookupRequest, *, mint: bool) -> _Found:
        found, tokens = self._from_l1(request), self._core.tokens
        found.tokens = (
            tokens.mint(request.all_tags, self._core.mint) if mint else tokens.known(request.all_tags)
        )
        found.guards = tokens.mint(request.guards, self._core.mint) if mint else {}
        return found

    def _from_l1(self, request: LookupRequest) -> _Found:
        """What l1 holds, whatever its lease."""
        found = _Found()
        item = self._core.l1.peek(request.key)
        if item is not None and isinstance(item.record, Entry):
            found.entry, found.tier = item.record, "l1"
        if request.held_acceptance is not None:
            item = self._core.l1.peek(request.held_acceptance)
            if item is not None and isinstance(item.record, Accepted):
                found.accepted = item.record
        return found

    async def _ask(self, store: Store, request: LookupRequest, *, mint: bool) -> _Found:
        """Tokens from the store, and those records that l1 does not hold under the very same tokens."""
        found = self._from_l1(request) if "l1" in request.levels else _Found()
        if not self._worth_validating(request, found.entry):
            found.entry = found.tier = None
        unknown = self._core.tokens.unknown(request.all_tags) if mint else ()
        asked = tuple(dict.fromkeys((*request.all_tags, *request.guards, *found.own_tags)))
        answer = await store.read(_missing(request, found), asked, mint=unknown)
        if self._forget_changed(found, answer.tokens):  # somebody else may have stored it again since
            answer = await store.read(_missing(request, found), asked)
        self._decode(request, answer, found)
        found.tokens = dict(answer.tokens)
        if request.guards:
            own = {*request.all_tags, *found.own_tags}
            found.tokens = {
                t: token for t, token in answer.tokens.items() if t in own or t not in request.guards
            }
            found.guards = {t: token for t, token in answer.tokens.items() if t in request.guards}
        await self._descend(request, found)
        unasked = self._unasked(request, found)
        if unasked:  # its own tags decide, whatever was predicted: a second trip
            found.tokens.update((await store.read((), unasked)).tokens)
        absent = [tag for tag in request.all_tags if tag not in found.tokens]
        unguarded = [tag for tag in request.guards if tag not in found.guards]
        if (absent or unguarded) and mint:
            made = await store.mint((*absent, *unguarded))
            found.tokens.update((tag, made[tag]) for tag in absent if tag in made)
            found.guards.update((tag, made[tag]) for tag in unguarded if tag in made)
        return found

    async def _descend(self, request: LookupRequest, found: _Found) -> None:
        """Records from the files, where the tiers above hold none that could be served.

        They are as good as their tokens, which were asked for before.
        """
        disk, own = self._core.l3, found.entry
        if disk is None or "l3" not in request.levels or any(t not in found.tokens for t in request.tags):
            return
        good = own is not None and self._worth_validating(request, own) and not _outdated(own, found.tokens)
        accepts = (
            request.acceptance_name is not None and found.accepted is None and "l2" not in request.levels
        )
        if good and not accepts:
            return
        on_disk = await disk.find(request.key, request.held_acceptance if accepts else None)
        found.accepted = found.accepted or on_disk.accepted
        entry = None if good else on_disk.entry
        if entry is None or on_disk.file is None:
            return
        if _outdated(entry, found.tokens):
            disk.discard(request.key, on_disk.file)
            return
        if own is not None and not self._worth_validating(request, entry):
            return
        found.entry, found.tier = self._arrived(entry), "l3"
        self._promote(request, entry, on_disk.file.data)

    def _promote(self, request: LookupRequest, entry: Entry, data: bytes) -> None:
        """Put what the files held into the store that processes share, where it has its place there."""
        core = self._core
        limit, left = core.settings.l2_value_bytes, seconds_left(entry, core.wall(), 0.0)
        if core.store is None or "l2" not in request.levels or (limit is not None and len(data) > limit):
            return
        if len(self._promotions) < _PROMOTIONS and (left is None or left > 0):
            self._promotions.spawn(core.store.fill({request.entry_name: (data, left)}, tuple(entry.tokens)))

    def _arrived(self, entry: Entry) -> Entry:
        """An entry that a store still held: it would have let go of one that nobody reads."""
        now = self._core.wall()
        meta = arrived(entry.meta, now)
        if meta.idle is not None:
            meta = replace(meta, read_at=now)
        return entry if meta is entry.meta else replace(entry, meta=meta)

    def _unasked(self, request: LookupRequest, found: _Found) -> list[str]:
        """Tags of the entry and of its acceptance that nobody asked for, where it could be served if they stand."""
        if not self._worth_validating(request, found.entry):
            return []
        return [tag for tag in found.own_tags if tag not in found.tokens and tag not in request.all_tags]

    def _forget_changed(self, found: _Found, tokens: Mapping[str, bytes]) -> bool:
        """Let go of the copies whose tokens have changed; whether there was one."""
        before = found.entry, found.accepted
        if found.entry is not None and not current(found.entry.tokens, tokens):
            found.entry = found.tier = None
        if found.accepted is not None and not current(found.accepted.tokens, tokens):
            found.accepted = None
        return before[0] is not found.entry or before[1] is not found.accepted

    def _worth_validating(self, request: LookupRequest, entry: Entry | None) -> bool:
        """Whether a copy could still be served once its tokens are known to stand."""
        if entry is None or entry.meta.variant != request.variant:
            return False
        return not entry.meta.expired(self._core.wall()) and all(tag in entry.tokens for tag in request.tags)

    def _decode(self, request: LookupRequest, answer: Answer, found: _Found) -> None:
        data = answer.values.get(request.entry_name)
        if data is not None and found.entry is None:
            try:
                entry = self._core.codec.decode_entry(data, request.key)
                found.entry, found.tier = self._arrived(entry), "l2"
            except CodecError:
                self._core.stats.unreadable()
        name, credential = request.acceptance_name, request.credential
        data = answer.values.get(name) if name is not None else None
        if data is not None and credential is not None and found.accepted is None:
            try:
                said = self._core.codec.decode_acceptance(data, request.accepted_as, credential)
                now = self._core.wall()
                found.accepted = replace(said, acceptance=arrived_acceptance(said.acceptance, now))
            except CodecError:
                self._core.stats.unreadable()

    def _seen(self, request: LookupRequest, found: _Found, mark: int, sent: float) -> Lookup:
        core = self._core
        complete = all(tag in found.tokens for tag in request.all_tags)
        learnt = core.tokens.learn(mark, found.tokens)
        if learnt is not None and core.in_memory(request.levels):
            lease = sent + core.settings.l1_lease
            for record in (found.entry, found.accepted):
                if record is not None and current(record.tokens, found.tokens):
                    self.keep(request, record, learnt, lease)
        entry = found.entry
        return Lookup(
            request,
            Seen(
                entry.meta if entry is not None else None,
                found.tokens,
                request.tags,
                request.needs_acceptance,
                found.accepted.acceptance if found.accepted is not None else None,
                request.variant,
                core.tokens.held((*request.all_tags, *found.tokens)),
            ),
            entry.payload if entry is not None else None,
            found.tier,
            (
                Ticket(request, {**found.guards, **found.tokens}, mark if learnt is None else learnt, sent)
                if complete
                else None
            ),
            shareable=not core.tokens.held(request.guards),
        )

    def keep(self, request: LookupRequest, record: Record, mark: int, lease: float) -> bool:
        """Hold `record` in l1 until `lease` (boot time, s), unless a tag of it was touched since `mark`."""
        core = self._core
        if not core.tokens.unchanged(mark, record.tokens):
            return False
        name = held_name(record)
        item = core.l1.peek(name)
        if item is not None and item.record is record:
            core.l1.renew(record, lease)
            return True
        kept = core.l1.put(
            record,
            lease,
            now=core.wall(),
            target=request.target,
            open_ended=request.open_ended,
            demotes="l2" in request.levels and "l3" in request.levels,
        )
        if not core.tokens.unchanged(mark, record.tokens):  # touched while it was being put
            core.l1.discard(name)
            return False
        return kept


def _outdated(entry: Entry, tokens: Mapping[str, bytes]) -> bool:
    """Whether one of its tags is known to carry another token now."""
    return any(tokens.get(tag, token) != token for tag, token in entry.tokens.items())


def _missing(request: LookupRequest, found: _Found) -> list[str]:
    if "l2" not in request.levels:
        return []
    names = [] if found.entry is not None else [request.entry_name]
    if request.acceptance_name is not None and found.accepted is None:
        names.append(request.acceptance_name)
    return names
