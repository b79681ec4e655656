"""Lookups: what the tiers hold for one request, and the ticket under which its load may be stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cachewright.errors import CodecError, StoreUnavailableError
from cachewright.runtime.codec import Accepted, Entry
from cachewright.runtime.core import Core
from cachewright.runtime.flight import FlightKey
from cachewright.runtime.stores.base import Answer, Store, acceptance_name, entry_name
from cachewright.runtime.stores.memory import Record
from cachewright.spec.semantics import Acceptance, Seen, accepted, current
from cachewright.spec.tags import credential_tag

Tier = Literal["l1", "l2"]


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """One request as the tiers see it.

    `key` is the logical key, `tags` those predicted for it, `levels` the tiers its target uses.
    `credential` is a keyed hash, never the credential itself; `variant` the digest of the claims the
    request came with.
    """

    target: str
    key: str
    tags: tuple[str, ...]
    levels: tuple[str, ...] = ("l1", "l2")
    needs_acceptance: bool = False
    credential: str | None = None
    variant: bytes | None = None

    @property
    def entry_name(self) -> str:
        """The name of its entry."""
        return entry_name(self.key)

    @property
    def acceptance_name(self) -> str | None:
        """The name of its acceptance, None where none is needed or there is no credential."""
        if not self.needs_acceptance or self.credential is None:
            return None
        return acceptance_name(self.credential, self.key)

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Its tags, and that of its credential where an acceptance is at stake."""
        if self.acceptance_name is None or self.credential is None:
            return self.tags
        return tuple(dict.fromkeys((*self.tags, credential_tag(self.credential))))


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to store one load: the tokens of every tag, obtained before it.

    They were asked for at `sent` (boot time, s), when the epoch of the process was `mark`.
    """

    request: LookupRequest
    tokens: Mapping[str, bytes]
    mark: int
    sent: float


@dataclass(frozen=True, slots=True)
class Lookup:
    """What was found. Ask `semantics.decide(policy, seen, now)`, and serve `payload` from `tier` on its word.

    Without a `ticket` a load must not be stored. `available` is false where the store was not asked or did
    not answer.
    """

    request: LookupRequest
    seen: Seen
    payload: bytes | None = None
    tier: Tier | None = None
    ticket: Ticket | None = None
    available: bool = True

    @property
    def flight(self) -> FlightKey | None:
        """The flight this load belongs to: same key, tokens and variant. None where it must be nobody's."""
        if self.ticket is None or self.seen.held:
            return None
        request, tokens = self.request, self.ticket.tokens
        return (request.key, request.variant, tuple(tokens[tag] for tag in request.tags), request.tags)

    def may_follow(self, now: float) -> bool:
        """Whether another request's load may answer this one: it needs no acceptance or has one (wall s)."""
        return not self.seen.needs_acceptance or accepted(self.seen.acceptance, self.seen.tokens, now)


@dataclass(slots=True)
class _Found:
    """The records of one lookup and where they came from."""

    entry: Entry | None = None
    accepted: Accepted | None = None
    tier: Tier | None = None
    tokens: dict[str, bytes] = field(default_factory=dict)


