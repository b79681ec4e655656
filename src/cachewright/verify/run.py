"""Putting an application behind its twin."""

from __future__ import annotations

import dataclasses
from typing import Any

from cachewright.capture.appimport import root_of
from cachewright.integrations.install import Installed
from cachewright.integrations.parts import Outcome
from cachewright.integrations.surroundings import Surroundings
from cachewright.runtime.questions import LookupRequest
from cachewright.spec.document import Document
from cachewright.verify.twin import Twin


def build_twin(app: Any, document: Document, surroundings: Surroundings) -> Twin:
    """`app`, cached as `document` says taken at its word, behind a twin that compares every cached answer."""
    installed = Installed(app, document, dataclasses.replace(surroundings, at_its_word=True))

    async def still_current(outcome: Outcome) -> bool:
        cache = installed.cache
        if cache is None:
            return False
        now = await cache.lookup(
            LookupRequest(target=outcome.target, key=outcome.key, tags=tuple(outcome.tokens))
        )
        return dict(now.seen.tokens) == outcome.tokens

    root_path = str(getattr(root_of(app), "root_path", "") or "")
    targets = installed.plan.targets.values() if installed.plan is not None else ()
    return Twin(installed, targets, still_current, root_path=root_path)
