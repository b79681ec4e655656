"""Entries and acceptances as bytes: one format, checked as a whole, self-describing, never pickled.

`format | compression | length of the body | body under its seal`; the body is MessagePack. The format says which
seal it is, and only the configured one is accepted. The seal covers all of it and binds the namespace and the
kind; the logical key stands inside and is compared. Whatever does not fit is a `CodecError`, which is a miss.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import cramjam
import msgspec

from cachewright.errors import CodecError
from cachewright.runtime.sealing import Buffer, Kind, seal_for
from cachewright.runtime.settings import Compression, Sealing, SealingKey
from cachewright.spec.semantics import Acceptance, EntryMeta

_HEAD = struct.Struct(">BBI")
_LONGEST_UNPACKED = 64 * 1024 * 1024
_METHODS: Mapping[Compression, int] = {"none": 0, "snappy": 1, "gzip": 2}

_Body = TypeVar("_Body")


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached answer: its logical key, what it says of itself, and a payload that nobody here looks into.

    `opened` holds what its reader made of the payload, once it did, so that it need not be made again.
    """

    key: str
    meta: EntryMeta
    tokens: Mapping[str, bytes]
    payload: bytes
    opened: Any = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        key: str,
        *,
        loaded_at: float,
        expires_at: float | None,
        tokens: Mapping[str, bytes],
        variant: bytes | None,
        payload: bytes,
        load_seconds: float = 0.0,
        idle: float | None = None,
    ) -> Entry:
        """An entry whose load began at `loaded_at` and that ends at `expires_at` (wall s)."""
        meta = EntryMeta(loaded_at, expires_at, tokens, variant, load_seconds, idle)
        return cls(key, meta, tokens, payload)


@dataclass(frozen=True, slots=True)
class Accepted:
    """An acceptance together with what it is for."""

    key: str
    credential: str
    acceptance: Acceptance
    tokens: Mapping[str, bytes]

    @classmethod
    def of(
        cls, key: str, credential: str, *, accepted_at: float, expires_at: float, tokens: Mapping[str, bytes]
    ) -> Accepted:
        """The application's word of `accepted_at`, good until `expires_at` (wall s)."""
        return cls(key, credential, Acceptance(accepted_at, expires_at, tokens), tokens)


class _EntryBody(msgspec.Struct, frozen=True, array_like=True, gc=False):
    key: str
    loaded_at: float
    expires_at: float | None
    tokens: dict[str, bytes]
    variant: bytes | None
    payload: bytes


class _TimedBody(_EntryBody, frozen=True, array_like=True, gc=False):
    """An entry that also says how long its load took, or that reads prolong its life."""

    load_seconds: float = 0.0
    idle: float | None = None


class _AcceptanceBody(msgspec.Struct, frozen=True, array_like=True, gc=False):
    key: str
    credential: str
    accepted_at: float
    expires_at: float
    tokens: dict[str, bytes]


_pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
_entry_body = msgspec.msgpack.Decoder(_TimedBody)
_acceptance_body = msgspec.msgpack.Decoder(_AcceptanceBody)


class Codec:
    """Writes and reads the bytes of one namespace.

    `sealing` and `keys` say how they are protected (see `sealing`); `secret` keys the digest of `checksum`. Every
    process of the fleet needs the same. Bodies of at least `threshold` bytes are compressed, where that makes them
    smaller. Raises `SealingError`.
    """

    def __init__(
        self,
        namespace: str,
        *,
        secret: bytes = b"",
        sealing: Sealing = "checksum",
        keys: Sequence[SealingKey] = (),
        compression: Compression = "none",
        threshold: int = 1024,
    ) -> None:
        self._seal = seal_for(namespace, sealing, keys, secret)
        self._method = compression
        self._threshold = threshold

    def encode_entry(self, entry: Entry) -> bytes:
        """`entry` as bytes."""
        meta = entry.meta
        facts = (entry.key, meta.loaded_at, meta.expires_at, dict(entry.tokens), meta.variant, entry.payload)
        if meta.load_seconds or meta.idle is not None:
            return self._frame(
                b"entry", (entry.key,), _pack(_TimedBody(*facts, meta.load_seconds, meta.idle))
            )
        return self._frame(b"entry", (entry.key,), _pack(_EntryBody(*facts)))

    def decode_entry(self, data: bytes, key: str) -> Entry:
        """The entry of `key` in these bytes. Raises `CodecError`."""
        body = self._body(b"entry", (key,), data, _entry_body)
        if body.key != key:
            raise CodecError("an entry of another key")
        return Entry.of(
            body.key,
            loaded_at=body.loaded_at,
            expires_at=body.expires_at,
            tokens=body.tokens,
            variant=body.variant,
            payload=body.payload,
            load_seconds=body.load_seconds,
            idle=body.idle,
        )

    def encode_acceptance(self, accepted: Accepted) -> bytes:
        """`accepted` as bytes."""
        own = accepted.acceptance
        body = _AcceptanceBody(
            accepted.key, accepted.credential, own.accepted_at, own.expires_at, dict(accepted.tokens)
        )
        return self._frame(b"acceptance", (accepted.key, accepted.credential), _pack(body))

    def decode_acceptance(self, data: bytes, key: str, credential: str) -> Accepted:
        """The acceptance of `credential` for `key` in these bytes. Raises `CodecError`."""
        body = self._body(b"acceptance", (key, credential), data, _acceptance_body)
        if body.key != key or body.credential != credential:
            raise CodecError("an acceptance of another key or credential")
        return Accepted.of(
            key, credential, accepted_at=body.accepted_at, expires_at=body.expires_at, tokens=body.tokens
        )

    def _frame(self, kind: Kind, names: Sequence[str], body: bytes) -> bytes:
        method, packed = _METHODS["none"], body
        if self._method != "none" and self._threshold <= len(body) <= _LONGEST_UNPACKED:
            smaller = _compress(self._method, body)
            if len(smaller) < len(body):
                method, packed = _METHODS[self._method], smaller
        head = _HEAD.pack(self._seal.format, method, len(body))
        return head + self._seal.close(head, kind, names, packed)

    def _body(
        self, kind: Kind, names: Sequence[str], data: bytes, decoder: msgspec.msgpack.Decoder[_Body]
    ) -> _Body:
        head = data[: _HEAD.size]
        if len(head) < _HEAD.size:
            raise CodecError("too short")
        form, method, length = _HEAD.unpack(head)
        if form != self._seal.format:
            raise CodecError("another format or another seal than is configured")
        packed = self._seal.open(head, kind, names, memoryview(data)[_HEAD.size :])
        try:
            return decoder.decode(_decompress(method, packed, length))
        except (msgspec.MsgspecError, UnicodeDecodeError, cramjam.DecompressionError) as error:
            raise CodecError("the body does not fit") from error


def _compress(method: Compression, body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body) if method == "snappy" else cramjam.gzip.compress(body))


def _decompress(method: int, packed: Buffer, length: int) -> Buffer:
    """The body, never more than the `length` bytes that the head announces."""
    if method == _METHODS["none"] and len(packed) == length:
        return packed
    if method not in (_METHODS["snappy"], _METHODS["gzip"]) or length > _LONGEST_UNPACKED:
        raise CodecError("an unknown compression")
    body = bytearray(length)
    unpack = (
        cramjam.snappy.decompress_raw_into if method == _METHODS["snappy"] else cramjam.gzip.decompress_into
    )
    if unpack(packed, body) != length:
        raise CodecError("the body has another length")
    return body
