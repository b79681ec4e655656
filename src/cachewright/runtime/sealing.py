"""How stored bytes are protected. The algorithm is fixed by configuration: bytes sealed otherwise are a miss.

Nothing in the bytes chooses how they are checked, beyond which of the configured keys it was: there is nothing
to downgrade to. Keys rotate: the first signs, all of them are accepted.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Literal, Protocol

import msgspec

from cachewright.errors import CodecError, SealingError, SurroundingsError
from cachewright.runtime.settings import Sealing, SealingKey

Kind = Literal[b"entry", b"acceptance"]
Buffer = bytes | bytearray | memoryview

_ID = re.compile(r"[A-Za-z0-9_-]{1,16}")
_SECRET = range(32, 65)

_pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode


class Seal(Protocol):
    """Protects the body of a frame and binds it to its head and to what it is for.

    `kind` and `names` (a key, a key and a credential) say what it is for.
    """

    @property
    def format(self) -> int:
        """The number that frames under this seal begin with."""

    def close(self, head: bytes, kind: Kind, names: Sequence[str], body: bytes) -> bytes:
        """What follows `head`."""

    def open(self, head: bytes, kind: Kind, names: Sequence[str], data: memoryview) -> Buffer:
        """The body in what follows `head`. Raises `CodecError`."""


def seal_for(namespace: str, sealing: Sealing, keys: Sequence[SealingKey], secret: bytes) -> Seal:
    """The seal of a namespace; `secret` keys the digest of `checksum`, where it is not empty.

    Raises `SealingError` for keys that cannot be used, `SurroundingsError` where `aead` lacks its package.
    """
    _check(sealing, keys)
    if sealing == "checksum":
        return Checksum(namespace, secret)
    return Hmac(namespace, keys) if sealing == "hmac" else Aead(namespace, keys)


def sealing_of(environ: Mapping[str, str]) -> tuple[Sealing, tuple[SealingKey, ...]]:
    """What `CACHEWRIGHT_SEALING` and `CACHEWRIGHT_KEYS` say, found usable. Raises as `seal_for` does."""
    keys = parse_keys(environ.get("CACHEWRIGHT_KEYS", ""))
    sealing = sealing_named(environ.get("CACHEWRIGHT_SEALING"), keys)
    seal_for("", sealing, keys, b"")
    return sealing, keys


def parse_keys(text: str) -> tuple[SealingKey, ...]:
    """The keys in `id:hex,id:hex`, the signing one first. Raises `SealingError`, which shows none of them."""
    keys = []
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        name, _, digits = part.partition(":")
        try:
            keys.append(SealingKey(name, bytes.fromhex(digits)))
        except ValueError:
            raise SealingError(
                f"sealing key {number} is not of the form id:hex",
                hint="Make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
            ) from None
    _check_keys(keys)
    return tuple(keys)


def sealing_named(name: str | None, keys: Sequence[SealingKey]) -> Sealing:
    """The sealing of that name; without one it is `hmac` where there are keys. Raises `SealingError`."""
    match name or ("hmac" if keys else "checksum"):
        case ("checksum" | "hmac" | "aead") as known:
            return known
        case unknown:
            raise SealingError(f"there is no sealing {unknown!r}", hint="Choose checksum, hmac or aead.")


def _check(sealing: Sealing, keys: Sequence[SealingKey]) -> None:
    if sealing_named(sealing, keys) == "checksum" and keys:
        raise SealingError("there are keys, and a sealing that uses none", hint="Choose hmac or aead.")
    if sealing != "checksum" and not keys:
        raise SealingError(
            f"the sealing {sealing} needs a key", hint="Give one of 32 random bytes, with an id."
        )
    _check_keys(keys)


def _check_keys(keys: Sequence[SealingKey]) -> None:
    for number, key in enumerate(keys, start=1):
        if _ID.fullmatch(key.id) is None:
            raise SealingError(
                f"sealing key {number} has no usable id",
                hint="1 to 16 letters, digits, - or _, before the colon.",
            )
        if len(key.secret) not in _SECRET:
            raise SealingError(
                f"sealing key {key.id} has {len(key.secret)} bytes", hint="Give 32 to 64 random ones."
            )
    if len({key.id for key in keys}) < len(keys):
        raise SealingError("two sealing keys have the same id", hint="Give every key an id of its own.")


class Checksum:
    """A digest against damage; keyed by `secret`, where there is one, and by the namespace always."""

    format: Final = 1
    _SIZE = 16

    def __init__(self, namespace: str, secret: bytes) -> None:
        self._key = blake2b(secret + b"\0" + namespace.encode(), digest_size=32).digest()

    def close(self, head: bytes, kind: Kind, names: Sequence[str], body: bytes) -> bytes:  # noqa: ARG002 - names stand in the body
        """See `Seal.close`."""
        return self._digest(head, kind, body) + body

    def open(self, head: bytes, kind: Kind, names: Sequence[str], data: memoryview) -> Buffer:  # noqa: ARG002 - as above
        """See `Seal.open`."""
        body = data[self._SIZE :]
        if not hmac.compare_digest(self._digest(head, kind, body), data[: self._SIZE]):
            raise CodecError("the digest does not fit")
        return body

    def _digest(self, head: bytes, kind: Kind, body: Buffer) -> bytes:
        digest = blake2b(head, digest_size=self._SIZE, key=self._key, person=kind)
        digest.update(body)
        return digest.digest()


class Hmac:
    """HMAC-SHA-256 (RFC 2104): nobody without a key can make an entry or move one to another key."""

    format: Final = 2
    _SIZE = 32

    def __init__(self, namespace: str, keys: Sequence[SealingKey]) -> None:
        self._namespace = namespace
        self._keys = {_tagged(key): _derived(key.secret, b"cachewright-hmac") for key in keys}
        self._first = _tagged(keys[0])

    def close(self, head: bytes, kind: Kind, names: Sequence[str], body: bytes) -> bytes:
        """See `Seal.close`."""
        about = _about(self._namespace, kind, names, head + self._first)
        return b"".join((self._first, hmac.digest(self._keys[self._first], about + body, "sha256"), body))

    def open(self, head: bytes, kind: Kind, names: Sequence[str], data: memoryview) -> Buffer:
        """See `Seal.open`."""
        name, secret, rest = _key_of(data, self._keys)
        body = rest[self._SIZE :]
        signed = b"".join((_about(self._namespace, kind, names, head + name), body))
        if not hmac.compare_digest(hmac.digest(secret, signed, "sha256"), rest[: self._SIZE]):
            raise CodecError("the signature does not fit")
        return body


class Aead:
    """AES-256-GCM (NIST SP 800-38D): as `Hmac`, and nobody without a key can read an entry.

    Random nonces of 96 bits limit a key to 2^32 messages, which a busy fleet writes within days. So each message
    has a key of its own, derived from 128 random bits of it; the other 96 are its nonce.
    """

    format: Final = 3
    _SALT, _NONCE = 16, 12

    def __init__(self, namespace: str, keys: Sequence[SealingKey]) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise SurroundingsError(
                "cryptography is not installed", hint="pip install 'cachewright[crypto]'"
            ) from error
        self._cipher, self._invalid = AESGCM, InvalidTag
        self._namespace = namespace
        self._keys = {_tagged(key): _derived(key.secret, b"cachewright-aead") for key in keys}
        self._first = _tagged(keys[0])

    def close(self, head: bytes, kind: Kind, names: Sequence[str], body: bytes) -> bytes:
        """See `Seal.close`."""
        chance = os.urandom(self._SALT + self._NONCE)
        about = _about(self._namespace, kind, names, head + self._first)
        cipher = self._cipher(_derived(self._keys[self._first], b"message", chance[: self._SALT]))
        return b"".join((self._first, chance, cipher.encrypt(chance[self._SALT :], body, about)))

    def open(self, head: bytes, kind: Kind, names: Sequence[str], data: memoryview) -> Buffer:
        """See `Seal.open`."""
        name, secret, rest = _key_of(data, self._keys)
        begin = self._SALT + self._NONCE
        chance = bytes(rest[:begin])
        if len(chance) < begin:
            raise CodecError("too short")
        about = _about(self._namespace, kind, names, head + name)
        cipher = self._cipher(_derived(secret, b"message", chance[: self._SALT]))
        try:
            return cipher.decrypt(chance[self._SALT :], rest[begin:], about)
        except self._invalid as error:
            raise CodecError("the seal does not fit") from error


def _about(namespace: str, kind: Kind, names: Sequence[str], head: bytes) -> bytes:
    """What is authenticated besides the body; MessagePack, so that no two subjects read the same."""
    return _pack((namespace, kind, names, head))


def _derived(secret: bytes, purpose: bytes, salt: bytes = b"") -> bytes:
    return blake2b(salt, key=secret, person=purpose, digest_size=32).digest()


def _tagged(key: SealingKey) -> bytes:
    """The id of a key as it stands in a frame, its length first."""
    name = key.id.encode()
    return bytes((len(name),)) + name


def _key_of(data: memoryview, keys: Mapping[bytes, bytes]) -> tuple[bytes, bytes, memoryview]:
    """The id that `data` begins with, its secret, and the rest."""
    end = 1 + data[0] if data else 0
    name = bytes(data[:end])
    secret = keys.get(name)
    if secret is None:
        raise CodecError("sealed with a key that is not ours")
    return name, secret, data[end:]
