"""The application as a server imports it, described by the environment."""

from __future__ import annotations

import os

from cachewright.capture.appimport import import_app
from cachewright.integrations.install import Installed, from_environment


def build_app() -> Installed:
    """The application named by `CACHEWRIGHT_APP`, cached as `CACHEWRIGHT_SPEC` says.

    Also read: `CACHEWRIGHT_FACTORY=1`, `_REDIS_URL`, `_MODE` (`live`, `off`), `_SECRET` (any text, one per
    fleet), `_WORKERS`, `_STATS_DIR`, `_READY_DIR`, `_JOURNAL_DIR`, `_KEYS` and `_SEALING` (see
    `sealing_of`), `_ADMIN_TOKEN` (opens the administrator's door), `_ALARM_WEBHOOK` and `_ALARM_SECRET`.
    """
    return from_environment(dict(os.environ), lambda name, factory: import_app(name, factory=factory))
