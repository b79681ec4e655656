"""A specification in the languages of other programs, as text: whoever runs them decides, nothing is applied."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from cachewright.report.two_identities import two_identities
from cachewright.spec.document import Document
from cachewright.spec.model import CachingSpecification
from cachewright.spec.semantics import Scope
from cachewright.spec.target import Target, compile_plan

#: What a server evicts by that comes nearest to a type (C18); fifo has nothing near.
_POLICIES: Mapping[str, str] = {"lru": "allkeys-lru", "lfu": "allkeys-lfu", "ttl": "volatile-ttl"}
_HITS, _MISSES = "cachewright_hits_total", "cachewright_misses_total"


def redis_conf(document: Document) -> str:
    """The lines of a `redis.conf` or `valkey.conf` that the specification has an opinion on."""
    return "\n".join(_redis_lines(document.spec)) + "\n"


def _redis_lines(spec: CachingSpecification) -> Iterator[str]:
    redis, kind = spec.configuration.redis, spec.cache_strategy.eviction_policy.type
    yield f"# For the server of the namespace {spec.namespace}. Merge it by hand; secrets belong elsewhere."
    if redis.maxmemory_bytes is not None:
        yield f"maxmemory {redis.maxmemory_bytes}"
    else:
        yield "# maxmemory: the specification gives no configuration.redis.maxmemory_bytes"
    policy = redis.maxmemory_policy or _POLICIES.get(kind)
    if policy is None:
        yield f"# maxmemory-policy: no server evicts by {kind}; allkeys-lru comes nearest"
        policy = "allkeys-lru"
    yield f"maxmemory-policy {policy}"
    if policy.endswith(("-lru", "-lfu")):
        yield "maxmemory-samples 10"
    yield from _persistence(spec)
    yield "# Deletions of many keys do not hold up the others."
    yield "lazyfree-lazy-eviction yes"
    yield "lazyfree-lazy-expire yes"
    if redis.cluster.enabled:
        yield "cluster-enabled yes"
        yield "# A part of the cluster that lives still serves its own slots."
        yield "cluster-require-full-coverage no"
    if redis.tls is not None and redis.tls.enabled:
        yield "# TLS is asked for: set tls-port, tls-cert-file, tls-key-file and tls-ca-cert-file."


def _persistence(spec: CachingSpecification) -> Iterator[str]:
    persistence = spec.configuration.redis.persistence
    match persistence.strategy if persistence.enabled else "none":
        case "aof":
            yield "appendonly yes"
            yield "appendfsync everysec"
        case "rdb":
            yield "appendonly no"
            yield f"save {persistence.save_interval_seconds or 3600} 1"
        case _:
            yield "appendonly no"
            yield 'save ""'


def prometheus_rules(document: Document) -> str:
    """Alerting rules for the alarms of the specification that are on, over the metrics of `/_cachewright/metrics`."""
    rules = list(_rules(document.spec))
    body = {"groups": [{"name": f"cachewright-{document.spec.namespace}", "rules": rules}]}
    yaml, stream = YAML(), io.StringIO()
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(body, stream)
    return stream.getvalue()


def _rules(spec: CachingSpecification) -> Iterator[dict[str, Any]]:
    alerts = spec.alerts
    low, high = alerts.low_hit_rate, alerts.high_memory_usage
    slow, down = alerts.slow_operations, alerts.cache_unavailable
    if low.enabled:
        window = _duration(max(low.for_seconds, 60))
        seen = f"(sum(increase({_HITS}[{window}])) + sum(increase({_MISSES}[{window}])))"
        rate = f"sum(increase({_HITS}[{window}])) / {seen}"
        enough = f" and {seen} >= {low.min_requests}" if low.min_requests else ""
        text = f"The hit rate is under {low.threshold:g}."
        yield _rule("low_hit_rate", f"{rate} < {low.threshold:g}{enough}", low.for_seconds, low, text)
    if high.enabled:
        expression = f"cachewright_memory_bytes / cachewright_memory_limit_bytes > {high.threshold:g}"
        text = f"Memory is over {high.threshold:.0%} of its limit."
        yield _rule("high_memory_usage", expression, high.for_seconds, high, text)
    if slow.enabled:
        seconds = slow.threshold_ms / 1000
        mean = "sum(rate(cachewright_hit_seconds_sum[5m])) / sum(rate(cachewright_hit_seconds_count[5m]))"
        text = f"Hits take more than {slow.threshold_ms:g} ms."
        yield _rule("slow_operations", f"{mean} > {seconds:g}", slow.for_seconds, slow, text)
    if down.enabled:
        text = "The cache does not answer; the database answers instead."
        expression = 'cachewright_status{status="down"} == 1'
        yield _rule("cache_unavailable", expression, down.for_seconds, down, text)


def _rule(name: str, expression: str, seconds: int, alert: Any, text: str) -> dict[str, Any]:
    loud = any(action.startswith(("alert", "disable", "fallback")) for action in alert.action)
    spelt = "".join(word.capitalize() for word in name.split("_"))
    rule: dict[str, Any] = {"alert": f"Cachewright{spelt}", "expr": expression}
    if seconds:
        rule["for"] = _duration(seconds)
    return {
        **rule,
        "labels": {"severity": "critical" if loud else "warning"},
        "annotations": {
            "summary": text,
            "actions": ", ".join(alert.action),
            "runbook": f"/_cachewright/runbooks/{name}",
        },
    }


def _duration(seconds: int) -> str:
    return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"


def grafana(document: Document) -> str:
    """A Grafana dashboard to import; it asks for its Prometheus when it is imported."""
    spec = document.spec
    panels = [_panel(number, panel) for number, panel in enumerate(_panels(spec))]
    body = {
        "title": f"cachewright: {spec.namespace}",
        "uid": f"cachewright-{spec.namespace}"[:40],
        "tags": ["cachewright"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
            ]
        },
        "panels": panels,
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    unit: str
    expression: str
    legend: str
    threshold: float | None = None


def _panels(spec: CachingSpecification) -> Iterator[_Panel]:
    wanted = spec.metrics.performance.hit_rate
    rate = f"sum by (target) (rate({_HITS}[5m]))"
    both = f"({rate} + sum by (target) (rate({_MISSES}[5m])))"
    yield _Panel("Hit rate", "percentunit", f"{rate} / {both}", "{{target}}", wanted)
    yield _Panel("Lookups", "reqps", f"sum by (tier) (rate({_HITS}[5m]))", "hit {{tier}}")
    yield _Panel("Misses by reason", "reqps", f"sum by (reason) (rate({_MISSES}[5m]))", "{{reason}}")
    for title, name in (("Time of hits (p95)", "hit"), ("Time of loads (p95)", "load")):
        buckets = f"sum by (target, le) (rate(cachewright_{name}_seconds_bucket[5m]))"
        yield _Panel(title, "s", f"histogram_quantile(0.95, {buckets})", "{{target}}")
    yield _Panel("Memory", "bytes", "cachewright_memory_bytes", "used", spec.max_memory_bytes)
    yield _Panel("Invalidations", "ops", "rate(cachewright_invalidations_total[5m])", "a second")
    delivered = "sum by (le) (rate(cachewright_invalidation_seconds_bucket[5m]))"
    lag = f"histogram_quantile(0.95, {delivered})"
    yield _Panel("Invalidations until their delivery (p95)", "s", lag, "delivered")
    yield _Panel("Invalidations that wait", "short", "cachewright_pending_invalidations", "tags")
    yield _Panel("Store errors", "ops", "rate(cachewright_store_errors_total[5m])", "a second")
    yield _Panel("Database", "ops", "rate(cachewright_database_queries_total[5m])", "statements a second")
    yield _Panel("Alarms", "short", "cachewright_alarm", "{{alarm}}")


def _panel(number: int, panel: _Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.threshold is not None:
        steps.append({"color": "orange", "value": panel.threshold})
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": "A", "expr": panel.expression, "legendFormat": panel.legend, "datasource": source}
        ],
    }


def cdn_headers(document: Document) -> str:
    """A table of the headers that a CDN or browser should be told, for each endpoint (Markdown)."""
    rows = [
        f"| `{target.method} {target.template}` | {_headers(target)} |"
        for target in compile_plan(document).targets.values()
    ]
    head = [
        "| endpoint | Cache-Control | CDN-Cache-Control | Surrogate-Key | Vary |",
        "|---|---|---|---|---|",
    ]
    note = "Surrogate keys are tags: purge one when its table or row changes. Fields stand for their values."
    return "\n".join([*head, *rows, "", note]) + "\n"


def _headers(target: Target) -> str:
    if target.scope is not Scope.PUBLIC:
        return "`private, no-store` | `no-store` | | `Authorization, Cookie`"
    ttl = None if target.policy.ttl is None else int(target.policy.ttl)
    stale = int(target.max_staleness or 0)
    browser = f"public, max-age={stale}" if stale else "public, no-cache"
    outside = f"max-age={ttl if ttl is not None else 31_536_000}" if "l4" in target.levels else "no-store"
    keys = " ".join(str(tag).replace(" ", "") for tag in target.depends_on)
    vary = ", ".join(sorted(f[7:] for f in target.key.fields if f.startswith("header."))) or ""
    return f"`{browser}` | `{outside}` | {f'`{keys}`' if keys else ''} | {f'`{vary}`' if vary else ''}"


FORMATS: Mapping[str, Callable[[Document], str]] = {
    "redis-conf": redis_conf,
    "prometheus-rules": prometheus_rules,
    "grafana": grafana,
    "cdn-headers": cdn_headers,
    "two-identities": two_identities,
}
