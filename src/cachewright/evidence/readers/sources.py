"""Which reader a file takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from cachewright.evidence.readers import access_log, har, otlp
from cachewright.evidence.readers.files import opened
from cachewright.evidence.readers.visits import Skipped, Visit

_HEAD = 4096


def visits_of(paths: Iterable[Path], format_name: str | None, skipped: Skipped) -> Iterator[Visit]:
    """The requests of all files; `format_name` None finds the format of each. Raises `EvidenceError`."""
    for path in paths:
        match format_name or _document(path):
            case "har":
                yield from har.visits(path, skipped)
            case "otlp":
                yield from otlp.visits(path, skipped)
            case log:
                yield from access_log.visits([path], log, skipped)


def _document(path: Path) -> str | None:
    """The format of a file that is one JSON document; None where it is read line by line."""
    with opened(path) as file:
        head = file.read(_HEAD).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"{") and b'"resourceSpans"' in head:
        return "otlp"
    return "har" if _is_har(head) else None


def _is_har(head: bytes) -> bool:
    return head.startswith(b"{") and b'"log"' in head and b'"request"' not in head.partition(b'"log"')[0]
