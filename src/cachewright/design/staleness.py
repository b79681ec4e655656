"""Staleness that somebody allows: the longest life whose wrong share of hits stays under it, found by replay.

Only for targets whose changes no seen write explains (time, triggers, other programs). What is wrong because it is
somebody else's is never traded: it is a leak, and no life makes it rare enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from cachewright.design.result import NotCached
from cachewright.simulator.outcome import RouteOutcome
from cachewright.spec.semantics import Scope

#: Lives to try (s), the longest first.
LIVES = (300, 120, 60, 30, 15, 5, 1)
#: What such a life is traded for.
TRADED = frozenset({"unexplained_changes", "time_dependent"})

Replayed = Callable[[Mapping[str, int]], Mapping[str, RouteOutcome]]


def tolerable_lives(subjects: Mapping[str, Scope], allowed: float, replayed: Replayed) -> dict[str, int]:
    """The life of each target; the shortest one where none is good enough, for a replay to refuse it.

    `replayed` gives the outcomes of all targets for these lives.
    """
    found: dict[str, int] = {}
    for life in LIVES:
        waiting = [subject for subject in subjects if subject not in found]
        if not waiting:
            break
        outcomes = replayed({**dict.fromkeys(waiting, life), **found})
        found.update(
            (subject, life)
            for subject in waiting
            if too_stale(outcomes[subject], subjects[subject], allowed) is None
        )
    return {**dict.fromkeys(subjects, LIVES[-1]), **found}


def too_stale(outcome: RouteOutcome, scope: Scope, allowed: float) -> NotCached | None:
    """Why so much staleness is not what was allowed."""
    share, most = outcome.wrong_share or 0.0, outcome.wrong_share_high
    if outcome.foreign_answers and scope is not Scope.PUBLIC:
        text = (
            f"A replay served {outcome.foreign_answers} answers that are another's: no life makes that right."
        )
        return NotCached(outcome.route, "wrong_answers", text, {"foreign": outcome.foreign_answers})
    if most is not None and most <= allowed:
        return None
    text = (
        f"Its changes have no write that explains them. With entries that live {LIVES[-1]} s, {share:.2%} of its hits "
        f"are out of date{'' if most is None else f', up to {most:.2%} for all that the recording can tell'}; "
        f"{allowed:.2%} are allowed."
    )
    return NotCached(outcome.route, "too_stale", text, {"wrong_share": round(share, 4), "allowed": allowed})


def traded(lives: Mapping[str, int], outcomes: Mapping[str, RouteOutcome], allowed: float) -> Collection[str]:
    """What such designs have to say for themselves."""
    return [
        f"{subject}: {outcome.wrong_share or 0.0:.2%} of its hits are out of date in a replay, by up to "
        f"{lives[subject]} s. --max-stale-fraction {allowed:g} allows it."
        for subject in sorted(lives)
        if (outcome := outcomes.get(subject)) is not None
    ]
