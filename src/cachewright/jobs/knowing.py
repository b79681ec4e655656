"""What an application and its OpenAPI document tell of themselves, for the checks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cachewright.checks import Known
from cachewright.checks.openapi import api_routes
from cachewright.errors import UsageError

_MOST_BYTES = 16 * 1024 * 1024


def known_of(app: str | None, *, factory: bool, openapi: Path | None) -> Known:
    """What the application that is named, and an OpenAPI document, tell. Raises `ApplicationError`."""
    described = None if openapi is None else api_routes(_read_document(openapi))
    if app is None:
        return Known(api=described)
    from cachewright.capture.appimport import import_app, root_of
    from cachewright.capture.routes import walk

    root = root_of(import_app(app, factory=factory))
    if described is None and callable(describe := getattr(root, "openapi", None)):
        described = api_routes(_described(describe))
    return Known(routes=walk(root), api=described, tables=_declared_tables())


def _described(describe: Callable[[], Any]) -> dict[str, Any]:
    """The application's own OpenAPI document, with paths as its router has them; empty where it cannot be made."""
    try:
        return {**describe(), "servers": []}
    except Exception:  # noqa: BLE001 - a model that has no JSON Schema must not end the check
        return {"paths": {}}


def _declared_tables() -> dict[str, tuple[str, ...]] | None:
    """The tables of the application, where it maps any."""
    if "sqlalchemy.orm" not in sys.modules:
        return None
    from cachewright.capture.metadata import declared_tables

    return declared_tables().columns or None


def _read_document(path: Path) -> Any:
    if path.stat().st_size > _MOST_BYTES:
        raise UsageError(f"{path}: more than {_MOST_BYTES:,} bytes", hint="give an OpenAPI document")
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if text.lstrip().startswith("{") else YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{path}: not JSON or YAML: {first}", hint="give an OpenAPI document") from None
