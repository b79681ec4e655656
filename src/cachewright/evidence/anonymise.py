"""From what was seen, with its values, to what a trace may hold. Runs in the writer's thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cachewright.capture.events import UNKNOWN, RowImage
from cachewright.capture.params import Param
from cachewright.capture.routes import Route
from cachewright.evidence.events import Asked, Event, Flushed, Parameters, Ran, Routed, Whole
from cachewright.evidence.hashing import Hasher, Long
from cachewright.evidence.masking import masked
from cachewright.evidence.sampling import Sample
from cachewright.evidence.senders import Sender, Senders, carrier_of
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
    VolatileSeen,
)
from cachewright.evidence.tracerows import Counted, Record, Shown
from cachewright.evidence.volatile import Answer, Volatility, without
from cachewright.sql.quiet import writes_nothing

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"})
_REMEMBERED = 5_000
_LONGEST_REMEMBERED = 20_000
_LONGEST_COLUMN = 200


class Anonymiser:
    """Gives numbers to routes, texts and statements, and hashes to values; leaves out what `sample` does.

    `wall_at_zero` is the wall time, in seconds, at which the trace's clock stood at zero. `declared` are the
    headers and cookies that carry an identity, by the names of key patterns; their values are kept though
    nobody reads them. `volatile` are the members of JSON answers that say nothing.
    """

    def __init__(
        self,
        hasher: Hasher,
        *,
        wall_at_zero: float,
        declared: frozenset[str],
        worker: int,
        volatile: frozenset[str] = frozenset(),
        sample: Sample | None = None,
    ) -> None:
        self._hasher = hasher
        self._senders = Senders(hasher, wall_at_zero, declared)
        self._worker = worker
        self._volatile = volatile
        self._volatility = Volatility()
        self._sample = sample
        self._left_out = 0
        self._written = 0  # when anything was written last
        self._writing: set[int] = set()  # transactions that have written and are not over
        self._quiet: dict[int, bool] = {}
        self._showing = Showing(declared)
        self._routes: dict[tuple[Route, str], int] = {}
        self._raw_texts: dict[tuple[str, str, str], int] = {}
        self._texts: dict[tuple[str, str, str], int] = {}
        self._last_route = 0
        self._last_text = 0
        self._last_statement = 0

    def records(self, event: Event) -> Iterator[Record]:
        """What the trace is to hold of an event."""
        match event:
            case Ran():
                yield from self._ran(event)
            case TransactionSeen():
                if event.id in self._writing:
                    self._writing.discard(event.id)
                    self._written = max(self._written, event.ended)
                yield event
            case Asked():
                yield from self._asked(event, self._senders.of(event))
            case Whole():
                yield from self._whole(event)
            case Flushed():
                self._writing.add(event.transaction)
                yield from (self._image(image, event.transaction) for image in event.images)
            case Routed():
                for route in event.routes:
                    for method in sorted(route.methods):
                        yield from self._route(route, method)

    def news(self) -> Iterator[Record]:
        """What has been learned of all requests so far, for the file that is being written."""
        for member in self._volatile:
            yield VolatileSeen(None, member, 0, 0)
        for place, members in self._volatility.routes.items():
            number = self._routes.get(place)
            if number is not None:
                for member, pairs, differed in members.news():
                    yield VolatileSeen(number, member, pairs, differed)
        yield Counted("left_out", self._left_out)

    def begin_again(self) -> None:
        """Another file begins: what rows refer to is to be written again."""
        for members in self._volatility.routes.values():
            members.forget()
        for known in (self._routes, self._raw_texts, self._texts, self._quiet):
            known.clear()
        self._left_out = 0

    def wants_body(self, route: Route, method: str) -> bool:
        """Whether the body of an answer may have volatile members."""
        return method == "GET" and (bool(self._volatile) or self._volatility.wants((route, method)))

    # requests

    def _whole(self, whole: Whole) -> Iterator[Record]:
        asked = whole.asked
        sender = self._senders.of(asked)
        if (
            whole.kept
            or asked.escaped
            or any(map(self._may_write, whole.ran))
            or self._is_sampled(asked, sender)
        ):
            for event in whole.ran:
                yield from self.records(event)
            yield from self._asked(asked, sender)
            return
        self._left_out += 1
        for event in whole.ran:
            if isinstance(event, TransactionSeen) and event.id in self._writing:
                yield from self.records(event)

    def _is_sampled(self, asked: Asked, sender: Sender) -> bool:
        route = asked.route
        place = f"{asked.scope['method']} {asked.scope['path'] if route is None else route.template}"
        return self._sample is None or self._sample.keeps(
            place,
            sender.values,
            sender.credential,
            asked.reads | asked.outer_reads,
            () if route is None else route.credentials,
        )

    def _may_write(self, event: Ran | Flushed | TransactionSeen) -> bool:
        match event:
            case Ran():
                known = self._raw_texts.get((event.sql, event.dialect, event.paramstyle))
                return not (_is_quiet(event) if known is None else self._quiet.get(known, False))
            case Flushed():
                return True
        return False

    def _asked(self, asked: Asked, sender: Sender) -> Iterator[Record]:
        method = asked.scope["method"] if asked.scope["method"] in _METHODS else "OTHER"
        if asked.route is not None:
            yield from self._route(asked.route, method)
        values, credential = sender.values, sender.credential
        if asked.status < 400:
            subject = values.get("claim.sub")
            person = credential if subject is None else subject.exact
            yield from self._shown(sender.raw, values, sender.params, person)
        if asked.escaped:
            self._written = max(self._written, asked.returned)
        digest, ignored = self._digest(asked, sender, method)
        yield RequestSeen(
            id=asked.id,
            route=None if asked.route is None else self._routes[asked.route, method],
            method=method,
            started=asked.started,
            answered=asked.answered,
            returned=asked.returned,
            status=asked.status,
            size=asked.size,
            digest=digest,
            credential=credential,
            credential_expires=sender.expires,
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
            carrier=carrier_of(asked, sender),
            ignored=ignored,
        )

    def _digest(self, asked: Asked, sender: Sender, method: str) -> tuple[Hash, frozenset[str]]:
        """The digest of an answer without its volatile members, and which these are."""
        if asked.body is None or asked.route is None:
            return asked.digest, frozenset()
        place = asked.route, method
        members = self._volatile | self._volatility.members(place)
        if asked.status == 200:
            who = sender.credential, *sorted((name, value.exact) for name, value in sender.values.items())
            answer = Answer(asked.started, asked.returned, asked.body)
            self._volatility.saw(place, (place, who), answer, written=self._written)
        rest = without(asked.body, members) if members else None
        if rest is None:
            return asked.digest, frozenset()
        stream = self._hasher.stream()
        stream.update(asked.head + rest)
        return self._hasher.finish(stream), members

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
        self._last_route += 1
        number = self._routes[route, method] = self._last_route
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
                _bound(self._quiet)
                self._quiet[text] = _is_quiet(ran)
                yield StatementText(text, *key)
            if len(ran.sql) <= _LONGEST_REMEMBERED:
                _bound(self._raw_texts)
                self._raw_texts[raw] = text
        if not self._quiet.setdefault(text, False):
            self._written = max(self._written, ran.ended)
            if ran.transaction:
                self._writing.add(ran.transaction)
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
            more=tuple(map(self._binds, ran.more)),
        )

    def _binds(self, parameters: Parameters) -> dict[str, Value]:
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


def _is_quiet(ran: Ran) -> bool:
    return writes_nothing(ran.sql, dialect=ran.dialect, paramstyle=ran.paramstyle)


def _bound(known: dict[Any, Any]) -> None:
    """Forget everything when it is too much: a text that comes again is written once more."""
    if len(known) >= _REMEMBERED:
        known.clear()
