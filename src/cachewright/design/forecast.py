"""What all targets together are expected to hit, and when a measured rate is an alarm."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from cachewright.simulator.outcome import RouteOutcome

#: The subject of the decision on the alarm of the hit rate.
ALARM = "alerts"
#: A hit rate under this share of the lower end of its forecast is no chance any more.
ALARMING = 0.8
_LOWEST_ALARM = 0.01


@dataclass(frozen=True, slots=True)
class Forecast:
    """The hit rate (0 to 1) of all lookups, and the lower end of what the recording can tell."""

    hit_rate: float
    low: float

    @property
    def alarm(self) -> float:
        """The hit rate under which something must be wrong: always under the forecast, never nothing."""
        return max(_LOWEST_ALARM, math.floor(self.low * ALARMING * 100) / 100)

    @property
    def reason(self) -> str:
        """Why the alarm is where it is."""
        return (
            f"The replay hits {self.hit_rate:.1%} of all lookups, {self.low:.1%} at the lower end of what the "
            f"recording can tell; under {ALARMING:.0%} of that something is wrong: "
            "other traffic, fewer entries, or more writes."
        )


def forecast_of(outcomes: Collection[RouteOutcome]) -> Forecast | None:
    """The forecast of these targets together; None without lookups or hits.

    Lower ends of targets do not cancel each other out: what makes one target hit less makes others too.
    """
    asked = [seen for seen in outcomes if seen.lookups]
    lookups = sum(seen.lookups for seen in asked)
    hits = sum(seen.hits for seen in asked)
    if not hits:
        return None
    return Forecast(round(hits / lookups, 4), sum(_low(seen) * seen.lookups for seen in asked) / lookups)


def _low(seen: RouteOutcome) -> float:
    """The lower of the fills' bracket and of what as many other keys may hit."""
    rate = seen.hits / seen.lookups
    bracket = rate if seen.low is None else seen.low
    return max(0.0, min(bracket, rate - (seen.margin or 0.0)))
