"""Documents with a structure: OpenAPI 3.x, `api_specification`, `database_schema`. Whatever is missing is skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from cachewright.evidence.trace import ForeignKey
from cachewright.request.backend import Backend, Endpoint, Parameter, Table
from cachewright.request.logic import moves, notifications, task_logic
from cachewright.spec.sensitive import secret_words

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_DEEPEST = 12
_TABLE_WORDS = ("table", "table_name", "entity", "model")


def from_content(content: Any, source: str) -> Backend | None:
    """What a document says, None where it is none of these."""
    if not isinstance(content, Mapping):
        return None
    for root, understand in _ROOTS.items():
        if root in content:
            return understand(content[root], source)
    for member, kind, whole in _MEMBERS:
        if isinstance(content.get(member), kind):
            return whole(content, source)
    return None


def _openapi(document: Mapping[str, Any], source: str) -> Backend:
    base = _base_path(document)
    secured = bool(document.get("security"))
    endpoints = []
    for path, item in _items(document.get("paths")):
        if not isinstance(item, Mapping):
            continue
        shared = [_resolved(document, one) for one in _list(item.get("parameters"))]
        for method in METHODS:
            operation = item.get(method)
            if isinstance(operation, Mapping):
                own = [_resolved(document, one) for one in _list(operation.get("parameters"))]
                answers = list(_answers(document, operation))
                endpoints.append(
                    Endpoint(
                        method.upper(),
                        base + str(path),
                        tuple(_parameters([*shared, *own])),
                        secured=bool(operation["security"]) if "security" in operation else secured,
                        secrets=_secrets(answers),
                        moving=_moving(answers),
                        source=source,
                    )
                )
    return Backend(tuple(endpoints), sources=(source,))


def _base_path(document: Mapping[str, Any]) -> str:
    """The path of the first server where it is relative: an absolute one is often only an example."""
    servers = _list(document.get("servers"))
    url = str(servers[0].get("url", "")) if servers and isinstance(servers[0], Mapping) else ""
    return url.rstrip("/") if url.startswith("/") else ""


def _parameters(found: Sequence[Any]) -> Iterator[Parameter]:
    known: set[tuple[str, str]] = set()
    for one in reversed(found):
        if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
            continue
        where = str(one.get("in", "query"))
        if (one["name"], where) not in known and where in ("path", "query", "header", "cookie"):
            known.add((one["name"], where))
            schema = one.get("schema")
            values = schema.get("enum") if isinstance(schema, Mapping) else one.get("enum")
            yield Parameter(one["name"], where, len(values) if isinstance(values, list) else None)


def _answers(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas of successful answers."""
    for status, answer in _items(operation.get("responses")):
        if str(status).startswith("2"):
            content = _resolved(document, answer)
            for _, media in _items(content.get("content") if isinstance(content, Mapping) else None):
                if isinstance(media, Mapping):
                    yield _expanded(document, media.get("schema"), 0)


def _expanded(document: Mapping[str, Any], schema: Any, depth: int) -> Any:
    """A schema with its references followed, as deep as answers usually are."""
    schema = _resolved(document, schema)
    if depth >= _DEEPEST:
        return None
    if isinstance(schema, Mapping):
        return {key: _expanded(document, value, depth + 1) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_expanded(document, value, depth + 1) for value in schema[:100]]
    return schema


def _resolved(document: Mapping[str, Any], value: Any) -> Any:
    """What a local `$ref` leads to."""
    for _ in range(_DEEPEST):
        if not isinstance(value, Mapping) or not isinstance(value.get("$ref"), str):
            return value
        found: Any = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found.get(part) if isinstance(found, Mapping) else None
        value = found
    return None


def _secrets(schemas: Iterable[Any]) -> tuple[str, ...]:
    """Names of members that are secrets."""
    return tuple(dict.fromkeys(name for name in _members(schemas) if secret_words(name)))


def _moving(schemas: Iterable[Any]) -> tuple[str, ...]:
    """Names of members that change with the clock."""
    return tuple(dict.fromkeys(name for name in _members(schemas) if moves(name)))


def _members(schemas: Iterable[Any]) -> Iterator[str]:
    """Names of all members, at any depth."""
    for schema in schemas:
        if not isinstance(schema, Mapping):
            continue
        properties = schema.get("properties")
        named = _items(properties) if isinstance(properties, Mapping) else _named(properties)
        for name, inner in named:
            yield str(name)
            yield from _members([inner])
        yield from _members([schema.get("items"), schema.get("schema")])
        yield from _members([one for key in ("allOf", "anyOf", "oneOf") for one in _list(schema.get(key))])


def _named(properties: Any) -> Iterator[tuple[str, Any]]:
    """Properties that are a list of mappings with a `name`."""
    return (
        (one["name"], one)
        for one in _list(properties)
        if isinstance(one, Mapping) and isinstance(one.get("name"), str)
    )


