"""Which reader a file takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from cachewright.evidence.readers import access_log, har
from cachewright.evidence.readers.files import opened
from cachewright.evidence.readers.visits import Skipped, Visit

_HEAD = 4096


def visits_of(paths: Iterable[Path], format_name: str | None, skipped: Skipped) -> Iterator[Visit]:
    """The requests of all files; `format_name` None finds the format of each. Raises `EvidenceError`."""
    for path in paths:
        if format_name == "har" or (format_name is None and _is_har(path)):
            yield from har.visits(path, skipped)
        else:
            yield from access_log.visits([path], format_name, skipped)


def _is_har(path: Path) -> bool:
    with opened(path) as file:
        head = file.read(_HEAD).lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"{") and b'"log"' in head and b'"request"' not in head.partition(b'"log"')[0]
