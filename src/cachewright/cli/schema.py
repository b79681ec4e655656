"""`cachewright schema`: the JSON Schema of a specification."""

from __future__ import annotations

EXAMPLE = "cachewright schema > caching.schema.json"


def schema() -> None:
    """Write the JSON Schema of a specification on stdout, for editors and other programs."""
    from cachewright.cli.output import write_json
    from cachewright.spec.schema import json_schema

    write_json(json_schema())
