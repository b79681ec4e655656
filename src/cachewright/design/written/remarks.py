"""What is said of a written design as a whole: what is assumed, what is asked, what documents forbid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cachewright.design.result import Decision
from cachewright.design.written.choices import Said
from cachewright.design.written.facts import Known, stem
from cachewright.design.written.vetoes import forbids
from cachewright.request.backend import Backend
from cachewright.request.reading import RequestDocument
from cachewright.spec.model import CachingSpecification
from cachewright.spec.words import count

_CLUSTER = (
    "Cluster facts were given. What one lookup asks for goes to each node in one trip; entries and tokens of a tag lie "
    "where its hash slot says; database 0 is the only one, and patterns are scanned node by node."
)


def remark(
    document: RequestDocument,
    backend: Backend,
    kept: Sequence[Known],
    said: Said,
    spec: CachingSpecification,
) -> None:
    """Say what concerns all targets, or all documents."""
    inputs = document.inputs
    said.warnings[:0] = [*(f"{document.path}: {note}" for note in document.normalised), *backend.warnings]
    if inputs.reason is not None:
        said.decisions.insert(0, Decision("request", "reason", inputs.reason))
    if not inputs.cache_targets and not backend.endpoints:
        said.questions.append(
            "What is to be cached? Name `cache_targets` (for example `- endpoint: GET /api/tasks`), or the API in "
            "`backend_spec`. Until then nothing is cached."
        )
    if inputs.configuration is not None and inputs.configuration.redis.cluster.enabled:
        said.decisions.append(
            Decision("configuration.redis.cluster", "distribution: 16384 hash slots", _CLUSTER)
        )
    said.questions.extend(_read_otherwise(kept, backend))
    if backend.reminders and kept and spec.cache_warming.scheduled.queries:
        first = min(backend.reminders, key=lambda reminder: reminder.time)
        reason = f"{first.source} reminds at {first.time} {first.zone}: what is due is asked for then."
        schedule = f"scheduled: {spec.cache_warming.scheduled.schedule}"
        said.decisions.append(Decision("cache_warming", schedule, reason))
    if kept:
        said.assumptions.append(
            "No traffic was seen: a recording (`cachewright record`) would put figures in place of assumptions."
        )
        said.assumptions.append(
            "All programs that write to the database run with the cache, or TTL bounds what they change."
        )
    said.assumptions.extend(
        f"{target.subject}: the loader `active_users` says who its {count(target.asked.warm_top_users, 'user')} are, "
        "and `warm_as` signs for them; without both, warming fails and the application runs unwarmed."
        for target in kept
        if target.asked.warm_top_users
    )
    tenants = inputs.multi_tenant is not None and inputs.multi_tenant.enabled
    if tenants and (inputs.identity is None or inputs.identity.tenant is None) and kept:
        said.questions.append(
            'Where does a request show its tenant? Until `identity: {tenant: "claim:tid"}` (or header:NAME, host) says '
            "so, requests to the targets pass the cache by: a key without its tenant is never used."
        )
    for what in ("caching", "redis"):
        if (rule := forbids(backend, what)) is not None:
            said.warnings.append(f'{rule.source} forbids {what}, and that was obeyed: "{rule.quote}".')


def _read_otherwise(kept: Sequence[Known], backend: Backend) -> Iterator[str]:
    """Filters and moving members that the logic has, where an endpoint does not say whether it has them."""
    for access in backend.accesses:
        for target in kept:
            if target.asked.endpoint is None or stem(target.resource.rpartition(":")[2]) != access.resource:
                continue
            unsaid = [name for name in access.filters if name not in target.parameters]
            if unsaid and not target.single:
                yield (
                    f"{target.subject}: {access.source} reads by {', '.join(unsaid)}. Which of them are its "
                    "parameters? Name them in `parameters`; what the key lacks is not kept."
                )
            if access.moving:
                yield (
                    f"{target.subject}: {access.source} has {', '.join(access.moving)}, which change with the clock. "
                    "Are they in its answers? Then say `max_staleness_seconds`, or take it out."
                )
