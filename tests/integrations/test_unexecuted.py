"""A setting without an effect is named when the cache is put in place."""

import logging

from fastapi import FastAPI
from tests.integrations.driving import get, specification

from cachewright.integrations.install import Installed
from cachewright.integrations.surroundings import Surroundings


def said(caplog, *targets, **extra) -> list[str]:
    with caplog.at_level(logging.INFO, "cachewright"):
        Installed(FastAPI(), specification(*targets, **extra), Surroundings())
    return [record.getMessage() for record in caplog.records]


def test_each_field_that_nothing_executes_is_named_once(caplog):
    rules = {"rules": [{"operation": "update", "invalidate_patterns": ["a"]}]}
    assert said(caplog, get("/a", "a"), get("/b", "b", strategy={"retries": 2}), invalidation=rules) == [
        (
            "not executed yet (2; `cachewright check --all` names them): "
            "cache_targets[1].strategy.retries, invalidation.rules[0]"
        )
    ]


def test_a_specification_that_is_executed_as_it_stands_says_nothing(caplog):
    assert said(caplog, get("/a", "a", max_staleness_seconds=5)) == []
