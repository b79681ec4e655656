"""Answers that were decided once and still stand: what a lookup in l1 comes to while nothing has happened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cachewright.runtime.codec import Accepted, Entry
from cachewright.runtime.core import Core
from cachewright.runtime.questions import Lookup, LookupRequest
from cachewright.runtime.stores.records import Name
from cachewright.spec.semantics import Acceptance, EntryMeta

#: How finely (s) l1 is told of uses: what was used within it counts as used at once.
_STEP = 0.1


@dataclass(slots=True, eq=False)
class Standing:
    """That `request` is served with the entry of `meta` before `until` (wall s), and on which acceptance.

    The acceptance needs no other word before `lease` (boot time, s); that l1 lets go of it for want of room changes
    nothing. All that held when the epoch of the process was `mark`. That its records are in use was told to l1 at
    `used` (boot time, s).
    """

    request: LookupRequest
    entry_name: Name
    acceptance_name: Name | None
    meta: EntryMeta
    acceptance: Acceptance | None
    until: float
    lease: float
    mark: int = -1
    used: float = -math.inf


class Standings:
    """Makes standing answers, and tells whether they stand."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def of(self, found: Lookup, until: float) -> Standing | None:
        """What was found in l1 and is to be served, until then (`semantics.serves_until`)."""
        request, entry = found.request, found.seen.entry
        if entry is None or found.tier != "l1":
            return None
        name, acceptance, lease = request.held_acceptance, found.seen.acceptance, math.inf
        if request.needs_acceptance:
            held = None if name is None else self._core.l1.peek(name)
            if held is None or not isinstance(held.record, Accepted):
                return None
            lease = held.lease  # before the record is looked at: it may be replaced meanwhile
            if held.record.acceptance is not acceptance:
                return None
        return Standing(request, request.key, name, entry, acceptance, until, lease)

    def entry(self, standing: Standing, clock: float, now: float | None = None) -> Entry | None:
        """The entry it speaks of, if it still may be served now: at `clock` (boot time, s), which is `now` (wall s).

        Every reason for which a lookup would come out otherwise is a time that has passed, a record that is no
        longer the same, or an epoch that went on; only in the last case tokens are compared again. In any thread,
        without waiting.
        """
        core = self._core
        if now is None:
            now = core.dated(clock)
        if now >= standing.until or clock >= standing.lease or not (core.alone or core.heard(clock)):
            return None
        item = core.l1.peek(standing.entry_name)
        if item is None or clock >= item.lease:
            return None
        entry = item.record
        if not isinstance(entry, Entry) or entry.meta is not standing.meta:
            return None
        if core.tokens.mark() != standing.mark and not self._stands(standing):
            return None
        if clock - standing.used > _STEP:
            self._use(standing, clock)
        return entry

    def _stands(self, standing: Standing) -> bool:
        """Whether all its tags still carry their tokens, although some tag was touched since."""
        mark = self._core.tokens.mark()
        if not self._agree(standing):
            return False
        standing.mark = mark
        return True

    def _use(self, standing: Standing, clock: float) -> None:
        standing.used = clock
        self._core.l1.get(standing.entry_name)
        if standing.acceptance_name is not None:
            self._core.l1.get(standing.acceptance_name)

    def opened(self, entry: Entry, value: Any, size: int) -> None:
        """Keep what the payload of `entry` was opened as (`size` bytes), for as long as l1 holds it."""
        object.__setattr__(entry, "opened", value)  # the same answer in another form: nothing has changed
        self._core.l1.grew(entry, size)

    def _agree(self, standing: Standing) -> bool:
        tokens = self._core.tokens
        own = [standing.meta.tokens]
        if standing.acceptance is not None:
            own.append(standing.acceptance.tokens)
        return all(tokens.agree(each) and not tokens.held(each) for each in own)  # type: ignore[arg-type]  # of bytes here
