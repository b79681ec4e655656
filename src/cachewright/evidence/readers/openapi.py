"""The routes that an OpenAPI document declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cachewright.errors import EvidenceError
from cachewright.evidence.trace import ParamSeen, RouteSeen

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def declared_routes(path: Path) -> tuple[RouteSeen, ...]:
    """Routes by path and method, as clients see them. Raises `EvidenceError` for what is no such document."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        told = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except OSError as error:
        raise EvidenceError(
            f"{path}: cannot be read: {error.strerror or error}", hint="Give an OpenAPI document."
        ) from error
    except (UnicodeDecodeError, YAMLError) as error:
        raise EvidenceError(
            f"{path}: neither JSON nor YAML", hint="Give an OpenAPI document, such as /openapi.json."
        ) from error
    if not isinstance(told, dict) or not isinstance(told.get("paths"), dict):
        raise EvidenceError(
            f"{path}: no OpenAPI document: it has no paths",
            hint="FastAPI serves the application's own at /openapi.json.",
        )
    return tuple(_routes(told))


def _routes(told: Mapping[str, Any]) -> Iterator[RouteSeen]:
    base = _base(told)
    number = 0
    for template, item in told["paths"].items():
        for method in _METHODS:
            operation = item.get(method) if isinstance(item, dict) else None
            if not isinstance(operation, dict):
                continue
            number += 1
            parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
            yield RouteSeen(
                number,
                method.upper(),
                f"{base}{template}",
                str(operation.get("operationId", "")),
                tuple(_params(parameters, told)),
                tuple(sorted(_credentials(operation, told))),
            )


def _base(told: Mapping[str, Any]) -> str:
    servers = told.get("servers") or [{}]
    first = servers[0] if isinstance(servers[0], dict) else {}
    return urlsplit(str(first.get("url", ""))).path.rstrip("/") or str(told.get("basePath", "")).rstrip("/")


def _resolved(item: object, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object itself, or the one of the same document that it refers to."""
    if not isinstance(item, dict):
        return {}
    reference = item.get("$ref")
    if not isinstance(reference, str):
        return item
    found: object = told
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) and "$ref" not in found else {}


def _params(items: list[Any], told: Mapping[str, Any]) -> Iterator[ParamSeen]:
    for item in items:
        param = _resolved(item, told)
        if param.get("in") in ("path", "query", "header", "cookie") and param.get("name"):
            schema = _resolved(param.get("schema", param), told)
            kind = "enum" if "enum" in schema else str(schema.get("type", "string"))
            yield ParamSeen(str(param["name"]), param["in"], kind, bool(param.get("required", False)))


def _credentials(operation: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[str]:
    """What the security schemes of an operation read."""
    schemes = _resolved(told.get("components"), told).get(
        "securitySchemes", told.get("securityDefinitions", {})
    )
    wanted = operation.get("security", told.get("security", ()))
    for name in {name for item in wanted or () if isinstance(item, dict) for name in item}:
        scheme = _resolved(schemes.get(name) if isinstance(schemes, dict) else None, told)
        if scheme.get("type") == "apiKey":
            yield f"{scheme.get('in', 'header')}:{str(scheme.get('name', '')).lower()}"
        elif scheme:
            yield "header:authorization"
