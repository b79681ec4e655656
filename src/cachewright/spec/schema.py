"""The JSON Schema of a specification: 2020-12, with our own fields marked (C70)."""

from __future__ import annotations

from typing import Any

from cachewright.spec.model import ROOT, SCHEMA_VERSION, CachingSpecification

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_ID = f"urn:cachewright:schema:{ROOT}:{SCHEMA_VERSION}"

_ONE_KIND = [
    {"required": [kind], "properties": {kind: {"type": "string"}}}
    for kind in ("endpoint", "database_query", "computed_data")
]


def json_schema() -> dict[str, Any]:
    """The schema of a whole document. Fields that the request does not have bear `"x-extension": true`."""
    inner = CachingSpecification.model_json_schema(ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = inner.pop("$defs")
    definitions["CacheTarget"]["oneOf"] = _ONE_KIND
    definitions["CachingSpecification"] = inner
    return {
        "$schema": DIALECT,
        "$id": SCHEMA_ID,
        "title": "Caching specification",
        "description": "What to cache and how, as designed, checked, simulated and served by cachewright.",
        "type": "object",
        "properties": {ROOT: {"$ref": "#/$defs/CachingSpecification"}},
        "required": [ROOT],
        "additionalProperties": False,
        "$defs": definitions,
    }
