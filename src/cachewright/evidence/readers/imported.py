"""A trace of what some other source tells: the same file, with a note of what it cannot tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from cachewright.evidence.hashing import Hasher
from cachewright.evidence.masking import masked
from cachewright.evidence.readers.templates import Declared, Inferred, is_value
from cachewright.evidence.readers.visits import Visit
from cachewright.evidence.trace import (
    ParamSeen,
    RequestSeen,
    RouteSeen,
    SchemaSeen,
    StatementSeen,
    StatementText,
    Trace,
    Value,
)
from cachewright.spec.identity import is_carrier

_SECOND = 1_000_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]*")
_MOST_PARAMETERS = 64
#: Answers to paths that the application does not have.
_NOWHERE = frozenset({404, 405})


_Routed = tuple[RouteSeen, Mapping[str, str]]
#: The route of a request with the values in its path, and its query.
_Placed = tuple[_Routed | None, str]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the requests come from. `routes` are those that a document declares, if there is one."""

    name: str
    recorded_at: str
    routes: tuple[RouteSeen, ...] = ()


def trace_of(found: Iterable[Visit], source: Source, hasher: Hasher) -> Trace:
    """The requests in the order of their times; where some have none, in the order in which they stand."""
    visits = list(found)
    timed = all(visit.at is not None for visit in visits)
    if timed:
        visits.sort(key=lambda visit: visit.at or 0.0)
    placed = [(visit, *_parts(visit.target)) for visit in visits]
    router = _Router(source.routes, [(visit, path) for visit, path, _ in placed])
    first = visits[0].at if visits and timed else None
    requests = [
        _request(number, visit, (router.match(visit, path), query), hasher, first=first)
        for number, (visit, path, query) in enumerate(placed, start=1)
    ]
    texts, statements = _statements(visits, requests, hasher)
    return Trace(
        application="",
        recorded_at=source.recorded_at,
        declared_identity={},
        routes=router.routes,
        requests=tuple(requests),
        texts=texts,
        statements=statements,
        images=(),
        transactions={},
        schema=SchemaSeen(),
        clear={},
        dropped=0,
        unknown=_unknown(visits, timed=timed),
        source=source.name,
    )


def _unknown(visits: Sequence[Visit], *, timed: bool) -> frozenset[str]:
    """What of a recording these requests lack."""
    lacking = {"reads", "binds" if any(visit.queries for visit in visits) else "sql"}
    if not all(visit.digest is not None for visit in visits):
        lacking.add("digests")
    if not all(visit.certain for visit in visits):
        lacking.add("identity")
    if not all(visit.seconds is not None for visit in visits):
        lacking.add("durations")
    if not timed:
        lacking.add("times")
    return frozenset(lacking)


_DIALECTS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}


def _statements(
    visits: Sequence[Visit], requests: Sequence[RequestSeen], hasher: Hasher
) -> tuple[dict[int, StatementText], tuple[StatementSeen, ...]]:
    """The statements of all requests; what was bound to them is not known."""
    texts: dict[tuple[str, str], StatementText] = {}
    seen: list[StatementSeen] = []
    for visit, request in zip(visits, requests, strict=True):
        for query in visit.queries:
            dialect = _DIALECTS.get(query.system, "")
            sql = masked(query.sql, dialect, "any", hasher.literal)
            text = texts.setdefault((sql, dialect), StatementText(len(texts) + 1, sql, dialect, "qmark"))
            started = request.started + round(query.after * _SECOND)
            ended = started + round(query.seconds * _SECOND)
            seen.append(
                StatementSeen(
                    id=len(seen) + 1,
                    request=request.id,
                    transaction=0,
                    text=text.id,
                    started=started,
                    ended=ended,
                    rows=-1,
                    many=1,
                    unit_of_work=False,
                    failed=False,
                    binds={},
                )
            )
    return {text.id: text for text in texts.values()}, tuple(seen)


def _parts(target: str) -> tuple[str, str]:
    try:
        split = urlsplit(target)
    except ValueError:
        return target.partition("?")[0], ""
    return split.path or "/", split.query


class _Router:
    """Finds the route of a request; `routes` grows where none are declared."""

    def __init__(self, declared: tuple[RouteSeen, ...], asked: Sequence[tuple[Visit, str]]) -> None:
        self._known = {(route.method, route.template): route for route in declared}
        self._declared = {
            method: Declared([route.template for route in declared if route.method == method])
            for method in {route.method for route in declared}
        }
        answered = {path for visit, path in asked if visit.status not in _NOWHERE}
        self._answered = frozenset(answered)
        self._inferred = None if declared else Inferred(path for _, path in asked if path in answered)

    @property
    def routes(self) -> tuple[RouteSeen, ...]:
        return tuple(self._known.values())

    def match(self, visit: Visit, path: str) -> _Routed | None:
        method = visit.method
        if visit.route is not None and self._inferred is not None:
            found = Declared([visit.route]).match(path)
            return self._route(method, visit.route, found[1] if found else {})
        if self._inferred is None:
            declared = self._declared.get(method)
            found = declared.match(path) if declared else None
            return None if found is None else (self._known[method, found[0]], found[1])
        if path not in self._answered:
            return None
        return self._route(method, *self._inferred.match(path))

    def _route(self, method: str, template: str, values: Mapping[str, str]) -> _Routed:
        """A route that no document declares."""
        route = self._known.get((method, template))
        if route is None:
            params = tuple(ParamSeen(name, "path", "string", required=True) for name in values)
            route = RouteSeen(len(self._known) + 1, method, template, "", params, ())
            self._known[method, template] = route
        return route, values


def _request(
    number: int, visit: Visit, place: _Placed, hasher: Hasher, *, first: float | None
) -> RequestSeen:
    matched, query = place
    started = number if first is None or visit.at is None else 1 + round((visit.at - first) * _SECOND)
    ended = started + round((visit.seconds or 0.0) * _SECOND)
    values, secrets = _values(matched[1] if matched else {}, query, hasher)
    who = "\0".join(filter(None, (visit.who, *secrets)))
    answer = visit.digest if visit.digest is not None else b""
    return RequestSeen(
        id=number,
        route=matched[0].id if matched else None,
        method=visit.method,
        started=started,
        answered=ended,
        returned=ended,
        status=visit.status,
        size=visit.size,
        digest=hasher.long(b"%d %b" % (visit.status, answer)).digest,
        credential=hasher.secret(who.encode("utf-8", "surrogatepass")) if who else None,
        credential_expires=None,
        values=values,
        reads=frozenset(),
        outer_reads=frozenset(),
        entered=started,
        set_cookie=visit.set_cookie,
        cache_control=visit.cache_control,
        streamed=False,
        background=False,
        escaped=False,
        worker=0,
    )


def _values(path: Mapping[str, str], query: str, hasher: Hasher) -> tuple[dict[str, Value], list[str]]:
    """The hashed values of a request's parameters, and what of them may be a credential."""
    texts: dict[str, list[str]] = {f"path.{name}": [text] for name, text in path.items()}
    secrets: list[str] = []
    for name, text in parse_qsl(query, keep_blank_values=True, max_num_fields=None)[:_MOST_PARAMETERS]:
        if is_carrier(name):
            secrets.append(f"{name}={text}")
        elif _NAME.fullmatch(name) and not is_value(name):  # a token may stand alone behind the question mark
            texts.setdefault(f"query.{name}", []).append(text)
        else:
            texts.setdefault("query.other", []).append(f"{name}={text}")
    return {name: hasher.value("\0".join(found)) for name, found in texts.items()}, secrets
