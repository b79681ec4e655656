"""Files as text, line by line, whatever they are packed in."""

from __future__ import annotations

import gzip
import io
import mmap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from cachewright.errors import EvidenceError

_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
#: Longer lines are no requests.
LONGEST_LINE = 65_536
#: Zstandard is unpacked in memory, at most so many bytes of it; plain text and gzip are read as they come.
MOST_UNPACKED = 512 << 20
#: One JSON document of a file; in memory it takes several times as much.
MOST_AT_ONCE = 128 << 20


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if it is gzip or Zstandard by its first bytes. Raises `EvidenceError`."""
    try:
        with path.open("rb") as file:
            first = file.read(4)
            file.seek(0)
            yield _unpacked(file, first)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EvidenceError(
            f"{path}: cannot be read: {reason}",
            hint="Give a log that exists: as text, or packed with gzip or Zstandard.",
        ) from error


def _unpacked(file: IO[bytes], first: bytes) -> IO[bytes]:
    if first.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if first == _ZSTANDARD:
        import cramjam

        room = mmap.mmap(-1, MOST_UNPACKED)  # what is never written to takes no memory
        try:
            return io.BytesIO(memoryview(room)[: cramjam.zstd.decompress_into(file.read(), room)])
        except cramjam.DecompressionError as error:
            most = f"{MOST_UNPACKED >> 20} MB"
            raise OSError(
                f"damaged Zstandard data, or more than {most} of it: unpack it first ({error})"
            ) from error
    return file


def document(path: Path) -> bytes:
    """All of a file that has to be read at once, within bounds whatever it unpacks to. Raises `EvidenceError`."""
    with opened(path) as file:
        found = file.read(MOST_AT_ONCE + 1)
    if len(found) > MOST_AT_ONCE:
        raise EvidenceError(
            f"{path}: more than {MOST_AT_ONCE >> 20} MB in one document",
            hint="Save less at once, or spans as one document on each line.",
        )
    return found


def documents(path: Path) -> Iterator[bytes]:
    """The lines of a file, each of which is a document of its own within the same bounds. Raises `EvidenceError`."""
    with opened(path) as file:
        while raw := file.readline(MOST_AT_ONCE + 1):
            if len(raw) > MOST_AT_ONCE:
                raise EvidenceError(
                    f"{path}: more than {MOST_AT_ONCE >> 20} MB in one line", hint="Save less at once."
                )
            if raw.strip():
                yield raw


def lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Each line with its number (from 1); None where it is too long to be a request."""
    with opened(path) as file:
        number = 0
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) <= LONGEST_LINE:
                yield number, raw.decode("utf-8", "replace").rstrip("\r\n")
                continue
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LONGEST_LINE + 1)
            yield number, None
