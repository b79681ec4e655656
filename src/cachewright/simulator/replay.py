"""What a plan would have done to a recording: four passes over it, and the figures of them.

When a load would have been filled lies between two moments: recorded durations hold queueing that a cache
removes. So three passes run: filled when the application returned, filled after the tenth percentile of the
route's durations, and filled half-way between; the first two bracket the third. The fourth takes the
specification at its word, without the guards that keep a runtime from what an incomplete one does not cover.
"""

from __future__ import annotations

from collections import defaultdict

from cachewright.evidence.trace import Trace
from cachewright.simulator.figures import Run, figures
from cachewright.simulator.fleet import Fleet, Worker
from cachewright.simulator.judge import Judge
from cachewright.simulator.lookups import Lookup, prepare
from cachewright.simulator.outcome import Outcome, percentile
from cachewright.simulator.playing import FillAt, Playing, late, moments, unfit
from cachewright.simulator.settings import ReplaySettings
from cachewright.spec.target import Plan

_SECOND = 1_000_000_000
_EARLY = 0.1


def replay(trace: Trace, plan: Plan, settings: ReplaySettings | None = None) -> Outcome:
    """What `plan` would have done to the traffic of `trace`: hits, latency, database work, wrong answers.

    Raises `NotEnoughEvidenceError` for a trace without requests.
    """
    chosen = settings or ReplaySettings()
    prepared = prepare(trace, plan)
    judge = Judge(trace, prepared)
    early = _early(trace)
    events, barred = moments(prepared), unfit(prepared)

    def middle(lookup: Lookup) -> int:
        return (early(lookup) + late(lookup)) // 2

    def run(fill_at: FillAt, *, at_its_word: bool = False) -> Run:
        fleet = _fleet(chosen, plan.l1_lease)
        return Playing(prepared, chosen, judge, fill_at, at_its_word, fleet).run(events, barred)

    runs = [run(fill_at) for fill_at in (late, early, middle)]
    return figures(
        trace,
        prepared,
        runs,
        run(middle, at_its_word=True),
        hit_ms=chosen.hit_ms,
        network_ms=chosen.network_ms,
        tiers=chosen.workers is not None,
        details=chosen.details,
    )


def _fleet(settings: ReplaySettings, lease: float) -> Fleet:
    return Fleet(
        [Worker(number) for number in range(settings.workers or 1)],
        memory=settings.workers is not None,
        lag=int(settings.bus_ms * 1e6),
        lease=int(lease * _SECOND),
        outages=settings.outages,
    )


def _early(trace: Trace) -> FillAt:
    """The moment of the fill if every load took the tenth percentile of its route's durations."""
    durations: dict[int | None, list[float]] = defaultdict(list)
    for request in trace.requests:
        durations[request.route].append(request.returned - (request.entered or request.started))
    short = {route: int(percentile(sorted(found), _EARLY)) for route, found in durations.items()}
    return lambda lookup: min(lookup.at + short[lookup.request.route], lookup.request.returned)
