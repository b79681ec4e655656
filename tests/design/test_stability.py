"""Two halves of the same traffic give the same design, but for what is said to be near the bar."""

from dataclasses import replace

import pytest
from tests.analysis.builder import TodoTraffic
from tests.design.test_planner import _codes, _designed, _targets

from cachewright.design.candidates import CLOSE
from cachewright.design.result import Design
from cachewright.evidence.trace import Trace


def halves(trace: Trace) -> list[Trace]:
    middle = len(trace.requests) // 2
    return [part(trace, slice(middle)), part(trace, slice(middle, None))]


def part(trace: Trace, which: slice) -> Trace:
    """Some requests of a trace, with what they ran."""
    requests = trace.requests[which]
    numbers = {request.id for request in requests}
    transactions = {number: seen for number, seen in trace.transactions.items() if seen.request in numbers}
    return replace(
        trace,
        requests=requests,
        statements=tuple(seen for seen in trace.statements if seen.request in numbers),
        transactions=transactions,
        images=tuple(image for image in trace.images if image.transaction in transactions),
    )


def choices(found: Design) -> dict:
    """What is decided of each GET route."""
    chosen = {
        name: (target.scope, target.cache_key_pattern, target.depends_on, target.bypass_when, target.strategy)
        for name, target in _targets(found).items()
    }
    return {**{name: code for name, code in _codes(found).items() if name.startswith("GET")}, **chosen}


def near_the_bar(found: Design) -> set[str]:
    refused = {no.endpoint for no in found.not_cached if CLOSE in no.reason}
    return refused | {text.partition(":")[0] for text in found.warnings if CLOSE in text}


@pytest.mark.parametrize(
    ("seed", "options"),
    [(1, {}), (2, {"credentials": 2}), (3, {"calm": True, "bulk_moves": True}), (4, {"language": True})],
)
def test_two_halves_give_the_same_design(seed, options):
    one, other = map(_designed, halves(TodoTraffic(seed=seed, **options).run(2000).build()))
    assert _targets(one)
    assert choices(one) == choices(other)


@pytest.mark.parametrize(("seed", "credentials"), [(1, 1), (5, 2)])
def test_what_the_halves_disagree_on_is_said_to_be_near_the_bar_by_both(seed, credentials):
    traffic = TodoTraffic(seed=seed, due=True, credentials=credentials).run(2000).build()
    one, other = map(_designed, halves(traffic))
    first, second = choices(one), choices(other)
    differ = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    assert differ == {"GET /api/tasks"}
    assert differ <= near_the_bar(one) & near_the_bar(other)


def test_what_pays_well_is_not_said_to_be_near_the_bar():
    found = _designed(TodoTraffic(calm=True).run(1200).build())
    assert "GET /news" in _targets(found)
    assert "GET /news" not in near_the_bar(found)
