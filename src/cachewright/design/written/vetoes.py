"""What is not designed although it was asked for: where safety forbids it, or the project does."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cachewright.design.candidates import HIT_MS
from cachewright.design.patterns import unwritable
from cachewright.design.result import NotCached
from cachewright.design.written.facts import Known, columns_of, weight
from cachewright.request.backend import Backend, Prohibition
from cachewright.spec.sensitive import secret_words, sensitive_words, session_words
from cachewright.spec.words import count

_MOMENTS = re.compile(
    r"(?:^|[/_\-])(?:overdue|today|tomorrow|upcoming|expired|now|due[-_]?soon|this[-_]week)(?=$|[/_\-])",
    re.IGNORECASE,
)
_OPERATIONAL = re.compile(
    r"/(?:health(?:z|check)?|livez?|liveness|readyz?|readiness|ping|metrics|docs|redoc|openapi\.json|favicon\.ico)/?$",
    re.IGNORECASE,
)
#: Parameters whose values usually stand for a moment.
_MOMENT_PARAMETERS = re.compile(
    r"(?:due|overdue|upcoming|expired|today|since|until|recent)(?:[-_]?\w+)?", re.IGNORECASE
)


def veto(target: Known, backend: Backend) -> NotCached | None:
    """The first reason that no request can overrule."""
    for check in (_forbidden, _unsafe, _sensitive, _secrets, _unkeyable, _writes, _moments, _edge):
        found = check(target, backend)
        if found is not None:
            return found
    return None


def doubt(target: Known, busy: float | None = None) -> NotCached | None:
    """The first reason that a request by name overrules: then it is a warning. `busy` is the database's load."""
    rate, cost = target.per_second, target.milliseconds
    if cost is not None and cost * weight(busy) < HIT_MS:
        text = f"It takes {cost:g} ms; a hit costs about {HIT_MS:g} ms."
        return NotCached(target.subject, "cheaper_uncached", text, {"avg_query_time_ms": cost})
    if target.asked.endpoint is not None and _OPERATIONAL.search(target.place[1]):
        text = "It tells how the application is; an answer that was kept tells how it was."
        return NotCached(target.subject, "operational", text)
    gap = target.seconds_between_changes
    if rate and gap and 1 / gap >= rate:
        text = f"It is written {60 / gap:g} times a minute and read {60 * rate:g} times: hits are rare."
        return NotCached(target.subject, "write_heavy", text, {"reads": 60 * rate, "writes": 60 / gap})
    if rate and target.asked.distinct_keys and rate * 3600 / target.asked.distinct_keys < 1:
        keys = target.asked.distinct_keys
        text = f"{60 * rate:g} requests a minute over {count(keys, 'key')}: hardly any is asked for twice in an hour."
        return NotCached(target.subject, "no_reuse", text, {"keys": keys})
    return None


def moment_parameters(target: Known) -> tuple[str, ...]:
    """Query parameters whose presence makes an answer depend on the clock, by their names."""
    if target.asked.endpoint is None or target.asked.max_staleness_seconds:
        return ()
    return tuple(name for name in target.parameters if _MOMENT_PARAMETERS.fullmatch(name))


def forbids(backend: Backend, what: str) -> Prohibition | None:
    """The project's own words against `redis` or `caching`."""
    return next((one for one in backend.prohibitions if one.what == what), None)


def _forbidden(target: Known, backend: Backend) -> NotCached | None:
    rule = forbids(backend, "caching")
    if rule is None:
        return None
    return NotCached(
        target.subject, "forbidden", f'The project forbids caching: "{rule.quote}" ({rule.source}).'
    )


def _unsafe(target: Known, _: Backend) -> NotCached | None:
    method = target.place[0]
    if target.asked.endpoint is None or method in ("GET", "HEAD"):
        return None
    return NotCached(
        target.subject, "unsafe_method", f"{method} changes state or is not asked for its answer."
    )


def _sensitive(target: Known, _: Backend) -> NotCached | None:
    path = target.place[1] if target.asked.endpoint is not None else target.asked.computed_data or ""
    words = (*sensitive_words(path), *session_words(path))
    if words:
        text = f"Its name says {', '.join(words)}: secrets are never kept."
        return NotCached(target.subject, "sensitive", text)
    fields = re.findall(r"\{([^{}]+)\}", target.asked.cache_key_pattern or "")
    named = [name for name in (*target.parameters, *target.path_fields, *fields) if secret_words(name)]
    if named:
        text = f"Its key would hold {', '.join(dict.fromkeys(named))}: secrets are never part of a key."
        return NotCached(target.subject, "sensitive", text)
    return None


def _secrets(target: Known, backend: Backend) -> NotCached | None:
    found: Sequence[str] = target.endpoint.secrets if target.endpoint is not None else ()
    if target.facts is not None:
        found = [column for column in columns_of(target.facts, backend) if secret_words(column)]
    if not found:
        return None
    text = f"Its answers hold {', '.join(sorted(set(found)))}: secrets are never kept."
    return NotCached(target.subject, "sensitive", text)


def _unkeyable(target: Known, _: Backend) -> NotCached | None:
    names = unwritable((*target.path_fields, *target.parameters))
    if not names:
        return None
    text = f"Its answers differ by {', '.join(map(repr, names))}, which no key can hold."
    return NotCached(target.subject, "unkeyable_reads", text)


def _writes(target: Known, _: Backend) -> NotCached | None:
    query = target.asked.database_query
    if query is None:
        return None
    if re.match(
        r"\s*(?:insert|update|delete|merge|replace|truncate|drop|alter|create|call)\b", query, re.IGNORECASE
    ):
        return NotCached(target.subject, "unsafe_method", "It changes data and is not asked for its answer.")
    if target.facts is not None and target.facts.writes:
        return NotCached(target.subject, "unsafe_method", "It changes data besides reading it.")
    return None


def _moments(target: Known, _: Backend) -> NotCached | None:
    if target.asked.max_staleness_seconds:
        return None
    names = target.facts.nondeterministic if target.facts is not None else ()
    if target.asked.endpoint is not None and (found := _MOMENTS.search(target.place[1])) is not None:
        names = (found[0].strip("/_-"),)
    elif target.endpoint is not None and target.endpoint.moving:
        names = target.endpoint.moving
    if not names:
        return None
    text = (
        f"Its answers depend on the clock or on chance ({', '.join(names)}), so they become wrong without a write. "
        "Say how stale they may be with max_staleness_seconds to have it designed."
    )
    return NotCached(target.subject, "time_dependent", text)


def _edge(target: Known, _: Backend) -> NotCached | None:
    if target.asked.cache_type != "cdn" or target.asked.scope == "public":
        return None
    text = (
        "A CDN gives everybody the same answer, and nothing says that this one is public (`scope: public`)."
    )
    return NotCached(target.subject, "not_public", text)
