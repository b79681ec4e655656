"""OpenTelemetry spans in OTLP's JSON, one document or one on each line, with the names of old and new conventions."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cachewright.errors import EvidenceError
from cachewright.evidence.readers.files import document, documents
from cachewright.evidence.readers.visits import Query, Skipped, Visit

_SERVER = (2, "SPAN_KIND_SERVER")
_BILLION = 1_000_000_000
_METHOD = ("http.request.method", "http.method")
_STATUS = ("http.response.status_code", "http.status_code")
_SIZE = ("http.response.body.size", "http.response_content_length")
_USER = ("user.id", "enduser.id")
_TEXT = ("db.query.text", "db.statement")
_SYSTEM = ("db.system.name", "db.system")

_Span = tuple[dict[str, Any], dict[str, Any]]
"""A span, and its attributes."""


def visits(path: Path, skipped: Skipped) -> Iterator[Visit]:
    """The requests that servers' spans tell of, each with the statements below it. Raises `EvidenceError`."""
    servers: dict[str, list[_Span]] = defaultdict(list)
    queries: dict[str, list[_Span]] = defaultdict(list)
    for told in _documents(path):
        for span in _spans(told):
            attributes = _attributes(span)
            if _first(attributes, _TEXT) is not None:
                queries[str(span.get("traceId"))].append((span, attributes))
            elif span.get("kind") in _SERVER and _first(attributes, _METHOD) is not None:
                servers[str(span.get("traceId"))].append((span, attributes))
    for number, found in servers.items():
        for span, attributes in found:
            try:
                # Of a trace through several services, statements belong to no one of them for certain.
                yield _visit(span, attributes, queries[number] if len(found) == 1 else [])
            except (KeyError, TypeError, ValueError):
                skipped.add(f"{path}: span {span.get('spanId', '')!s:.16}", "no request with an answer")


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    """One document on each line, or one that is all of the file."""
    try:
        for number, line in enumerate(documents(path)):
            try:
                found = json.loads(line)
            except ValueError:
                if number:
                    raise
                found = json.loads(document(path))  # it is laid out over many lines
                yield from _told(found)
                return
            yield from _told(found)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(
            f"{path}: no OTLP JSON", hint="Give what the collector's file exporter wrote."
        ) from error


def _told(found: Any) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        yield found


def _spans(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in document.get("resourceSpans") or ():
        for scope in resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans") or ():
            yield from (span for span in scope.get("spans") or () if isinstance(span, dict))


def _attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {
        str(item.get("key")): next(iter(item["value"].values()), None)
        for item in span.get("attributes") or ()
        if isinstance(item, dict) and isinstance(item.get("value"), dict)
    }


def _first(attributes: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if name in attributes), None)


def _visit(span: dict[str, Any], attributes: dict[str, Any], queries: list[_Span]) -> Visit:
    began, ended = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    target = _first(attributes, ("http.target", "http.url", "url.full"))
    if "url.path" in attributes:
        target = f"{attributes['url.path']}?{attributes.get('url.query', '')}".rstrip("?")
    user = _first(attributes, _USER)
    route = attributes.get("http.route")
    return Visit(
        at=began / _BILLION,
        method=str(_first(attributes, _METHOD)),
        target=str(target if target is not None else attributes["http.route"]),
        status=int(_first(attributes, _STATUS)),
        size=int(_first(attributes, _SIZE) or 0),
        seconds=max(0, ended - began) / _BILLION,
        who=None if user is None else str(user),
        certain=user is not None,
        route=None if route is None else str(route),
        queries=tuple(
            Query(
                str(_first(told, _TEXT)),
                str(_first(told, _SYSTEM) or ""),
                (int(query["startTimeUnixNano"]) - began) / _BILLION,
                (int(query["endTimeUnixNano"]) - int(query["startTimeUnixNano"])) / _BILLION,
            )
            for query, told in queries
        ),
    )
