"""cachewright: design a cache from evidence, prove the design, and run it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cachewright.errors import (
        CachewrightError,
        CodecError,
        InvalidationPendingError,
        IsolationError,
        OverloadedError,
        SpecError,
        StoreUnavailableError,
        UsageError,
        ValueRefusedError,
    )
    from cachewright.integrations.admin import admin_router
    from cachewright.integrations.inside import cached, cached_response
    from cachewright.integrations.install import install
    from cachewright.integrations.watching import Watching, watch
    from cachewright.runtime.api import Cache
    from cachewright.runtime.blocking import BlockingCache
    from cachewright.runtime.entries import Entries
    from cachewright.runtime.figures import CacheStats, Health
    from cachewright.runtime.missing import MISSING, Missing
    from cachewright.runtime.naming import key
    from cachewright.runtime.options import LoadOptions
    from cachewright.runtime.principal import Principal, current_principal, principal
    from cachewright.runtime.settings import Settings
    from cachewright.spec.document import load_spec

#: Public names and where they live. They are imported on first use, so that `import cachewright` stays cheap.
_HOMES = {
    "MISSING": "cachewright.runtime.missing",
    "BlockingCache": "cachewright.runtime.blocking",
    "Cache": "cachewright.runtime.api",
    "CacheStats": "cachewright.runtime.figures",
    "CachewrightError": "cachewright.errors",
    "CodecError": "cachewright.errors",
    "Entries": "cachewright.runtime.entries",
    "Health": "cachewright.runtime.figures",
    "InvalidationPendingError": "cachewright.errors",
    "IsolationError": "cachewright.errors",
    "LoadOptions": "cachewright.runtime.options",
    "Missing": "cachewright.runtime.missing",
    "OverloadedError": "cachewright.errors",
    "Principal": "cachewright.runtime.principal",
    "Settings": "cachewright.runtime.settings",
    "SpecError": "cachewright.errors",
    "StoreUnavailableError": "cachewright.errors",
    "UsageError": "cachewright.errors",
    "Watching": "cachewright.integrations.watching",
    "ValueRefusedError": "cachewright.errors",
    "admin_router": "cachewright.integrations.admin",
    "cached": "cachewright.integrations.inside",
    "cached_response": "cachewright.integrations.inside",
    "current_principal": "cachewright.runtime.principal",
    "install": "cachewright.integrations.install",
    "key": "cachewright.runtime.naming",
    "load_spec": "cachewright.spec.document",
    "principal": "cachewright.runtime.principal",
    "watch": "cachewright.integrations.watching",
}

__all__ = [
    "MISSING",
    "BlockingCache",
    "Cache",
    "CacheStats",
    "CachewrightError",
    "CodecError",
    "Entries",
    "Health",
    "InvalidationPendingError",
    "IsolationError",
    "LoadOptions",
    "Missing",
    "OverloadedError",
    "Principal",
    "Settings",
    "SpecError",
    "StoreUnavailableError",
    "UsageError",
    "ValueRefusedError",
    "Watching",
    "admin_router",
    "cached",
    "cached_response",
    "current_principal",
    "install",
    "key",
    "load_spec",
    "principal",
    "watch",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *_HOMES))
