"""What to load before anybody asks, where that is wanted: what clients ask for next, and hot keys once they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cachewright.analysis.transitions import Follows, transitions
from cachewright.design.result import Decision, Design
from cachewright.evidence.trace import Trace
from cachewright.spec.semantics import Scope
from cachewright.spec.target import target_name
from cachewright.spec.warming import Ahead, Predictive, Transition

#: More occasions to load the same would find it there.
_OCCASIONS = 3
_MOST = 20


def with_warming_ahead(found: Design, trace: Trace) -> Design:
    """`found` with `cache_warming.predictive` from the order of the requests in `trace`, and with refilling."""
    targets = {
        target.subject: target
        for target in found.spec.cache_targets
        if target.kind == "endpoint" and target.mode == "live"
    }
    follows = _likeliest(transitions(trace, targets.keys()))
    private = any(targets[one.then].scope != Scope.PUBLIC.value for one in follows)
    predictive = Predictive(
        user_based=private,
        transitions=tuple(
            Transition(
                after=one.after,
                load=target_name(targets[one.then]),
                params=dict(one.params),
                probability=one.share,
                hours=one.hours,
            )
            for one in follows
        ),
    )
    warming = found.spec.cache_warming
    own: Mapping[str, object] = {"enabled": True, "predictive": predictive, "ahead": Ahead(refill=True)}
    decisions = tuple(
        Decision(
            one.then,
            f"loaded ahead after {one.after}",
            f"the same client asked for it next in {one.share:.0%} of {one.cases} cases",
        )
        for one in follows
    )
    return replace(
        found,
        spec=found.spec.model_copy(update={"cache_warming": warming.model_copy(update=own)}),
        decisions=(*found.decisions, *decisions),
        assumptions=(*found.assumptions, *((_SIGNED,) if private else ())),
    )


def _likeliest(follows: Iterable[Follows]) -> list[Follows]:
    """The likeliest occasions to load each endpoint."""
    kept: Counter[str] = Counter()
    found: list[Follows] = []
    for one in follows:
        kept[one.then] += 1
        if kept[one.then] <= _OCCASIONS:
            found.append(one)
    return found[:_MOST]


_SIGNED = (
    "What clients ask for next is loaded with the headers of the request before, within five seconds of it "
    "(cache_warming.predictive.user_based); where the application limits how much a client may ask, this counts too."
)
