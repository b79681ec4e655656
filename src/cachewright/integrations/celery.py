"""Warming and invalidation as Celery tasks: a beat or another service asks the application over its own door."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cachewright.integrations.admin import PREFIX

if TYPE_CHECKING:
    from celery import Celery

_TIMEOUT = 10.0
_RETRIES = 5


def register(app: Celery, url: str, token: str) -> None:
    """Give `app` the tasks `cachewright.warm(job=None)` and `cachewright.invalidate(**subject)`.

    They post to the administrator's door of the application at `url`, and are tried again, later and later, while that
    does not answer. The token stays in the worker: no message holds it.
    """

    def posting(name: str, path: str) -> None:
        @app.task(  # type: ignore[untyped-decorator] # Celery ships no types
            name=name, autoretry_for=(OSError,), retry_backoff=True, max_retries=_RETRIES, acks_late=True
        )
        def post(**asked: Any) -> Any:
            return _post(f"{url.rstrip('/')}{PREFIX}/{path}", token, asked)

    posting("cachewright.warm", "warm")
    posting("cachewright.invalidate", "invalidate")


def _post(url: str, token: str, asked: Mapping[str, Any]) -> Any:
    body = json.dumps({name: value for name, value in asked.items() if value is not None}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - the operator's own URL
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - as above
        return json.loads(answer.read())
