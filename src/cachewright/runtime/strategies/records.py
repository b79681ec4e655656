"""Records of accepted writes, as bytes that survive a crash: framed, checksummed, found again after damage."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

_MAGIC = b"\xc4Wb\x01"
_HEAD = struct.Struct("<4sII")
_LARGEST = 256 * 1024 * 1024


class Write(msgspec.Struct, frozen=True, array_like=True, tag="w"):
    """An accepted write: the text that orders it (`name`), its key as the application's and its value, encoded.

    `payload` is None for a deletion. Of two writes of a name the one with the higher `version` holds.
    """

    name: str
    version: int
    key: bytes
    payload: bytes | None


class Done(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """Writes of `name` up to `version` are in the database, or were refused there for a newer one."""

    name: str
    version: int


Record = Write | Done

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no record: the torn end of a file whose writer was killed, or worse (`tail` is false)."""

    size: int
    tail: bool


def pack(record: Record) -> bytes:
    """A record as it stands in a Redis hash: without a frame, since that stores all of it or nothing."""
    return _encoder.encode(record)


def unpack(data: bytes) -> Record | None:
    """The record that `pack` made these bytes from; None where they are none."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def frame(record: Record) -> bytes:
    """A record as it stands in a file: magic, length, CRC-32, body."""
    body = pack(record)
    return _HEAD.pack(_MAGIC, len(body), zlib.crc32(body)) + body


def read(data: bytes) -> Iterator[Record | Damage]:
    """Every record in `data`, in order, with the damage between them.

    A record that is torn or changed costs itself alone: what follows was acknowledged, too, so reading goes
    on at the next frame.
    """
    at = 0
    while at < len(data):
        found = _record(data, at)
        if found is not None:
            record, at = found
            yield record
            continue
        following = _next(data, at + 1)
        yield Damage(following - at, tail=following == len(data))
        at = following


def _record(data: bytes, at: int) -> tuple[Record, int] | None:
    if len(data) - at < _HEAD.size:
        return None
    magic, size, checksum = _HEAD.unpack_from(data, at)
    start, end = at + _HEAD.size, at + _HEAD.size + size
    if magic != _MAGIC or size > _LARGEST or end > len(data):
        return None
    body = data[start:end]
    record = unpack(body) if zlib.crc32(body) == checksum else None
    return None if record is None else (record, end)


def _next(data: bytes, at: int) -> int:
    while (at := data.find(_MAGIC, at)) >= 0:
        if _record(data, at) is not None:
            return at
        at += 1
    return len(data)


def remaining(records: Iterator[Record | Damage]) -> tuple[dict[str, Write], list[Damage]]:
    """The newest write of each name that is not done yet, and the damage."""
    left: dict[str, Write] = {}
    done: dict[str, int] = {}
    damage: list[Damage] = []
    for record in records:
        match record:
            case Write(name, version):
                newer = name not in left or version > left[name].version
                if newer and version > done.get(name, 0):
                    left[name] = record
            case Done(name, version):
                done[name] = max(version, done.get(name, 0))
                if name in left and left[name].version <= version:
                    del left[name]
            case Damage():
                damage.append(record)
    return left, damage
