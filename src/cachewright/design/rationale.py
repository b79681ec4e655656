"""The reasons of a design as Markdown, for people to read and to argue with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cachewright.analysis.findings import Figure, Finding
from cachewright.design.forecast import ALARM
from cachewright.design.result import Design
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.words import count


def rationale(design: Design) -> str:
    """Each target with its choices, numbers and findings; each refusal with its reason; what is assumed."""
    return "\n".join(_lines(design)).rstrip() + "\n"


def _lines(design: Design) -> Iterator[str]:
    spec = design.spec
    yield f"# Why {spec.namespace} is cached this way"
    yield ""
    yield f"Cached: {count(len(spec.cache_targets), 'target')}; not cached: {len(design.not_cached)}."
    yield ""
    yield from _list("Sources", design.sources)
    yield "## Cached"
    yield ""
    if not spec.cache_targets:
        yield "Nothing: every endpoint was refused, for the reasons below."
        yield ""
    for target in spec.cache_targets:
        yield from _target(target, design)
    yield from _alerts(design)
    yield from _refusals(design)
    yield from _list("Assumptions", design.assumptions)
    yield from _list("Questions", design.clarifications_needed)
    yield from _list("Warnings", design.warnings)
    yield from _findings(design.findings)


def _target(target: CacheTarget, design: Design) -> Iterator[str]:
    yield f"### {target.subject}"
    yield ""
    rate = design.hit_rates.get(target.subject)
    if rate is not None:
        yield f"Expected hit rate {rate:.0%} at {target.query_frequency}."
        yield ""
    yield from _decisions(design, target.subject)
    yield ""


def _decisions(design: Design, subject: str) -> Iterator[str]:
    for decision in design.decisions:
        if decision.subject == subject:
            named = f" ({', '.join(decision.because)})" if decision.because else ""
            yield f"- `{decision.choice}`: {decision.reason}{named}"


def _alerts(design: Design) -> Iterator[str]:
    shown = list(_decisions(design, ALARM))
    if shown:
        yield from ("## Alarms", "", *shown, "")


def _refusals(design: Design) -> Iterator[str]:
    if not design.not_cached:
        return
    yield "## Not cached"
    yield ""
    yield "| endpoint | code | reason | figures |"
    yield "|---|---|---|---|"
    for no in design.not_cached:
        reason = no.reason.replace("|", "\\|")
        yield f"| `{no.endpoint}` | `{no.code}` | {reason} | {_figures(no.figures)} |"
    yield ""


def _findings(findings: Iterable[Finding]) -> Iterator[str]:
    shown = list(findings)
    if not shown:
        return
    yield "## Findings"
    yield ""
    for finding in shown:
        yield f"- **{finding.id}** `{finding.code}` {finding.subject}: {finding.text}"
    yield ""


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    shown = list(items)
    if not shown:
        return
    yield f"## {title}"
    yield ""
    yield from (f"- {item}" for item in shown)
    yield ""


def _figures(figures: Mapping[str, Figure]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
    )
