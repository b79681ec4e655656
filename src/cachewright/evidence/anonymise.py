"""From what was seen, with its values, to what a trace may hold. Runs in the writer's thread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachewright.capture.credentials import claims_expire, claims_of, credential_of, request_values
from cachewright.capture.events import UNKNOWN, RowImage
from cachewright.capture.params import Param
from cachewright.capture.routes import Route
from cachewright.evidence.hashing import Hasher, Long
from cachewright.evidence.masking import masked
from cachewright.evidence.showing import Showing
from cachewright.evidence.trace import (
    Hash,
    ImageSeen,
    ParamSeen,
    RequestSeen,
    RouteSeen,
    StatementSeen,
    StatementText,
    TransactionSeen,
    Value,
)
from cachewright.evidence.tracewriter import Record, Shown

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"})
_KINDS = {"int": "i", "bool": "b", "float": "f"}
#: Times of the token itself say nothing of a request.
_TIMES_OF_TOKEN = frozenset({"iat", "exp", "nbf", "auth_time"})
#: Names in a token are its sender's to choose.
_CLAIM = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,63}\Z")
_MOST_CLAIMS = 32
_MOST_READS = 64
_REMEMBERED = 5_000
_LONGEST_REMEMBERED = 20_000
_LONGEST_COLUMN = 200


@dataclass(slots=True)
class Asked:
    """A request that is over. `scope` is as the route saw it, where it was reached."""

    id: int
    route: Route | None
    path_params: Mapping[str, Any]
    scope: Mapping[str, Any]
    started: int
    entered: int
    answered: int
    returned: int
    status: int
    size: int
    digest: Hash
    reads: frozenset[str]
    outer_reads: frozenset[str]
    set_cookie: bool
    cache_control: frozenset[str]
    streamed: bool
    background: bool
    escaped: bool


@dataclass(slots=True)
class Ran:
    """A statement; `parameters` are its first set, its long values replaced by `Long`."""

    request: int | None
    transaction: int
    sql: str
    dialect: str
    paramstyle: str
    parameters: Mapping[str, Any] | Sequence[Any]
    many: int
    started: int
    ended: int
    rows: int
    unit_of_work: bool
    failed: bool


@dataclass(slots=True)
class Flushed:
    """Rows that a unit of work wrote."""

    transaction: int
    images: Sequence[RowImage]


@dataclass(slots=True)
class Routed:
    """Routes of the application."""

    routes: Sequence[Route]


Event = Asked | Ran | Flushed | TransactionSeen | Routed


class Anonymiser:
    """Gives numbers to routes, texts and statements, and hashes to values.

    `wall_at_zero` is the wall time, in seconds, at which the trace's clock stood at zero. `declared` are the
    headers and cookies that carry an identity, by the names of key patterns; their values are kept though
    nobody reads them.
    """

    def __init__(self, hasher: Hasher, *, wall_at_zero: float, declared: frozenset[str], worker: int) -> None:
        self._hasher = hasher
        self._wall_at_zero = wall_at_zero
        self._declared = declared
        self._worker = worker
        self._showing = Showing(declared)
        self._routes: dict[tuple[Route, str], int] = {}
        self._raw_texts: dict[tuple[str, str, str], int] = {}
        self._texts: dict[tuple[str, str, str], int] = {}
        self._tokens: dict[Hash, tuple[dict[str, Value], float | None]] = {}
        self._last_text = 0
        self._last_statement = 0

    def records(self, event: Event) -> Iterator[Record]:
        """What the trace is to hold of an event."""
        match event:
            case Ran():
                yield from self._ran(event)
            case TransactionSeen():
                yield event
            case Asked():
                yield from self._asked(event)
            case Flushed():
                yield from (self._image(image, event.transaction) for image in event.images)
            case Routed():
                for route in event.routes:
                    for method in sorted(route.methods):
                        yield from self._route(route, method)

    # requests

    def _asked(self, asked: Asked) -> Iterator[Record]:
        method = asked.scope["method"] if asked.scope["method"] in _METHODS else "OTHER"
        if asked.route is not None:
            yield from self._route(asked.route, method)
        declared = asked.route.credentials if asked.route else ()
        material = credential_of(asked.scope, declared)
        credential = None if material is None else self._hasher.secret(material)
        claims, expires = ({}, None) if credential is None else self._token(credential, asked.scope)
        raw = self._raw_values(asked)
        params = {f"{param.where}.{param.name}": param for param in asked.route.params} if asked.route else {}
        values = {name: self._hasher.value(value, _kind(params.get(name))) for name, value in raw.items()}
        values.update(claims)
        if asked.status < 400:
            subject = values.get("claim.sub")
            yield from self._shown(raw, values, params, credential if subject is None else subject.exact)
        yield RequestSeen(
            id=asked.id,
            route=None if asked.route is None else self._routes[asked.route, method],
            method=method,
            started=asked.started,
            answered=asked.answered,
            returned=asked.returned,
            status=asked.status,
            size=asked.size,
            digest=asked.digest,
            credential=credential,
            credential_expires=expires,
            values=values,
            reads=asked.reads,
            outer_reads=asked.outer_reads,
            entered=asked.entered,
            set_cookie=asked.set_cookie,
            cache_control=asked.cache_control,
            streamed=asked.streamed,
            background=asked.background,
            escaped=asked.escaped,
            worker=self._worker,
        )

    def _raw_values(self, asked: Asked) -> dict[str, Any]:
        """Values of the request by the names of key patterns; never to be written as they are."""
        values = asked.route.values(asked.scope, asked.path_params) if asked.route else {}
        wanted = {"host", *self._declared}
        params = asked.route.params if asked.route else ()
        defaults = {
            f"{param.where}.{param.name}": param for param in params if param.where in ("header", "cookie")
        }
        wanted.update(defaults)
        for read in sorted(asked.reads | asked.outer_reads)[:_MOST_READS]:
            where, _, name = read.partition(":")
            if where in ("header", "cookie", "query") and f"{where}.{name}" not in values:
                wanted.add(f"{where}.{name}")
        found = request_values(asked.scope, sorted(wanted))
        for name, value in found.items():
            values[name] = defaults[name].canonical(()) if value is None and name in defaults else value
        return values

    def _token(self, credential: Hash, scope: Mapping[str, Any]) -> tuple[dict[str, Value], float | None]:
        """The claims of a credential, and when it expires by the trace's clock."""
        known = self._tokens.get(credential)
        if known is None:
            claims = claims_of(scope)
            names = [name for name in claims if name not in _TIMES_OF_TOKEN and _CLAIM.match(name)]
            values = {f"claim.{name}": self._hasher.value(claims[name]) for name in names[:_MOST_CLAIMS]}
            expires = _expiry(claims)
            known = values, None if expires is None else (expires - self._wall_at_zero) * 1e9
            _bound(self._tokens)
            self._tokens[credential] = known
        return known

    def _shown(
        self,
        raw: Mapping[str, Any],
        values: Mapping[str, Value],
        params: Mapping[str, Param],
        person: Hash | None,
    ) -> Iterator[Record]:
        for name, text in raw.items():
            if isinstance(text, str):
                declared_type = params[name].type if name in params else "other"
                if self._showing.admits(name, declared_type, values[name].exact, text, person):
                    yield Shown(name, values[name].exact, text)

    def _route(self, route: Route, method: str) -> Iterator[Record]:
        if (route, method) in self._routes:
            return
        number = self._routes[route, method] = len(self._routes) + 1
        params = tuple(
            ParamSeen(param.name, param.where, param.type, param.required) for param in route.params
        )
        yield RouteSeen(number, method, route.template, route.endpoint, params, route.credentials)

    # SQL

    def _ran(self, ran: Ran) -> Iterator[Record]:
        raw = (ran.sql, ran.dialect, ran.paramstyle)
        text = self._raw_texts.get(raw)
        if text is None:
            key = (masked(*raw, self._hasher.literal), ran.dialect, ran.paramstyle)
            text = self._texts.get(key)
            if text is None:
                _bound(self._texts)
                self._last_text += 1
                text = self._texts[key] = self._last_text
                yield StatementText(text, *key)
            if len(ran.sql) <= _LONGEST_REMEMBERED:
                _bound(self._raw_texts)
                self._raw_texts[raw] = text
        self._last_statement += 1
        yield StatementSeen(
            id=self._last_statement,
            request=ran.request,
            transaction=ran.transaction,
            text=text,
            started=ran.started,
            ended=ran.ended,
            rows=ran.rows,
            many=ran.many,
            unit_of_work=ran.unit_of_work,
            failed=ran.failed,
            binds=self._binds(ran.parameters),
        )

    def _binds(self, parameters: Mapping[str, Any] | Sequence[Any]) -> dict[str, Value]:
        value = self._hasher.value
        if isinstance(parameters, Mapping):
            return {str(name): value(bind) for name, bind in parameters.items()}
        return {str(at): value(bind) for at, bind in enumerate(parameters)}

    def _image(self, image: RowImage, transaction: int) -> ImageSeen:
        return ImageSeen(
            transaction=transaction,
            table=image.table,
            action=image.action,
            old=self._row(image.old),
            new=self._row(image.new),
            changed=image.changed,
        )

    def _row(self, row: Mapping[str, Any] | None) -> dict[str, Value] | None:
        """The columns that tags may use: those with a form in which values meet."""
        if row is None:
            return None
        kept: dict[str, Value] = {}
        for column, value in row.items():
            if (
                value is UNKNOWN
                or isinstance(value, Long)
                or (isinstance(value, str) and len(value) > _LONGEST_COLUMN)
            ):
                continue
            hashed = self._hasher.column(value)
            if hashed.loose is not None:
                kept[column] = hashed
        return kept


def _kind(param: Param | None) -> str | None:
    return None if param is None or param.multiple else _KINDS.get(param.type)


def _expiry(claims: Mapping[str, Any]) -> float | None:
    try:
        return claims_expire(claims)
    except OverflowError:  # a number that no clock will reach
        return None


def _bound(known: dict[Any, Any]) -> None:
    """Forget everything when it is too much: a text that comes again is written once more."""
    if len(known) >= _REMEMBERED:
        known.clear()
