"""Where alarms go: the log, a webhook, a function of the application."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from cachewright.errors import UsageError

#: The body's HMAC-SHA256 as hex, behind `sha256=`; absent where no secret is known.
SIGNATURE = "X-Cachewright-Signature"
_TIMEOUT = 5.0
_WAITS = (1.0, 5.0, 25.0)
_log = logging.getLogger("cachewright")

Alarm = Mapping[str, Any]


class Sink(Protocol):
    """Takes alarms. What it raises is logged and goes no further."""

    async def __call__(self, alarm: Alarm) -> None:
        """Take one alarm: its `name`, `state`, `severity`, `value`, `threshold`, `unit`, and the `runbook` to read."""


def figure(value: float, unit: str) -> str:
    """A figure of an alarm as people read it."""
    if unit == "share":
        return f"{value * 100:.4g} %"
    return f"{value:.4g} {unit}".strip()


async def to_log(alarm: Alarm) -> None:
    """Write the alarm to the log: an error where it is critical, a warning where it is not."""
    raised = alarm["state"] == "raised"
    level = (
        logging.INFO if not raised else logging.ERROR if alarm["severity"] == "critical" else logging.WARNING
    )
    _log.log(
        level,
        "alarm %s %s: %s (threshold %s); see %s",
        alarm["name"],
        alarm["state"],
        figure(alarm["value"], alarm["unit"]),
        figure(alarm["threshold"], alarm["unit"]),
        alarm["runbook"],
    )


class Webhook:
    """Posts alarms as JSON to `url`, signed with `secret`; one that fails is repeated after a while.

    Receivers compare the signature with their own HMAC-SHA256 of the body, in constant time. Raises `UsageError`
    for a URL that is not of http or https. `sleep` waits (s).
    """

    def __init__(
        self, url: str, secret: bytes = b"", *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UsageError(
                "the alarm webhook is no http or https URL", hint="as in https://ops.example/alarms"
            )
        self._url = url
        self._secret = secret
        self._sleep = sleep

    async def __call__(self, alarm: Alarm) -> None:
        """Post one alarm. What fails for good is logged, without the URL: it may hold a token."""
        body = json.dumps(dict(alarm)).encode()
        for wait in (*_WAITS, None):
            failure = await asyncio.to_thread(self._post, body)
            if failure is None:
                return
            if wait is None:
                _log.error("the alarm %s did not reach the webhook: %s", alarm["name"], failure)
                return
            await self._sleep(wait)

    def _post(self, body: bytes) -> str | None:
        headers = {"Content-Type": "application/json", "User-Agent": "cachewright"}
        if self._secret:
            headers[SIGNATURE] = f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}"
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310 - http or https, see __init__
        try:
            with _DIRECT.open(request, timeout=_TIMEOUT):
                return None
        except urllib.error.HTTPError as error:
            error.close()
            return f"status {error.code}"
        except OSError as error:
            return type(error).__name__


class _Stay(urllib.request.HTTPRedirectHandler):
    """Alarms go where they were sent: a redirect would take them, and their signature, elsewhere."""

    def redirect_request(self, *_args: Any) -> None:
        return None


_DIRECT = urllib.request.build_opener(_Stay)


def calling(function: Callable[[Alarm], Any]) -> Sink:
    """A sink that calls `function`, which may be `async`."""

    async def call(alarm: Alarm) -> None:
        result = function(alarm)
        if asyncio.iscoroutine(result):
            await result

    return call
