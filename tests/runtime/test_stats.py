import json
from itertools import pairwise

import pytest

from cachewright.runtime.stats import BOUNDS, Stats, merge
from cachewright.spec.semantics import Reason


def busy(target):
    stats = Stats()
    stats.hit(target, "l1", 0.0002)
    stats.hit(target, "l2", 0.002)
    stats.miss(target, Reason.ABSENT)
    stats.bypassed(target, Reason.BYPASS_CONDITION)
    stats.loaded(target, 100.0)
    stats.filled(target)
    stats.refused(target, [Reason.WROTE, Reason.STATUS])
    stats.shared(target)
    stats.store_failed(timeout=True)
    stats.store_failed(timeout=False)
    stats.invalidated(3)
    stats.unreadable()
    return stats


@pytest.mark.requirement("#128", "#129", "#135")
def test_a_lookup_is_a_hit_or_a_miss_and_a_bypass_is_neither():
    own = busy("a").snapshot()["targets"]["a"]
    assert own["lookups"] == 3
    assert own["hits"] == {"l1": 1, "l2": 1}
    assert own["misses"] == {"absent": 1}
    assert own["bypassed"] == {"bypass_condition": 1}
    assert own["refused"] == {"wrote": 1, "status": 1}
    assert (own["fills"], own["shared"]) == (1, 1)


def test_durations_fall_into_their_buckets():
    own = busy("a").snapshot()["targets"]["a"]
    assert own["hit_seconds"]["seconds"] == pytest.approx(0.0022)
    assert own["hit_seconds"]["buckets"][BOUNDS.index(0.00025)] == 1
    assert own["hit_seconds"]["buckets"][BOUNDS.index(0.0025)] == 1
    assert own["load_seconds"]["buckets"][-1] == 1
    assert all(low < high for low, high in pairwise(BOUNDS))


def test_a_snapshot_is_json_and_a_copy():
    stats = busy("a")
    before = stats.snapshot()
    assert json.loads(json.dumps(before)) == before
    stats.hit("a", "l1", 1.0)
    assert before["targets"]["a"]["hits"]["l1"] == 1


def test_merging_adds_up_processes():
    whole = merge([busy("a").snapshot(), busy("a").snapshot(), busy("b").snapshot(), Stats().snapshot()])
    assert whole["targets"]["a"]["lookups"] == 6
    assert whole["targets"]["b"]["lookups"] == 3
    assert whole["targets"]["a"]["load_seconds"]["buckets"][-1] == 2
    assert (whole["errors"], whole["timeouts"], whole["tags"], whole["codec_errors"]) == (6, 3, 9, 3)
    assert merge([]) == Stats().snapshot()
