"""May this be cached at all? Refuse first: a stable code, a sentence, the figures behind it.

In doubt the answer is no: a stale or foreign answer costs more than anything saved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from cachewright.analysis.exchanges import RouteEvidence
from cachewright.analysis.identity import Identity
from cachewright.analysis.reads import LEAST_REQUESTS
from cachewright.analysis.scope import LEAST_PRINCIPALS, key_fields
from cachewright.analysis.study import Profile, Standing
from cachewright.design.patterns import unwritable
from cachewright.design.result import NotCached
from cachewright.design.staleness import too_stale
from cachewright.simulator.outcome import RouteOutcome
from cachewright.spec.semantics import Scope
from cachewright.spec.sensitive import secret_words, sensitive_words, session_words
from cachewright.spec.words import count

LEAST_CHANGES = 10
#: Where fewer changes were seen, so many times the same answer must have come back.
LEAST_REPEATED = 30
#: A route is refused where its hit rate is under this for all that the recording can tell.
LEAST_HIT_RATE = 0.2
#: Said where so few keys tell a hit rate that two recordings may disagree about `LEAST_HIT_RATE`.
CLOSE = (
    f"So few keys tell that another recording may come to the other side of {LEAST_HIT_RATE:.0%}, "
    "where it begins to pay."
)
#: How far off a hit rate may be of which too few keys tell to say it.
_UNTOLD = 0.02
#: What a hit costs in milliseconds; a route that is faster gains nothing.
HIT_MS = 0.4
#: A trait of this share of a route's answers is the rule and not the exception.
_USUAL = 0.5
_ERRORS = 0.2
_COOKIES = 0.05

#: Reasons that are doubts about the worth of a target and no danger: a request by name overrules them.
DOUBTS = frozenset({"insufficient_evidence", "cheaper_uncached", "no_reuse", "write_heavy", "errors"})

Early = Callable[[Standing, Identity], NotCached | None]
Judged = Callable[[Profile], NotCached | None]


def unsafe_method(route: RouteEvidence) -> NotCached | None:
    """Refuse whatever is no GET."""
    if route.method == "GET":
        return None
    return _no(
        route.subject, "unsafe_method", f"{route.method} changes state or is not asked for its answer."
    )


def by_itself(standing: Standing, identity: Identity, waived: Collection[str] = ()) -> NotCached | None:
    """The first reason of a route itself, whatever it depends on, that is not among the `waived` codes."""
    return _first((check(standing, identity) for check in _EARLY), waived if standing.answers else ())


def by_changes(profile: Profile, waived: Collection[str] = ()) -> NotCached | None:
    """The first reason that the history of its answers gives, and that is not `waived`."""
    return _first((check(profile) for check in _JUDGED), waived)


def _first(found: Iterable[NotCached | None], waived: Collection[str]) -> NotCached | None:
    return next((no for no in found if no is not None and no.code not in waived), None)


def by_replay(profile: Profile, outcome: RouteOutcome, *, tolerated: float | None = None) -> NotCached | None:
    """The first reason that a replay of the trace against the specification gives.

    Where this share of its hits is `tolerated`, they may be out of date.
    """
    subject = profile.route.subject
    if tolerated is not None:
        no = too_stale(outcome, profile.scope, tolerated)
        if no is not None:
            return no
    elif outcome.wrong_answers:
        text = (
            f"A replay served {outcome.wrong_answers} answers that differ from what the application answered."
        )
        return _no(subject, "wrong_answers", text, wrong=outcome.wrong_answers, hits=outcome.hits)
    rate = _rate(outcome)
    if rate + (outcome.margin or 0.0) >= LEAST_HIT_RATE:
        return None
    doubt = f" {CLOSE}" if at_the_bar(outcome) else ""
    changes = profile.changes
    written = (changes.explained + changes.needless) / changes.pairs if changes.pairs else 0.0
    figures = {"hits": outcome.hits, "lookups": outcome.lookups, "keys": profile.standing.load.keys}
    if written >= _USUAL:
        text = (
            f"What it depends on is written between {written:.0%} of the reads of a key and the next ones: "
            f"a replay hits {rate:.0%} of lookups.{doubt}"
        )
        return _no(subject, "write_heavy", text, **figures)
    text = f"A replay hits {rate:.0%} of {count(outcome.lookups, 'lookup')}{_kept_out(outcome)}.{doubt}"
    return _no(subject, "no_reuse", text, **figures)


def at_the_bar(outcome: RouteOutcome) -> bool:
    """Whether another recording of as much traffic may come to the other side of `LEAST_HIT_RATE`."""
    margin = _UNTOLD if outcome.margin is None else outcome.margin
    return abs(_rate(outcome) - LEAST_HIT_RATE) <= 2 * margin


def _rate(outcome: RouteOutcome) -> float:
    return outcome.hits / outcome.lookups if outcome.lookups else 0.0


def _kept_out(outcome: RouteOutcome) -> str:
    """Why most loads were not kept, where that is what leaves nothing to hit."""
    reason = max(outcome.refused, key=lambda name: outcome.refused[name], default=None)
    if reason is None or 2 * outcome.refused[reason] < outcome.lookups:
        return ": answers are hardly ever asked for twice"
    return f": {outcome.refused[reason]} loads could not be kept ({reason})"


def _no(subject: str, code: str, text: str, **figures: float | str) -> NotCached:
    return NotCached(subject, code, text, figures)


def _sensitive(standing: Standing, _: Identity) -> NotCached | None:
    route, load = standing.route, standing.load
    words = sensitive_words(route.template)
    if standing.scope.scope is not Scope.PUBLIC:  # those of a conference are for everybody
        words = (*words, *session_words(route.template))
    if words:
        return _no(route.subject, "sensitive", f"Its path says {', '.join(words)}: secrets are never kept.")
    secrets = [field for field in key_fields(route, standing.reads) if secret_words(field.partition(".")[2])]
    if secrets:
        text = f"Its answers depend on {', '.join(secrets)}: secrets are never part of a key."
        return _no(route.subject, "sensitive", text)
    if load.set_cookie > _COOKIES:
        text = f"{load.set_cookie:.0%} of its answers set a cookie, which belongs to one browser."
        return _no(route.subject, "sensitive", text, set_cookie=load.set_cookie)
    return None


def _time_dependent(standing: Standing, _: Identity) -> NotCached | None:
    bound, subject = standing.bound, standing.route.subject
    if bound.separable:
        return None
    which = (
        "a value of its parameter that was not seen may too" if bound.bypass else "no parameter tells which"
    )
    text = f"{len(bound.requests)} requests depend on the clock ({bound.reason}), and {which}."
    return _no(
        subject, "time_dependent", text, time_bound=len(bound.requests), requests=standing.load.requests
    )


def _few_requests(standing: Standing, _: Identity) -> NotCached | None:
    requests = len(standing.steady)
    if requests >= LEAST_REQUESTS:
        return None
    text = f"Requests seen: {requests}; from {LEAST_REQUESTS} on something can be said."
    return _no(standing.route.subject, "insufficient_evidence", text, requests=requests)


def _errors(standing: Standing, _: Identity) -> NotCached | None:
    load = standing.load
    if load.errors <= _ERRORS and load.answers:
        return None
    text = f"{load.errors:.0%} of its requests failed, {load.answers} were answered with 200."
    return _no(standing.route.subject, "errors", text, errors=load.errors, answers=load.answers)


def _usually(share: str, code: str, sentence: str) -> Early:
    """A check that refuses where this share of the workload is the rule.

    `sentence` follows the percentage.
    """

    def check(standing: Standing, _: Identity) -> NotCached | None:
        value = float(getattr(standing.load, share))
        if value < _USUAL:
            return None
        return _no(standing.route.subject, code, f"{value:.0%} of its answers {sentence}.", share=value)

    return check


def _no_dependency(standing: Standing, _: Identity) -> NotCached | None:
    load = standing.load
    if load.without_sql < _USUAL and any(exchange.reads for exchange in standing.answers):
        return None
    text = f"{load.without_sql:.0%} of its answers ran no SQL: nothing would say when they change."
    return _no(standing.route.subject, "no_dependency", text, without_sql=load.without_sql)


def _opaque(standing: Standing, _: Identity) -> NotCached | None:
    if not standing.opaque:
        return None
    text = "Some of its SQL could not be understood, so that nothing would say when its answers change."
    return _no(standing.route.subject, "opaque_sql", text)


def _unkeyable(standing: Standing, _: Identity) -> NotCached | None:
    parts = [*standing.reads.unkeyable, *unwritable(standing.route.names("path", "query"))]
    if not parts:
        return None
    text = f"It reads {', '.join(parts)} of the request, which no key can hold."
    return _no(standing.route.subject, "unkeyable_reads", text)


def _identity_unknown(standing: Standing, identity: Identity) -> NotCached | None:
    unseen = identity.declared and identity.user is None
    if not unseen or standing.load.without_credential == 0 or standing.scope.scope is Scope.PUBLIC:
        return None
    text = "Requests show neither the declared identity nor a credential, so users cannot be told apart."
    return _no(
        standing.route.subject, "identity_unknown", text, without_credential=standing.load.without_credential
    )


def _cheap(standing: Standing, _: Identity) -> NotCached | None:
    load = standing.load
    if load.p50_ms >= HIT_MS:
        return None
    text = f"Its median is {load.p50_ms:g} ms; a hit costs about {HIT_MS:g} ms."
    return _no(standing.route.subject, "cheaper_uncached", text, p50_ms=load.p50_ms)


def _unexplained(profile: Profile) -> NotCached | None:
    changes = profile.changes
    if not changes.unexplained:
        return None
    hint = f" Look for a trigger from {', '.join(profile.hidden)}." if profile.hidden else ""
    text = f"{len(changes.unexplained)} of {changes.changed} changes have no write that explains them.{hint}"
    return _no(
        profile.route.subject,
        "unexplained_changes",
        text,
        unexplained=len(changes.unexplained),
        changes=changes.changed,
    )


def _few_changes(profile: Profile) -> NotCached | None:
    changes, standing = profile.changes, profile.standing
    if len(standing.answers) < LEAST_REQUESTS:
        text = f"Only {count(len(standing.answers), 'answer')} could be kept under the scope {profile.scope}."
        return _no(profile.route.subject, "insufficient_evidence", text, answers=len(standing.answers))
    if profile.scope in (Scope.USER, Scope.TENANT) and profile.principals < LEAST_PRINCIPALS:
        text = f"Only {profile.principals} principals were seen; {LEAST_PRINCIPALS} tell users from tokens."
        return _no(profile.route.subject, "insufficient_evidence", text, principals=profile.principals)
    repeated = changes.quiet + changes.needless
    if changes.changed >= LEAST_CHANGES or repeated >= LEAST_REPEATED:
        return None
    text = (
        f"Only {changes.changed} changes and {repeated} repetitions of an answer were seen; "
        f"{LEAST_CHANGES} changes or {LEAST_REPEATED} repetitions are needed."
    )
    figures = {"changes": changes.changed, "repeated": repeated}
    return _no(profile.route.subject, "insufficient_evidence", text, **figures)


_EARLY: tuple[Early, ...] = (
    _sensitive,
    _time_dependent,
    _few_requests,
    _errors,
    _usually("streamed", "streamed", "are streams"),
    _usually("wrote", "writes_usually", "also write"),
    _usually("background", "background_work", "schedule work for after the response"),
    _usually("escaped", "unwatched_sql", "use a raw connection, whose SQL nobody sees"),
    _usually("no_store", "no_store", "forbid it (Cache-Control: no-store)"),
    _usually("early", "early_sql", "run SQL in middleware, before a cache could look at its tokens"),
    _no_dependency,
    _opaque,
    _unkeyable,
    _identity_unknown,
    _cheap,
)
_JUDGED: tuple[Judged, ...] = (_unexplained, _few_changes)
