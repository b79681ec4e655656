"""cachewright: design a cache from evidence, prove the design, and run it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: Public names and where they live. They are imported on first use, so that `import cachewright` stays cheap.
_HOMES = {
    "CachewrightError": "cachewright.errors",
    "SpecError": "cachewright.errors",
    "install": "cachewright.integrations.install",
    "load_spec": "cachewright.spec.document",
}

__all__ = ["CachewrightError", "SpecError", "install", "load_spec"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *_HOMES))
