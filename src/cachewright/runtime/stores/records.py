"""What stores hold, entries and acceptances: their names, their ends, their bytes."""

from __future__ import annotations

from cachewright.runtime.codec import Accepted, Codec, Entry
from cachewright.runtime.stores.base import acceptance_name, entry_name

Record = Entry | Accepted
#: In memory an entry stands under its logical key, an acceptance under credential and key.
Name = str | tuple[str, str]


def held_name(record: Record) -> Name:
    """The name under which a record is held in memory."""
    return record.key if isinstance(record, Entry) else (record.credential, record.key)


def stored_name(record: Record) -> str:
    """The name under which the bytes of a record are stored."""
    if isinstance(record, Entry):
        return entry_name(record.key)
    return acceptance_name(record.credential, record.key)


def end_of(record: Record) -> float | None:
    """When a record ends (wall s), None for never."""
    return record.meta.expires_at if isinstance(record, Entry) else record.acceptance.expires_at


def has_ended(record: Record, now: float) -> bool:
    """Whether its life was over at `now` (wall s)."""
    return record.meta.expired(now) if isinstance(record, Entry) else now >= record.acceptance.expires_at


def seconds_left(record: Record, now: float, keep: float) -> float | None:
    """How long (s) a store holds a record; an entry is kept on after its end to answer for failed loads."""
    if not isinstance(record, Entry):
        return record.acceptance.expires_at - now
    meta = record.meta
    left = None if meta.expires_at is None else meta.expires_at - now + keep
    if meta.idle is None:
        return left
    return meta.idle if left is None else min(left, meta.idle)


def encoded(codec: Codec, record: Record) -> bytes:
    """A record as bytes."""
    return codec.encode_entry(record) if isinstance(record, Entry) else codec.encode_acceptance(record)
