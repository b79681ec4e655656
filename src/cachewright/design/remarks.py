"""What has to be said beside a specification: assumptions, questions, warnings, routes nobody asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cachewright.analysis.identity import credentials_of_users, tenant_like
from cachewright.analysis.study import Profile, Study
from cachewright.design.budget import Budget
from cachewright.design.candidates import LEAST_CHANGES
from cachewright.design.result import NotCached
from cachewright.evidence.trace import Trace
from cachewright.simulator.shapes import Shape
from cachewright.spec.semantics import Scope
from cachewright.spec.words import count

_FRAMEWORKS = ("fastapi.", "starlette.")
_FEW_REQUESTS = 400
#: The request's bands for data that changes often, now and then, rarely (#73-#76): seconds between changes.
_BANDS = ((60.0, "30-60 s"), (900.0, "5-15 min"))


def assumptions(found: Study, chosen: Sequence[Profile]) -> tuple[str, ...]:
    """What the design relies on beyond what was seen."""
    return tuple(_assumptions(found, chosen))


def clarifications(found: Study) -> tuple[str, ...]:
    """Questions that only people can answer, each with the option that answers it."""
    return tuple(dict.fromkeys(_clarifications(found)))


def warnings(trace: Trace) -> tuple[str, ...]:
    """What makes the evidence itself weaker."""
    return tuple(_warnings(trace))


def never_asked(trace: Trace) -> tuple[NotCached, ...]:
    """The application's own GET routes of which no request was recorded."""
    asked = {request.route for request in trace.requests}
    places = {(route.method, route.template) for route in trace.routes if route.id in asked}
    found = {
        route.template
        for route in trace.routes
        if route.method == "GET"
        and (route.method, route.template) not in places
        and not route.endpoint.startswith(_FRAMEWORKS)
    }
    return tuple(
        NotCached(
            f"GET {template}", "insufficient_evidence", "No request of it was recorded.", {"requests": 0}
        )
        for template in sorted(found)
    )


def life_reason(profile: Profile, seconds: int) -> str:
    """Why entries live so long, with the request's advice for data that changes this often."""
    changes = profile.changes
    if changes.changed == 0:
        seen = "No answer changed while it was watched"
        band = "1-24 h"
    else:
        exposure = changes.quiet_seconds / changes.changed
        seen = f"All {changes.changed} changes came with a write that invalidates"
        band = next((name for limit, name in _BANDS if exposure < limit), "1-24 h")
    return (
        f"{seen}, so the life of an entry only bounds what other programs may write unseen; "
        f"{seconds} s gains as many hits as a longer life would. Without invalidation the advice is {band}."
    )


def room_reason(shape: Shape, room: int) -> str:
    """What this much room is good for, and how far to trust that."""
    share = shape.over_room.at(room)
    held_out = shape.over_room.error_at(room)
    trust = "" if held_out is None else f" The two halves of the recording differ by {held_out:.1%} there."
    return (
        f"Entries seen: {shape.entries:.0f}, which take up to {shape.whole:.0f} bytes in a process. "
        f"{room} bytes of room answer {share:.1%} of lookups, the least recently used leaving first.{trust}"
    )


def spent(budget: Budget, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """What the budget rules out."""
    return tuple(_spent(budget, shapes))


def _spent(budget: Budget, shapes: Mapping[str, Shape]) -> Iterator[str]:
    whole = sum(shape.whole for shape in shapes.values())
    if budget.memory is not None and whole > budget.memory:
        yield (
            f"All entries seen take {whole:.0f} bytes, {budget.memory} are allowed in each of {budget.workers} "
            "processes: room goes to what spares most time per byte."
        )


def _assumptions(found: Study, chosen: Sequence[Profile]) -> Iterator[str]:
    if not chosen:
        return
    yield "All programs that write to the database run with the cache, or TTL bounds what they change."
    yield "Traffic keeps the mix of the recording; shares and hit rates are of the recorded requests."
    for profile in chosen:
        changes, subject = profile.changes, profile.route.subject
        if changes.changed < LEAST_CHANGES:
            yield (
                f"{subject}: changes seen: {changes.changed}; that nothing else changes its answers "
                f"rests on {changes.quiet + changes.needless} unchanged repetitions."
            )
        if profile.standing.load.without_sql:
            share = profile.standing.load.without_sql
            yield f"{subject}: answers made without SQL ({share:.0%}) depend on the key only."
        if any(item.code == "few_users" for item in profile.standing.scope.observations):
            yield f"{subject}: too few users were seen to share answers between the credentials of one user."
    users = credentials_of_users(
        (
            exchange
            for profile in chosen
            if profile.scope is Scope.USER
            for exchange in profile.standing.answers
        ),
        found.identity,
    )
    if users and all(len(credentials) == 1 for credentials in users.values()):
        yield (
            "No user showed two credentials: that two tokens of one user with equal claims get equal answers "
            "is assumed."
        )


def _clarifications(found: Study) -> Iterator[str]:
    for item in tenant_like(found.record, found.identity):
        yield f"{item.text} If it is one, record with --identity tenant={item.subject}."
    identity = found.identity
    if identity.declared and identity.user is None:
        source = found.record.trace.declared_identity.get("user", "")
        yield (
            f"The declared user ({source}) is not shown by requests; a claim or header would let the "
            "credentials of one user share entries: --identity user=claim:sub."
        )
    for standing in found.standings:
        if standing.load.wrote:
            yield from _writes_on_read(found, standing.route.subject)


def _writes_on_read(found: Study, subject: str) -> Iterator[str]:
    """Columns that reading requests only touch, such as a time of last use."""
    standing = next(item for item in found.standings if item.route.subject == subject)
    wrote = {exchange.request.id for exchange in standing.route.exchanges if exchange.wrote}
    trace = found.record.trace
    transactions = {number for number, seen in trace.transactions.items() if seen.request in wrote}
    images = [image for image in trace.images if image.transaction in transactions]
    touched = Counter((image.table, column) for image in images for column in image.changed)
    if images and all(image.action == "update" for image in images) and len(touched) <= 2:
        columns = ", ".join(f"{table}.{column}" for table, column in sorted(touched))
        yield (
            f"Reading requests write only {columns} ({subject} and maybe others). If no answer "
            f"shows it, declare consistency.ignore_writes: [{columns}]."
        )


def _warnings(trace: Trace) -> Iterator[str]:
    if trace.dropped:
        yield f"{trace.dropped} events were dropped while recording: what they would have shown is missing."
    if 0 < len(trace.requests) < _FEW_REQUESTS:
        yield (
            f"Recorded: only {count(len(trace.requests), 'request')}; designs from fewer than {_FEW_REQUESTS} "
            "were wrong in measurements. Record longer before you rely on this."
        )
    unowned = sum(statement.request is None for statement in trace.statements)
    if unowned:
        number = "1 statement" if unowned == 1 else f"{unowned} statements"
        yield f"{number} ran outside of any request (threads, jobs)."
