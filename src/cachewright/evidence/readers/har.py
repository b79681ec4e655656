"""HAR files (HTTP Archive 1.2), as browsers and proxies save them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from cachewright.errors import EvidenceError
from cachewright.evidence.readers.access_log import directives
from cachewright.evidence.readers.files import document
from cachewright.evidence.readers.visits import Skipped, Visit

_CREDENTIALS = ("authorization", "cookie", "x-api-key", "api-key", "x-auth-token")


def visits(path: Path, skipped: Skipped) -> Iterator[Visit]:
    """The requests of one archive. Raises `EvidenceError` for a file that is none."""
    try:
        entries = list(json.loads(document(path))["log"]["entries"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EvidenceError(
            f"{path}: no HAR file", hint="Save one from the network view of a browser's developer tools."
        ) from error
    for number, entry in enumerate(entries, start=1):
        try:
            yield _visit(entry)
        except (KeyError, TypeError, ValueError, AttributeError):
            skipped.add(f"{path}: entry {number}", "no request with an answer")


def _visit(entry: dict[str, Any]) -> Visit:
    request, response = entry["request"], entry["response"]
    asked = {header["name"].lower(): str(header["value"]) for header in request.get("headers", ())}
    answered = {header["name"].lower(): str(header["value"]) for header in response.get("headers", ())}
    content = response.get("content", {})
    status = int(response["status"])
    if not status:
        raise ValueError("the request was never answered")
    body = _body(content)
    who = "\0".join(f"{name}={asked[name]}" for name in _CREDENTIALS if name in asked)
    return Visit(
        at=datetime.fromisoformat(entry["startedDateTime"]).timestamp(),
        method=str(request["method"]).upper(),
        target=str(request["url"]),
        status=status,
        size=len(body) if body is not None else max(0, int(content.get("size", 0))),
        seconds=max(0.0, float(entry["time"])) / 1000,
        who=who or None,
        certain=True,
        digest=body,
        set_cookie="set-cookie" in answered,
        cache_control=directives(answered.get("cache-control", "")),
    )


def _body(content: dict[str, Any]) -> bytes | None:
    text = content.get("text")
    if text is None:
        return None
    if content.get("encoding") != "base64":
        return str(text).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return None
