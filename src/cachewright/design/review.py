"""A specification reviewed after it ran: what differs from the forecast, why most likely, and what to change."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cachewright.spec.document import Document
from cachewright.spec.edit import Put, edited
from cachewright.spec.target import target_name

#: Below one hit in five an entry costs more than it gives.
WORTH = 0.2
#: Fewer lookups say nothing.
LEAST_LOOKUPS = 100
_APART = 0.05

Kind = Literal["foreign", "stale", "does_not_pay", "below_forecast", "above_forecast", "surprise"]

_WHY: Mapping[str, str] = {
    "dependency_drift": "loads read tables that depends_on does not cover",
    "unkeyed_read": "loads read parts of the request that the key lacks",
    "changed": "rows change while answers are being loaded",
    "invalidated": "what it depends on is written more often",
    "expired": "entries outlive their ttl before they are asked for again",
    "absent": "more keys are asked for, or entries are evicted",
    "not_accepted": "more credentials ask for the same keys",
    "early_sql": "middleware runs SQL before the lookup",
    "held": "writes are under way while it is asked for",
    "object_decides": "access depends on the object: say authorization: object",
}


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that differs. `proposal` is the `mode` that the target should have, if it should have another."""

    target: str
    kind: Kind
    text: str
    proposal: Literal["shadow", "off"] | None = None

    @property
    def wrong(self) -> bool:
        """Whether answers were wrong."""
        return self.kind in ("foreign", "stale")


@dataclass(frozen=True, slots=True)
class Review:
    """The remarks, gravest first, and the specification with what they propose; comments and order stay."""

    remarks: tuple[Remark, ...]
    before: str
    after: str

    def diff(self, name: str) -> str:
        """What changes, as a unified diff."""
        lines = (self.before.splitlines(keepends=True), self.after.splitlines(keepends=True))
        return "".join(difflib.unified_diff(*lines, f"a/{name}", f"b/{name}"))

    def to_json(self, name: str) -> dict[str, Any]:
        """For machines."""
        remarks = [
            {"target": each.target, "kind": each.kind, "text": each.text, "proposal": each.proposal}
            for each in self.remarks
        ]
        return {"remarks": remarks, "diff": self.diff(name)}


def review(
    document: Document,
    *,
    measured: Mapping[str, Any] | None = None,
    forecast: Mapping[str, Any] | None = None,
    findings: Sequence[Mapping[str, Any]] = (),
) -> Review:
    """Compare what `measured` counts by target with the routes of a `forecast` and the `findings` of comparisons."""
    routes = {route["route"]: route for route in (forecast or {}).get("routes", ())}
    remarks: list[Remark] = []
    edits: list[Put] = []
    for index, item in enumerate(document.spec.cache_targets):
        name = target_name(item)
        counted = (measured or {}).get(name, {})
        own = [finding for finding in findings if finding.get("target") == name]
        found = [*_wrong(name, own), *_worth(name, counted, routes.get(item.endpoint or name, {}))]
        proposal = next((remark.proposal for remark in found if remark.proposal is not None), None)
        if proposal is not None and item.mode == "live":
            edits.append(Put(("cache_targets", index, "mode"), proposal))
        remarks += found
    after = edited(document.text, edits)
    return Review(tuple(sorted(remarks, key=lambda remark: not remark.wrong)), document.text, after)


def _wrong(name: str, findings: Sequence[Mapping[str, Any]]) -> Iterator[Remark]:
    kinds: tuple[Kind, ...] = ("foreign", "stale")
    for kind in kinds:
        own = [finding for finding in findings if finding.get("kind") == kind]
        if own:
            text = f"{len(own)} answers were {kind}. {_foreign() if kind == 'foreign' else _blamed(own)}"
            yield Remark(name, kind, text, "shadow")


def _foreign() -> str:
    return "Another credential's load had filled them: key and scope lack what tells the two apart."


def _blamed(findings: Iterable[Mapping[str, Any]]) -> str:
    writers: Counter[str] = Counter()
    tables: Counter[str] = Counter()
    for finding in findings:
        tables.update(finding.get("tables", ()))
        writers.update({str(write.get("by") or "a program without a request") for write in finding["writes"]})
    named = ", ".join(sorted(tables)) or "no table"
    if not writers:
        seek = "look for another program (`cachewright follow` sees its writes), a trigger or the clock"
        return f"They rest on {named}, which no write that was seen has changed: {seek}."
    who = ", ".join(f"{name} ({count})" for name, count in writers.most_common(3))
    return f"They rest on {named}; last written by {who}, whose tags their entries lack."


def _worth(name: str, counted: Mapping[str, Any], route: Mapping[str, Any]) -> Iterator[Remark]:
    lookups = counted.get("lookups", 0)
    if lookups < LEAST_LOOKUPS:
        return
    rate = sum(counted["hits"].values()) / lookups
    low, high = route.get("hit_rate_low"), route.get("hit_rate_high")
    if rate < WORTH:
        text = f"{rate:.0%} of {lookups} lookups were hits: it does not pay. Remove it. {_reason(counted)}"
        yield Remark(name, "does_not_pay", text, "off")
    elif low is not None and rate < low - _APART:
        yield Remark(
            name, "below_forecast", f"{rate:.0%} hits, the forecast was {low:.0%} or more. {_reason(counted)}"
        )
    elif high is not None and rate > high + _APART:
        yield Remark(name, "above_forecast", f"{rate:.0%} hits, the forecast was {high:.0%} or less.")
    drift = counted.get("refused", {}).get("dependency_drift", 0)
    if drift:
        yield Remark(
            name,
            "surprise",
            f"{drift} loads read what depends_on does not cover and were not kept: record again, and design anew.",
        )


def _reason(counted: Mapping[str, Any]) -> str:
    reasons = Counter({**counted.get("misses", {})})
    reasons.update(counted.get("refused", {}))
    for reason, number in reasons.most_common():
        if reason in _WHY and number:
            return f"Most likely because {_WHY[reason]} ({reason}: {number})."
    return ""
