"""What a lookup is asked, and what it answers: values, known to whoever asks and to the tiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cachewright.runtime.flight import FlightKey
from cachewright.runtime.stores.base import acceptance_name, entry_name
from cachewright.spec.semantics import Seen, accepted
from cachewright.spec.tags import credential_tag

Tier = Literal["l1", "l2", "l3"]


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """One request as the tiers see it.

    `key` is the logical key, `tags` those predicted for it, `levels` the tiers its target uses.
    `credential` is a keyed hash, never the credential itself; `variant` the digest of the claims the
    request came with. `open_ended` says that anybody can make up such keys. `guards` are the tables of which
    its load will show which rows it read (see `spec.learning`); no entry need hold them. An acceptance is for its
    key, or for its `ground`, and then rests on `ground_tags` (see `spec.grounds`).
    """

    target: str
    key: str
    tags: tuple[str, ...]
    levels: tuple[str, ...] = ("l1", "l2")
    needs_acceptance: bool = False
    credential: str | None = None
    variant: bytes | None = None
    open_ended: bool = False
    guards: tuple[str, ...] = ()
    ground: str | None = None
    ground_tags: tuple[str, ...] = ()

    @property
    def held_acceptance(self) -> tuple[str, str] | None:
        """The name of its acceptance in memory, None where none is needed or there is no credential."""
        if not self.needs_acceptance or self.credential is None:
            return None
        return (self.credential, self.accepted_as)

    @property
    def entry_name(self) -> str:
        """The name of its entry."""
        return entry_name(self.key)

    @property
    def acceptance_name(self) -> str | None:
        """The name of its acceptance, None where none is needed or there is no credential."""
        if not self.needs_acceptance or self.credential is None:
            return None
        return acceptance_name(self.credential, self.accepted_as)

    @property
    def accepted_as(self) -> str:
        """What its credential has to be accepted for."""
        return self.key if self.ground is None else self.ground

    @property
    def accepted_tags(self) -> tuple[str, ...]:
        """The tags of an acceptance that its load brings."""
        if self.ground is None or self.credential is None:
            return self.all_tags
        return tuple(dict.fromkeys((*self.ground_tags, credential_tag(self.credential))))

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Its tags, and that of its credential where an acceptance is at stake."""
        if not self.needs_acceptance or self.credential is None:
            return self.tags
        return tuple(dict.fromkeys((*self.tags, credential_tag(self.credential))))


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to store one load: the tokens of every tag and guard, obtained before it.

    They were asked for at `sent` (boot time, s), when the epoch of the process was `mark`.
    """

    request: LookupRequest
    tokens: dict[str, bytes]
    mark: int
    sent: float


@dataclass(frozen=True, slots=True)
class Lookup:
    """What was found. Ask `semantics.decide(policy, seen, now)`, and serve `payload` from `tier` on its word.

    Without a `ticket` a load must not be stored. `available` is false where the store was not asked or did
    not answer, `shareable` where a guard is held.
    """

    request: LookupRequest
    seen: Seen
    payload: bytes | None = None
    tier: Tier | None = None
    ticket: Ticket | None = None
    available: bool = True
    shareable: bool = True

    @property
    def flight(self) -> FlightKey | None:
        """The flight this load belongs to: same key, tokens and variant. None where it must be nobody's."""
        if self.ticket is None or self.seen.held or not self.shareable:
            return None
        request, tokens = self.request, self.ticket.tokens
        if any(tag not in tokens for tag in request.guards):
            return None
        tags = (*request.tags, *request.guards)
        return (request.key, request.variant, tuple(tokens[tag] for tag in tags), tags)

    def may_follow(self, now: float) -> bool:
        """Whether another request's load may answer this one: it needs no acceptance or has one (wall s)."""
        return not self.seen.needs_acceptance or accepted(self.seen.acceptance, self.seen.tokens, now)


def unavailable(request: LookupRequest) -> Lookup:
    """The answer where nobody could be asked."""
    return without(request, available=False)


def without(request: LookupRequest, *, held: bool = False, available: bool = True) -> Lookup:
    """The answer where nothing was found, because a tag is `held` or nobody could be asked."""
    seen = Seen(None, {}, request.tags, request.needs_acceptance, None, request.variant, held)
    return Lookup(request, seen, available=available)
