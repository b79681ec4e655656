"""Entries and acceptances as bytes: one format, checked as a whole, self-describing, never pickled.

`format | compression | length of the body | digest | body`; the body is MessagePack. The digest covers all
of it, is keyed where a secret is given, and binds the namespace and the kind; the logical key stands inside
and is compared. Whatever does not fit is a `CodecError`, which is a miss.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import cramjam
import msgspec

from cachewright.errors import CodecError
from cachewright.runtime.settings import Compression
from cachewright.spec.semantics import Acceptance, EntryMeta

_FORMAT = 1
_HEAD = struct.Struct(">BBI")
_DIGEST = 16
_LONGEST = 256 * 1024 * 1024
_METHODS: Mapping[Compression, int] = {"none": 0, "snappy": 1, "gzip": 2}

Kind = Literal[b"entry", b"acceptance"]
_Body = TypeVar("_Body")


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached answer: its logical key, what it says of itself, and a payload that nobody here looks into."""

    key: str
    meta: EntryMeta
    tokens: Mapping[str, bytes]
    payload: bytes

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
    ) -> Entry:
        """An entry whose load began at `loaded_at` and that ends at `expires_at` (wall s)."""
        return cls(key, EntryMeta(loaded_at, expires_at, tokens, variant), tokens, payload)


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


class _AcceptanceBody(msgspec.Struct, frozen=True, array_like=True, gc=False):
    key: str
    credential: str
    accepted_at: float
    expires_at: float
    tokens: dict[str, bytes]


_pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
_entry_body = msgspec.msgpack.Decoder(_EntryBody)
_acceptance_body = msgspec.msgpack.Decoder(_AcceptanceBody)


class Codec:
    """Writes and reads the bytes of one namespace.

    `secret` keys the digest (every process of the fleet needs the same one); empty, it is a plain checksum.
    Bodies of at least `threshold` bytes are compressed, where that makes them smaller.
    """

    def __init__(
        self, namespace: str, *, secret: bytes = b"", compression: Compression = "none", threshold: int = 1024
    ) -> None:
        self._key = hashlib.blake2b(secret + b"\0" + namespace.encode(), digest_size=32).digest()
        self._method = compression
        self._threshold = threshold

    def encode_entry(self, entry: Entry) -> bytes:
        """`entry` as bytes."""
        meta = entry.meta
        body = _EntryBody(
            entry.key, meta.loaded_at, meta.expires_at, dict(entry.tokens), meta.variant, entry.payload
        )
        return self._frame(b"entry", _pack(body))

    def decode_entry(self, data: bytes, key: str) -> Entry:
        """The entry of `key` in these bytes. Raises `CodecError`."""
        body = self._body(b"entry", data, _entry_body)
        if body.key != key:
            raise CodecError("an entry of another key")
        return Entry.of(
            body.key,
            loaded_at=body.loaded_at,
            expires_at=body.expires_at,
            tokens=body.tokens,
            variant=body.variant,
            payload=body.payload,
        )

    def encode_acceptance(self, accepted: Accepted) -> bytes:
        """`accepted` as bytes."""
        own = accepted.acceptance
        body = _AcceptanceBody(
            accepted.key, accepted.credential, own.accepted_at, own.expires_at, dict(accepted.tokens)
        )
        return self._frame(b"acceptance", _pack(body))

    def decode_acceptance(self, data: bytes, key: str, credential: str) -> Accepted:
        """The acceptance of `credential` for `key` in these bytes. Raises `CodecError`."""
        body = self._body(b"acceptance", data, _acceptance_body)
        if body.key != key or body.credential != credential:
            raise CodecError("an acceptance of another key or credential")
        return Accepted.of(
            key, credential, accepted_at=body.accepted_at, expires_at=body.expires_at, tokens=body.tokens
        )

    def _frame(self, kind: Kind, body: bytes) -> bytes:
        method, packed = _METHODS["none"], body
        if self._method != "none" and len(body) >= self._threshold:
            smaller = _compress(self._method, body)
            if len(smaller) < len(body):
                method, packed = _METHODS[self._method], smaller
        head = _HEAD.pack(_FORMAT, method, len(body))
        return b"".join((head, self._digest(kind, head, packed), packed))

    def _body(self, kind: Kind, data: bytes, decoder: msgspec.msgpack.Decoder[_Body]) -> _Body:
        head, start = data[: _HEAD.size], _HEAD.size + _DIGEST
        if len(data) < start:
            raise CodecError("too short")
        form, method, length = _HEAD.unpack(head)
        if form != _FORMAT:
            raise CodecError("an unknown format")
        packed = memoryview(data)[start:]
        if not hmac.compare_digest(self._digest(kind, head, packed), data[_HEAD.size : start]):
            raise CodecError("the digest does not fit")
        try:
            return decoder.decode(_decompress(method, packed, length))
        except (msgspec.MsgspecError, cramjam.DecompressionError) as error:
            raise CodecError("the body does not fit") from error

    def _digest(self, kind: Kind, head: bytes, packed: bytes | memoryview) -> bytes:
        digest = hashlib.blake2b(head, digest_size=_DIGEST, key=self._key, person=kind)
        digest.update(packed)
        return digest.digest()


def _compress(method: Compression, body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body) if method == "snappy" else cramjam.gzip.compress(body))


def _decompress(method: int, packed: memoryview, length: int) -> bytes | bytearray | memoryview:
    """The body, never more than the `length` bytes that the head announces."""
    if method == _METHODS["none"] and len(packed) == length:
        return packed
    if method not in (_METHODS["snappy"], _METHODS["gzip"]) or length > _LONGEST:
        raise CodecError("an unknown compression")
    body = bytearray(length)
    unpack = (
        cramjam.snappy.decompress_raw_into if method == _METHODS["snappy"] else cramjam.gzip.decompress_into
    )
    if unpack(packed, body) != length:
        raise CodecError("the body has another length")
    return body