def _api_specification(document: Any, source: str) -> Backend:
    if isinstance(document, list):
        document = {"endpoints": document}
    if not isinstance(document, Mapping):
        return Backend(warnings=(f"{source}: no endpoints were found.",))
    meta = document.get("meta")
    base = str(meta.get("base_path") or "") if isinstance(meta, Mapping) else ""
    endpoints = tuple(
        _endpoint(one, base, source)
        for one in _list(document.get("endpoints"))
        if isinstance(one, Mapping) and isinstance(one.get("path"), str)
    )
    inner = document.get("openapi_spec")
    if not endpoints and isinstance(inner, Mapping) and "paths" in inner:
        return _openapi(inner, source)
    return Backend(endpoints, sources=(source,))


def _endpoint(one: Mapping[str, Any], base: str, source: str) -> Endpoint:
    path = one["path"] if one["path"].startswith(base.rstrip("/") or "/") else base.rstrip("/") + one["path"]
    request, authorization = _map(one.get("request")), _map(one.get("authorization"))
    parameters = [
        Parameter(str(each["name"]), where, len(each["enum"]) if isinstance(each.get("enum"), list) else None)
        for key, where in (("path_parameters", "path"), ("query_parameters", "query"), ("headers", "header"))
        for each in [*_list(request.get(key)), *_list(one.get(key))]
        if isinstance(each, Mapping) and "name" in each
    ]
    authentication = one.get("authentication")
    required = _map(authentication).get("required") if isinstance(authentication, Mapping) else authentication
    success = _map(_map(one.get("responses")).get("success"))
    logic = _map(one.get("business_logic"))
    limit = _map(_map(one.get("security")).get("rate_limit")).get("requests_per_minute")
    owned = bool(authorization.get("resource_owner_check")) or bool(authorization.get("required"))
    return Endpoint(
        str(one.get("method", "GET")).upper(),
        path,
        tuple(each for each in parameters if each.name.lower() != "authorization"),
        secured=True if owned else bool(required) if required is not None else None,
        secrets=_secrets([success]),
        moving=_moving([success]),
        tables=tuple(_tables(logic.get("database_operations"))),
        tenants=bool(authorization.get("tenant_isolation")),
        per_minute=float(limit) if isinstance(limit, (int, float)) and not isinstance(limit, bool) else None,
        source=source,
    )


def _tables(operations: Any) -> Iterator[str]:
    """Tables that database operations name outright."""
    for operation in _list(operations):
        if isinstance(operation, Mapping):
            yield from (str(operation[word]).lower() for word in _TABLE_WORDS if operation.get(word))


def _database_schema(document: Any, source: str) -> Backend:
    entities = _list(_map(document).get("entities") if isinstance(document, Mapping) else document)
    known = [
        one for one in entities if isinstance(one, Mapping) and (one.get("table_name") or one.get("name"))
    ]
    names = {str(one.get("name")): str(one.get("table_name") or one["name"]).lower() for one in known}
    considered = _map(_map(document).get("performance_considerations"))
    rows = _map(considered.get("estimated_row_counts"))
    return Backend(tables=tuple(_table(one, names, rows) for one in known), sources=(source,))


def _table(one: Mapping[str, Any], names: Mapping[str, str], rows: Mapping[str, Any]) -> Table:
    name = str(one.get("table_name") or one["name"]).lower()
    key = one.get("primary_key")
    primary = _map(key).get("column_name") if isinstance(key, Mapping) else key
    columns = [
        str(each.get("name") or each.get("column_name"))
        for each in _list(one.get("columns"))
        if isinstance(each, Mapping) and (each.get("name") or each.get("column_name"))
    ]
    count = rows.get(name)
    return Table(
        name,
        tuple(dict.fromkeys([*([str(primary)] if primary else []), *columns])),
        (str(primary),) if primary else (),
        tuple(_foreign_keys(one, name, names)),
        count if isinstance(count, int) else None,
    )


def _foreign_keys(one: Mapping[str, Any], name: str, names: Mapping[str, str]) -> Iterator[ForeignKey]:
    for each in _list(one.get("relationships")):
        column, other = _map(each).get("foreign_key_column"), str(_map(each).get("related_entity", ""))
        if column and other and str(_map(each).get("type", "many_to_one")) != "one_to_many":
            cascade = "CASCADE" if "delete" in str(_map(each).get("cascade", "")).lower() else ""
            yield ForeignKey(name, (str(column),), names.get(other, other.lower()), ("id",), cascade)
    for each in _list(one.get("columns")):
        target = _map(each).get("references") or _map(each).get("foreign_key")
        if isinstance(target, str) and target:
            table, _, column = target.replace("(", ".").rstrip(")").partition(".")
            cascade = str(_map(each).get("on_delete", ""))
            yield ForeignKey(name, (str(each.get("name")),), table.lower(), (column or "id",), cascade)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


#: Documents by their root key, and by a member that only they have.
_ROOTS: Mapping[str, Callable[[Any, str], Backend]] = {
    "api_specification": _api_specification,
    "endpoint_specifications": _api_specification,
    "database_schema": _database_schema,
    "schema_specification": _database_schema,
    "task_result": task_logic,
    "backend_notification_specification": notifications,
    "job_schedule_specification": notifications,
}
_MEMBERS: tuple[tuple[str, type, Callable[[Any, str], Backend]], ...] = (
    ("paths", dict, _openapi),
    ("endpoints", list, _api_specification),
    ("entities", list, _database_schema),
)
