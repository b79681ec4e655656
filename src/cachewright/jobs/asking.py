"""Asking a running application over its administrator's door."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cachewright.errors import SurroundingsError, UsageError

PREFIX = "/_cachewright"
_TIMEOUT = 10.0
_MOST_BYTES = 16 * 1024 * 1024


def ask(url: str, token: str | None, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the door of the application at `url` answers.

    Raises `UsageError` for what was asked wrongly, and `SurroundingsError` where it does not answer or lets nobody in.
    """
    base = url.rstrip("/")
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no http or https URL", hint="as in http://localhost:8000")
    if not base.endswith(PREFIX):
        base += PREFIX
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(dict(body)).encode(), "application/json"
    request = urllib.request.Request(f"{base}/{path}", data=data, headers=headers)  # noqa: S310 - http or https, see above
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - as above
            content = answer.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error.code, error.read(_MOST_BYTES), base) from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise SurroundingsError(
            f"{parts.hostname} does not answer: {reason}", hint="Is the application running there?"
        ) from None
    found = _object(content, base)
    if "error" in found:  # kept for a later delivery
        raise _refused(answer.status, content, base)
    return found


def _object(content: bytes, base: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SurroundingsError(f"what answers at {base} is no cachewright", hint=_DOOR)
    return found


_DOOR = "Start the application with CACHEWRIGHT_ADMIN_TOKEN set, or include its admin_router."


def _refused(status: int, content: bytes, base: str) -> SurroundingsError | UsageError:
    if status in (401, 403):
        return SurroundingsError(
            "the application does not let us in", hint="Give its token: CACHEWRIGHT_ADMIN_TOKEN."
        )
    try:
        problem = json.loads(content)["error"]
        message, hint = str(problem["message"]), problem["hint"]
    except (ValueError, KeyError, TypeError):
        return SurroundingsError(f"{base} answers with status {status}", hint=_DOOR)
    if status == 422:
        return UsageError(message, hint=hint)
    return SurroundingsError(message, hint=hint)