class Lookups:
    """Looks requests up in the tiers of one process."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def local(self, request: LookupRequest) -> Lookup | None:
        """An answer that needs nobody else's word, or None. May be called in any thread.

        It is good for serving only: where `decide` does not serve it, call `remote`.
        """
        core = self._core
        if not (core.alone or "l1" in request.levels):
            return None
        now = core.boottime()
        item = core.l1.get(request.entry_name)
        if item is None or now >= item.lease or not (core.alone or core.heard(now)):
            return None
        entry = item.record
        assert isinstance(entry, Entry)
        tokens = entry.tokens
        acceptance: Acceptance | None = None
        if request.needs_acceptance:
            held = core.l1.get(request.acceptance_name) if request.acceptance_name is not None else None
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

    async def remote(self, request: LookupRequest) -> Lookup:
        """What the tiers hold, every token of it asked for anew; never raises, in bounded time."""
        core = self._core
        if core.tokens.held(request.all_tags):
            return _without(request, held=True)
        mark, sent = core.tokens.mark(), core.boottime()
        if core.alone:
            return self._seen(request, self._own(request), mark, math.inf)
        if core.store is None:
            return unavailable(request)
        try:
            found = await self._ask(core.store, request)
        except StoreUnavailableError:
            return unavailable(request)
        return self._seen(request, found, mark, sent)

    def _own(self, request: LookupRequest) -> _Found:
        found = self._from_l1(request)
        found.tokens = self._core.tokens.mint(request.all_tags, self._core.mint)
        return found

    def _from_l1(self, request: LookupRequest) -> _Found:
        """What l1 holds, whatever its lease."""
        found = _Found()
        item = self._core.l1.get(request.entry_name)
        if item is not None and isinstance(item.record, Entry):
            found.entry, found.tier = item.record, "l1"
        if request.acceptance_name is not None:
            item = self._core.l1.get(request.acceptance_name)
            if item is not None and isinstance(item.record, Accepted):
                found.accepted = item.record
        return found

    async def _ask(self, store: Store, request: LookupRequest) -> _Found:
        """Tokens from the store, and those records that l1 does not hold under the very same tokens."""
        found = self._from_l1(request) if "l1" in request.levels else _Found()
        if not self._worth_validating(request, found.entry):
            found.entry = found.tier = None
        answer = await store.read(_missing(request, found), request.all_tags)
        if self._forget_changed(found, answer.tokens):  # somebody else may have stored it again since
            answer = await store.read(_missing(request, found), request.all_tags)
        self._decode(request, answer, found)
        found.tokens = dict(answer.tokens)
        absent = [tag for tag in request.all_tags if tag not in found.tokens]
        if absent:
            found.tokens.update(await store.mint(absent))
        return found

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
        end = entry.meta.expires_at
        return (end is None or self._core.wall() < end) and all(tag in entry.tokens for tag in request.tags)

    def _decode(self, request: LookupRequest, answer: Answer, found: _Found) -> None:
        data = answer.values.get(request.entry_name)
        if data is not None and found.entry is None:
            try:
                found.entry, found.tier = self._core.codec.decode_entry(data, request.key), "l2"
            except CodecError:
                self._core.stats.unreadable()
        name, credential = request.acceptance_name, request.credential
        data = answer.values.get(name) if name is not None else None
        if data is not None and credential is not None and found.accepted is None:
            try:
                found.accepted = self._core.codec.decode_acceptance(data, request.key, credential)
            except CodecError:
                self._core.stats.unreadable()

    def _seen(self, request: LookupRequest, found: _Found, mark: int, sent: float) -> Lookup:
        core = self._core
        complete = all(tag in found.tokens for tag in request.all_tags)
        learnt = core.tokens.learn(mark, found.tokens)
        if learnt is not None and (core.alone or "l1" in request.levels):
            lease = sent + core.settings.l1_lease
            for name, record in (
                (request.entry_name, found.entry),
                (request.acceptance_name, found.accepted),
            ):
                if name is not None and record is not None and current(record.tokens, found.tokens):
                    self.keep(name, record, learnt, lease)
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
                core.tokens.held(request.all_tags),
            ),
            entry.payload if entry is not None else None,
            found.tier,
            Ticket(request, found.tokens, mark if learnt is None else learnt, sent) if complete else None,
        )

    def keep(self, name: str, record: Record, mark: int, lease: float) -> bool:
        """Hold `record` in l1 until `lease` (boot time, s), unless a tag of it was touched since `mark`."""
        core = self._core
        if not core.tokens.unchanged(mark, record.tokens):
            return False
        item = core.l1.get(name)
        if item is not None and item.record is record:
            core.l1.renew(name, record, lease)
            return True
        kept = core.l1.put(name, record, lease)
        if not core.tokens.unchanged(mark, record.tokens):  # touched while it was being put
            core.l1.discard(name)
            return False
        return kept


def _missing(request: LookupRequest, found: _Found) -> list[str]:
    if "l2" not in request.levels:
        return []
    names = [] if found.entry is not None else [request.entry_name]
    if request.acceptance_name is not None and found.accepted is None:
        names.append(request.acceptance_name)
    return names


def unavailable(request: LookupRequest) -> Lookup:
    """The answer where nobody could be asked."""
    return _without(request, available=False)


def _without(request: LookupRequest, *, held: bool = False, available: bool = True) -> Lookup:
    seen = Seen(None, {}, request.tags, request.needs_acceptance, None, request.variant, held)
    return Lookup(request, seen, available=available)
